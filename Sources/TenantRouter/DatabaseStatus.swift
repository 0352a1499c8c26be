import Glibc
import PostgresEmbed
import TenantPool
import WireProtocol

/// A tenant, whether it runs or not.
public struct DatabaseStatus: Sendable, Equatable, Codable {
    /// The database's name.
    public var dbName: String
    /// What it is doing: `cold`, `queued`, `provisioning`, `booting`, `claiming`, `ready`, `draining`, `hibernating`,
    /// `dropping` or `failed`.
    public var state: String
    /// Sessions that it serves.
    public var sessions: Int
    /// Clients that wait for it.
    public var queueLength: Int
    /// Whether it is at its connection limit, so that the next client waits.
    public var locked: Bool
    /// Its postmaster, while there is one.
    public var processID: Int32?
    /// Since when it is in this state, in seconds since 1970; for a cold one, when it last stopped.
    public var since: Double?
    /// What its directory takes of the disk, in bytes, where sizes were asked for.
    public var sizeBytes: Int?

    init(dbName: String, state: String) {
        self.dbName = dbName
        self.state = state
        (sessions, queueLength, locked) = (0, 0, false)
    }

    /// Its row of `SHOW SIZES`.
    var sizedRow: [ResultValue] { row + [sizeBytes.map { .int8(Int64($0)) } ?? .null] }

    /// Its row of `SHOW TENANTS`.
    var row: [ResultValue] {
        [
            .text(dbName), .text(state), .int8(Int64(sessions)), .int8(Int64(queueLength)), .bool(locked),
            processID.map { .int8(Int64($0)) } ?? .null,
            since.map { .timestamptz(Int64(($0 * 1_000_000).rounded())) } ?? .null,
        ]
    }
}

/// The time of day.
enum WallClock {
    /// Microseconds since 1970-01-01 00:00 UTC.
    static var now: Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}

// MARK: - Reading the base directory

/// Who waits for the list of all tenants. The directory is read by one worker at a time, whoever asks however often.
struct TenantListing {
    typealias Answer = (inout Router, [DatabaseStatus]) -> Void

    /// How much is looked at.
    enum Detail: CaseIterable {
        /// Names, and when each tenant stopped.
        case names
        /// Every file of every tenant too.
        case sizes
    }

    /// They asked before the present reading began, and get its result.
    var reading: [Answer]?
    /// They asked since, and get the next one's: what they did before they asked must be in it.
    var waiting: [Answer] = []
}

/// What the base directory says of a tenant.
private struct TenantDirectory: Sendable {
    let tenant: TenantName
    /// When its control file was last written, in seconds since 1970: PostgreSQL does so when it stops.
    let lastWritten: Double?
    let sizeBytes: Int?
}

extension Router {
    /// Every tenant there is, sorted by name. Reads the base directory and wakes nobody.
    mutating func listTenants(_ detail: TenantListing.Detail, _ answer: @escaping TenantListing.Answer) {
        tenantListings[detail, default: TenantListing()].waiting.append(answer)
        if tenantListings[detail]?.reading == nil { readTenants(detail) }
    }

    private mutating func readTenants(_ detail: TenantListing.Detail) {
        tenantListings[detail] = TenantListing(reading: tenantListings[detail]?.waiting)
        // The workers have stopped: what is known without them is all that can be said.
        guard !isDone else { return tenantsRead([], detail) }
        let (store, mailbox, log) = (store, mailbox, log)
        workers.submit {
            do throws(EmbedError) {
                let tenants = try store.directoryNames().compactMap { TenantDirectory(name: $0, in: store, detail) }
                mailbox.post(.run { $0.tenantsRead(tenants, detail) })
            } catch {
                log.warning("the tenants cannot be listed: \(error.message)")
                mailbox.post(.run { $0.tenantsRead([], detail) })
            }
        }
    }

    private mutating func tenantsRead(_ directories: [TenantDirectory], _ detail: TenantListing.Detail) {
        let answers = tenantListings[detail]?.reading ?? []
        tenantListings[detail]?.reading = nil
        let tenants = databases(directories)
        for answer in answers { answer(&self, tenants) }
        if tenantListings[detail]?.reading == nil, tenantListings[detail]?.waiting.isEmpty == false {
            readTenants(detail)
        }
    }

    private func databases(_ directories: [TenantDirectory]) -> [DatabaseStatus] {
        var tenants = Dictionary(
            directories.map { directory in
                var status = DatabaseStatus(dbName: directory.tenant.string, state: TenantState.cold.rawValue)
                status.since = directory.lastWritten
                status.sizeBytes = directory.sizeBytes
                return (directory.tenant, status)
            }, uniquingKeysWith: { first, _ in first })
        for snapshot in pool.snapshot {
            var status = status(snapshot)
            status.sizeBytes = tenants[snapshot.tenant]?.sizeBytes
            tenants[snapshot.tenant] = status
        }
        return tenants.values.sorted { $0.dbName < $1.dbName }
    }

    func status(_ snapshot: TenantSnapshot) -> DatabaseStatus {
        var status = DatabaseStatus(dbName: snapshot.tenant.string, state: snapshot.state.rawValue)
        status.sessions = snapshot.leases
        status.queueLength = snapshot.waiters
        status.locked = snapshot.leases >= pool.connections(of: snapshot.tenant)
        status.processID = snapshot.instance.flatMap { instances[$0]?.running?.processID }
        status.since = Double(wallTime(of: snapshot.since)) / 1_000_000
        return status
    }

    /// The reactor's time as one of day, in microseconds since 1970.
    func wallTime(of time: Duration) -> Int64 { WallClock.now - (reactor.now - time).inMicroseconds }
}

extension TenantDirectory {
    init?(name: String, in store: ClusterStore, _ detail: TenantListing.Detail) {
        guard let tenant = TenantName(directoryName: name) else { return nil }
        var status = stat()
        let path = "\(store.baseDirectory)/\(name)/global/pg_control"
        let isThere = unsafe fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0
        self.tenant = tenant
        sizeBytes =
            switch detail {
            case .names: nil
            case .sizes: store.size(directoryName: name)
            }
        lastWritten = isThere ? Double(status.st_mtim.tv_sec) + Double(status.st_mtim.tv_nsec) / 1e9 : nil
    }
}

extension Duration {
    /// Whole microseconds.
    var inMicroseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
