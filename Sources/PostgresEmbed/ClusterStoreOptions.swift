/// Where clusters are kept, how large their instances may grow, and how strictly they are confined.
public struct ClusterStoreOptions: Sendable {
    /// The directory of all tenants, absolute or relative to the working directory.
    public var baseDirectory: String
    /// Client sessions per instance; one more connection is kept for the router.
    public var maxConnections: Int
    /// Instances that may run at once: what memory is divided by.
    public var maxInstances: Int
    /// Whether instances are confined to their own directory by the kernel.
    public var confinement: Confinement
    /// Processors that the instances share; nil asks the kernel.
    public var processors: Int?
    /// Bytes of memory that the instances share; nil asks the kernel (cgroup limits included).
    public var memoryBytes: Int?
    /// Whether a tenant may connect out over TCP from inside its instance.
    public var tenantNetwork: TenantNetwork
    /// What the tenants' data survives.
    public var durability: Durability
    /// Settings of PostgreSQL for all tenants, behind the program's own defaults; the last of a name wins, and a
    /// tenant's own win over all.
    public var settings: [(name: String, value: String)]

    /// Options with the program's defaults.
    public init(
        baseDirectory: String, maxConnections: Int = 40, maxInstances: Int = 100, confinement: Confinement = .auto,
        processors: Int? = nil, memoryBytes: Int? = nil, tenantNetwork: TenantNetwork = .denied,
        durability: Durability = .full, settings: [(name: String, value: String)] = []
    ) {
        self.baseDirectory = baseDirectory
        self.maxConnections = maxConnections
        self.maxInstances = maxInstances
        self.confinement = confinement
        self.processors = processors
        self.memoryBytes = memoryBytes
        self.tenantNetwork = tenantNetwork
        self.durability = durability
        self.settings = settings
    }
}

/// The options that may change while a store is open: instances have those with which they booted.
public struct ClusterSizes: Sendable {
    /// As ``ClusterStoreOptions/maxConnections``.
    public var maxConnections: Int
    /// As ``ClusterStoreOptions/maxInstances``.
    public var maxInstances: Int
    /// As ``ClusterStoreOptions/settings``.
    public var settings: [(name: String, value: String)]

    /// All of them.
    public init(maxConnections: Int, maxInstances: Int, settings: [(name: String, value: String)]) {
        self.maxConnections = maxConnections
        self.maxInstances = maxInstances
        self.settings = settings
    }
}

extension ClusterStoreOptions {
    var sizes: ClusterSizes {
        get { ClusterSizes(maxConnections: maxConnections, maxInstances: maxInstances, settings: settings) }
        set {
            (maxConnections, maxInstances, settings) = (
                newValue.maxConnections, newValue.maxInstances, newValue.settings
            )
        }
    }
}

/// What is asked of the kernel's confinement.
public enum Confinement: String, Sendable, CaseIterable {
    /// Confined where the kernel can, otherwise not, with a line in the log.
    case auto
    /// Confined, or the store does not open.
    case require
    /// Not confined: tenants are not superusers then.
    case off
}

/// Whether Landlock leaves outgoing TCP connections to a tenant.
public enum TenantNetwork: Sendable {
    case denied
    case allowed
}

/// What the kernel really gives, for the log.
public enum ConfinementState: Sendable, Equatable, CustomStringConvertible {
    /// Landlock with this ABI version.
    case landlock(abi: Int)
    /// No confinement, and why.
    case off(reason: String)

    /// "Landlock ABI 7", or "off: why".
    public var description: String {
        switch self {
        case .landlock(let abi): "Landlock ABI \(abi)"
        case .off(let reason): "off: \(reason)"
        }
    }
}
