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
    /// What there is to say of it while it is cold.
    let status: DatabaseStatus
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
                let sorted = tenants.sorted { $0.status.dbName < $1.status.dbName }
                mailbox.post(.run { $0.tenantsRead(sorted, detail) })
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

    /// - Parameter directories: sorted by name.
    private func databases(_ directories: [TenantDirectory]) -> [DatabaseStatus] {
        var known = Dictionary(uniqueKeysWithValues: pool.snapshot.map { ($0.tenant, status($0)) })
        let tenants = directories.map { directory in
            guard var status = known.removeValue(forKey: directory.tenant) else { return directory.status }
            status.sizeBytes = directory.status.sizeBytes
            return status
        }
        // Those that are being made have no directory yet; without any there is nothing left to sort.
        return known.isEmpty ? tenants : (tenants + known.values).sorted { $0.dbName < $1.dbName }
    }

    /// One tenant, running or not; nil where there is none. Reads nothing but its directory, and that only where the
    /// pool does not know the tenant; wakes nobody.
    mutating func findTenant(
        _ tenant: TenantName, _ answer: @escaping @Sendable (inout Router, DatabaseStatus?) -> Void
    ) {
        if let snapshot = pool.snapshot(of: tenant) { return answer(&self, status(snapshot)) }
        guard !isDone else { return answer(&self, nil) }
        workers.submit { [store, mailbox] in
            let name = tenant.directoryName
            let directory = store.holds(directoryName: name) ? TenantDirectory(name: name, in: store, .names) : nil
            mailbox.post(
                .run { router in
                    // Somebody may have come for it meanwhile.
                    let snapshot = router.pool.snapshot(of: tenant)
                    answer(&router, snapshot.map { router.status($0) } ?? directory?.status)
                })
        }
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
    /// Nil where no tenant's directory has that name.
    init?(name: String, in store: ClusterStore, _ detail: TenantListing.Detail) {
        guard let tenant = TenantName(directoryName: name) else { return nil }
        var status = DatabaseStatus(dbName: tenant.string, state: TenantState.cold.rawValue)
        status.since = Self.lastWritten(store, name)
        switch detail {
        case .names: break
        case .sizes: status.sizeBytes = store.size(directoryName: name)
        }
        (self.tenant, self.status) = (tenant, status)
    }

    /// When its control file was last written, in seconds since 1970: PostgreSQL does so when it stops.
    private static func lastWritten(_ store: ClusterStore, _ name: String) -> Double? {
        var status = stat()
        let path = "\(store.baseDirectory)/\(name)/global/pg_control"
        guard unsafe fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
        return Double(status.st_mtim.tv_sec) + Double(status.st_mtim.tv_nsec) / 1e9
    }
}

extension Duration {
    /// Whole microseconds.
    var inMicroseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
