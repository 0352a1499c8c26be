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

    init(dbName: String, state: String) {
        self.dbName = dbName
        self.state = state
        (sessions, queueLength, locked) = (0, 0, false)
    }

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
}

extension Router {
    /// Every tenant there is, sorted by name. Reads the base directory and wakes nobody.
    mutating func listTenants(_ answer: @escaping TenantListing.Answer) {
        tenantListing.waiting.append(answer)
        if tenantListing.reading == nil { readTenants() }
    }

    private mutating func readTenants() {
        tenantListing.reading = tenantListing.waiting
        tenantListing.waiting = []
        // The workers have stopped: what is known without them is all that can be said.
        guard !isDone else { return tenantsRead([]) }
        let (store, mailbox, log) = (store, mailbox, log)
        workers.submit {
            do throws(EmbedError) {
                let tenants = try store.directoryNames().compactMap { TenantDirectory(name: $0, in: store) }
                mailbox.post(.run { $0.tenantsRead(tenants) })
            } catch {
                log.warning("the tenants cannot be listed: \(error.message)")
                mailbox.post(.run { $0.tenantsRead([]) })
            }
        }
    }

    private mutating func tenantsRead(_ directories: [TenantDirectory]) {
        let answers = tenantListing.reading ?? []
        tenantListing.reading = nil
        let tenants = databases(directories)
        for answer in answers { answer(&self, tenants) }
        if tenantListing.reading == nil, !tenantListing.waiting.isEmpty { readTenants() }
    }

    private func databases(_ directories: [TenantDirectory]) -> [DatabaseStatus] {
        var tenants = Dictionary(
            directories.map { directory in
                var status = DatabaseStatus(dbName: directory.tenant.string, state: TenantState.cold.rawValue)
                status.since = directory.lastWritten
                return (directory.tenant, status)
            }, uniquingKeysWith: { first, _ in first })
        for snapshot in pool.snapshot { tenants[snapshot.tenant] = status(snapshot) }
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
    init?(name: String, in store: ClusterStore) {
        guard let tenant = TenantName(directoryName: name) else { return nil }
        var status = stat()
        let path = "\(store.baseDirectory)/\(name)/global/pg_control"
        let isThere = unsafe fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0
        self.tenant = tenant
        lastWritten = isThere ? Double(status.st_mtim.tv_sec) + Double(status.st_mtim.tv_nsec) / 1e9 : nil
    }
}

extension Duration {
    /// Whole microseconds.
    var inMicroseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
