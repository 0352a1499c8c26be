/// The clusters of all tenants under one base directory, of which this process is the only server.
///
/// Every method but ``spawn(_:)`` blocks on the file system and belongs on a worker thread; different tenants may be
/// prepared at the same time, one tenant only by one thread at a time.
public final class ClusterStore: Sendable {
    /// The PostgreSQL that its instances run.
    public let installation: PostgresInstallation
    /// What the kernel confines instances with.
    public let confinement: ConfinementState
    /// What a tenant's roles may do: superusers where the kernel confines them.
    public var privileges: TenantPrivileges { fatalError("written next") }
    /// The absolute path of the base directory.
    public let baseDirectory: String

    /// Opens the base directory: makes it if absent, takes its lock, makes a fresh runtime directory and removes what an
    /// earlier server left half-made.
    public init(installation: PostgresInstallation, options: ClusterStoreOptions) throws(EmbedError) {
        fatalError("written next")
    }

    /// Makes the template cluster unless it is there: `initdb`, once for each version and set of settings.
    public func ensureTemplate(progress: (String) -> Void) throws(EmbedError) { fatalError("written next") }

    /// Brings a tenant's directory to the point where a postmaster can be spawned in it.
    public func prepare(
        directoryName: String, databaseName: String, mayCreate: Bool
    ) throws(EmbedError) -> PreparedCluster { fatalError("written next") }

    /// Spawns the postmaster. Fast; called on a thread that outlives the instance, because the parent-death signal
    /// follows the thread that spawned.
    public func spawn(_ cluster: PreparedCluster) throws(EmbedError) -> Postmaster { fatalError("written next") }

    /// Ends a claim: the database has its name, the roles exist.
    public func finishClaim(_ cluster: PreparedCluster) throws(EmbedError) { fatalError("written next") }

    /// After the postmaster has exited: ends what survived it and removes its runtime subdirectory.
    public func retire(_ cluster: PreparedCluster) { fatalError("written next") }

    /// Directory names of all tenants, in no order. Reads the base directory; wakes nothing.
    public func directoryNames() throws(EmbedError) -> [String] { fatalError("written next") }

    /// Removes the runtime directory and gives up the lock. Idempotent.
    public func close() { fatalError("written next") }
}
