import TenantPool

/// What a router is doing, at one moment.
public struct RouterStatistics: Sendable, Equatable {
    /// The TCP port it listens on.
    public var port: UInt16
    /// Clients that are connected, whatever they are doing.
    public var activeConnections: Int
    /// Its instances.
    public var pool: Pool

    /// The instances of a router, running or about to.
    public struct Pool: Sendable, Equatable {
        /// How many count towards `maxInstances`.
        public var totalInstances: Int
        /// How many there may be.
        public var maxInstances: Int
        /// Each tenant that is not cold.
        public var instances: [Instance]
    }

    /// One tenant that is not cold.
    public struct Instance: Sendable, Equatable {
        /// The database's name.
        public var dbName: String
        /// What it is doing: `queued`, `provisioning`, `booting`, `ready`, `draining`, `hibernating` or `failed`.
        public var state: String
        /// Sessions that hold a lease.
        public var sessions: Int
        /// Clients that wait.
        public var queueLength: Int
        /// Whether it is at its connection limit.
        public var locked: Bool
    }
}

extension Router {
    var statistics: RouterStatistics {
        let instances = pool.snapshot.sorted { $0.tenant.string < $1.tenant.string }.map { tenant in
            RouterStatistics.Instance(
                dbName: tenant.tenant.string, state: tenant.state.rawValue, sessions: tenant.leases,
                queueLength: tenant.waiters, locked: tenant.leases >= limits.maxConnections)
        }
        return RouterStatistics(
            port: port, activeConnections: sessions.count,
            pool: .init(totalInstances: pool.instanceCount, maxInstances: limits.maxInstances, instances: instances))
    }
}
