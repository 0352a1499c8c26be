import Glibc
import TenantPool

/// What a router is doing, at one moment.
public struct RouterStatistics: Sendable, Equatable, Codable {
    /// The TCP port it listens on.
    public var port: UInt16
    /// Clients that are connected, whatever they are doing, except to the console.
    public var activeConnections: Int
    /// Its instances.
    public var pool: Pool
    /// The router's version.
    public var version: String
    /// The version of the PostgreSQL that tenants get.
    public var postgresVersion: String
    /// The process that it lives in.
    public var processID: Int32
    /// Where it listens: `127.0.0.1:5432`.
    public var address: String
    /// The absolute path of the directory where the tenants' directories stand.
    public var baseDirectory: String
    /// Since when it serves, in seconds since 1970.
    public var started: Double
    /// `serving`, or `stopping`.
    public var state: String
    /// What confines its instances.
    public var confinement: String
    /// Clients that wait for an instance.
    public var waitingClients: Int
    /// How many clients there may be.
    public var maxClients: Int
    /// Clients since it started.
    public var sessionsTotal: Int
    /// Postmasters started since it started.
    public var instancesTotal: Int

    /// The instances of a router, running or about to.
    public struct Pool: Sendable, Equatable, Codable {
        /// How many count towards `maxInstances`.
        public var totalInstances: Int
        /// How many there may be.
        public var maxInstances: Int
        /// Sessions that one of them serves at once.
        public var maxConnections: Int
        /// Instances that run already and belong to nobody yet.
        public var spares: Int
        /// Each tenant that is not cold.
        public var instances: [DatabaseStatus]

        /// Sessions that all of them serve.
        var sessions: Int { instances.reduce(0) { $0 + $1.sessions } }
    }
}

extension Router {
    var statistics: RouterStatistics {
        let counts = commons.counts
        let instances = pool.snapshot.sorted { $0.tenant.string < $1.tenant.string }.map { status($0) }
        return RouterStatistics(
            port: port, activeConnections: counts.sessions - counts.consoleClients,
            pool: .init(
                totalInstances: pool.instanceCount, maxInstances: limits.maxInstances,
                maxConnections: limits.maxConnections, spares: pool.readySpareCount, instances: instances),
            version: RouterVersion.current, postgresVersion: store.installation.version, processID: getpid(),
            address: address, baseDirectory: store.baseDirectory, started: Double(startedAt) / 1_000_000,
            state: lifetime.word, confinement: "\(store.confinement)",
            waitingClients: pool.waiterCount + pauses.heldCount,
            maxClients: maxClients, sessionsTotal: Int(counts.clientsEver),
            instancesTotal: Int(instancesEver))
    }
}

extension Router.Lifetime {
    /// For people.
    var word: String {
        switch self {
        case .serving: "serving"
        case .stopping, .hurrying, .closing: "stopping"
        }
    }
}
