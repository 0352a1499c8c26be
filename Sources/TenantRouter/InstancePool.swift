import TenantPool
import WireProtocol

/// PostgreSQL instances for the databases of one program: a router without a port.
///
/// ```swift
/// let pool = try await InstancePool.open(baseDirectory: "./databases", maxInstances: 50)
/// let instance = try await pool.instance(named: "mydb")
/// let rows = try await instance.query("SELECT version()")
/// print(rows[0]["version"] ?? "")
/// await pool.close()
/// ```
///
/// It is the router of ``MultiTenantRouter``, on a thread of its own, with the same limits, queues and hibernation; in
/// place of a port it has a Unix socket that only the user of the program can reach (``socketPath``), for drivers. The
/// directory has one server at a time, a pool or a router, and `routerd stats --dir` finds either.
///
/// A pool that nobody holds any more, by itself or by one of its instances and leases, is closed as by ``close()``.
public final class InstancePool: Sendable {
    /// The version of the PostgreSQL that databases get, such as `15.18`.
    public let postgresVersion: String
    /// The Unix socket that drivers reach every database by, in a directory that only this user may enter.
    public let socketPath: String

    let router: MultiTenantRouter

    private init(_ router: MultiTenantRouter) {
        self.router = router
        postgresVersion = router.postgresVersion
        socketPath = router.socketPath ?? ""
    }

    deinit { router.beginToStop() }

    /// Opens the base directory, made if it is absent. The first time takes a second or two: PostgreSQL's `initdb` runs
    /// once.
    ///
    /// - Parameters:
    ///   - baseDirectory: where the databases' directories stand, one below it for each.
    ///   - maxInstances: how many instances may run at once; the longest idle one makes room for another.
    ///   - autoProvision: whether asking for an unknown name creates the database; otherwise it is refused with `3D000`.
    /// - Throws: ``RouterError``. Also when the process runs as root, as which PostgreSQL refuses to run.
    public static func open(
        baseDirectory: String, maxInstances: Int = 100, autoProvision: Bool = true
    ) async throws(RouterError) -> InstancePool {
        try await open(
            RouterConfiguration(
                baseDirectory: baseDirectory, autoProvision: autoProvision, maxInstances: maxInstances))
    }

    /// The same with everything that a router can be told. Port, host and socket directory are not used.
    ///
    /// - Parameters:
    ///   - configuration: what to serve.
    ///   - progress: told what takes long: the template cluster of a fresh base directory.
    public static func open(
        _ configuration: RouterConfiguration, progress: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws(RouterError) -> InstancePool {
        InstancePool(try await MultiTenantRouter.start(configuration, listeners: .none(), progress: progress))
    }

    /// A database whose instance runs: provisioned if it is new, woken if it hibernates. Any number of tasks may ask for
    /// the same one at once; they get one instance. Nothing holds it awake: ``acquire(_:timeout:)`` does.
    ///
    /// - Throws: ``InstanceError``: `refused` with `22023` for an impossible name, with `3D000` for an unknown one,
    ///   `53300` for one that did not get its turn within the configuration's `queueTimeout`, `57P03` for one that does
    ///   not start.
    public func instance(named name: String) async throws(InstanceError) -> PooledInstance {
        let lease = try await acquire(name)
        defer { lease.release() }
        return lease.instance
    }

    /// Holds a database's instance awake until the lease is released. A lease takes one of the instance's
    /// `maxConnections` places, as each session does, and waits for one if need be, first come, first served; a task
    /// that is cancelled leaves the queue.
    ///
    /// - Parameters:
    ///   - name: the database's name.
    ///   - timeout: how long to wait; nil is the configuration's `queueTimeout`.
    /// - Throws: ``InstanceError``, as ``instance(named:)`` does.
    public func acquire(_ name: String, timeout: Duration? = nil) async throws(InstanceError) -> InstanceLease {
        let tenant = try Self.tenant(name)
        let instance: InstanceID = try await router.ask(
            { router, ticket, reply in
                router.lease(
                    tenant, patience: timeout.map(Self.bounded) ?? router.limits.queueTimeout, to: ticket, reply)
            }, by: Ticket())
        return InstanceLease(of: instance, PooledInstance(name: name, pool: self))
    }

    /// Stops the database's instance, whoever uses it, and deletes its data. Cancelling does not take that back.
    ///
    /// - Returns: false where there was no such database.
    @discardableResult
    public func drop(_ name: String) async throws(InstanceError) -> Bool {
        let tenant = try Self.tenant(name)
        return try await router.ask(
            { router, _, reply in
                router.drop(tenant) { _, result in reply(result.mapError { InstanceError($0) }) }
            }, by: Ticket())
    }

    /// What the pool is doing at this moment; nil once it is closed.
    public func stats() async -> RouterStatistics.Pool? { await router.stats()?.pool }

    /// Every database there is, running or not, sorted by name; wakes nobody. Nil once the pool is closed.
    public func databases() async -> [DatabaseStatus]? { await router.databases() }

    /// Shuts every instance down cleanly and gives the directory up. What waits is refused, sessions end. A second call,
    /// while the first still waits, hurries.
    public func close() async { await router.stop() }

    /// What drivers connect to a database with, as `libpq` and most others read it: a URI without a host, whose socket
    /// is named by a parameter. Connecting wakes the database. Any user name works.
    public func connectionString(for name: String) -> String {
        let directory = socketPath.prefix(upTo: socketPath.lastIndex(of: "/") ?? socketPath.endIndex)
        return "postgresql:///\(name.percentEncoded)?host=\(String(directory).percentEncoded)"
            + "&port=\(RouterListeners.socketNumber)"
    }

    static func tenant(_ name: String) throws(InstanceError) -> TenantName {
        do throws(TenantNameError) {
            return try TenantName(name)
        } catch {
            throw InstanceError(.badName(error))
        }
    }

    /// A time that can be added to the present.
    static func bounded(_ timeout: Duration) -> Duration { min(max(timeout, .zero), .seconds(1_000_000_000)) }
}

extension String {
    /// Everything but letters, digits and `-._~` as `%XX`. Source: RFC 3986, section 2.
    fileprivate var percentEncoded: String {
        let digits = Array("0123456789ABCDEF".utf8)
        let bytes = utf8.flatMap { byte -> [UInt8] in
            let letter = byte | 0x20
            let stands =
                letter >= UInt8(ascii: "a") && letter <= UInt8(ascii: "z") || "0123456789-._~".utf8.contains(byte)
            return stands ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
