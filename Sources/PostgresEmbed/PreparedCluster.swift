public import Reactor

/// A tenant's cluster, ready for its postmaster: checked, configured, with a place for its sockets and its log.
public final class PreparedCluster: Sendable {
    /// The tenant's directory below the base directory.
    public let directoryName: String
    /// The name that clients use for the database.
    public let databaseName: String
    /// Whether this preparation made the directory.
    public let created: Bool
    /// What is still to be done over SQL before clients may enter; nil when nothing is.
    public let claim: Claim?
    /// Where the postmaster's output goes.
    public let log: InstanceLog

    /// The bound datagram socket on which the postmaster announces its readiness. Nil on the second call, and where
    /// PostgreSQL does not announce it.
    public func takeNotifySocket() -> Descriptor? { fatalError("written next") }

    /// What `postmaster.pid` says about readiness, for a PostgreSQL that does not announce it. One small read.
    public func readiness() -> ReadinessMessage { fatalError("written next") }

    /// After READY: takes the postmaster's listening socket out of the name space, so that only this process reaches it.
    public func takeSocket() throws(EmbedError) -> InstanceSocket { fatalError("written next") }

    init() { fatalError("written next") }
}

/// The journal of a cluster that is becoming a tenant's: a file inside the cluster until the database bears its name.
public struct Claim: Sendable, Equatable {
    /// The name that the database shall bear.
    public let databaseName: String
    /// The name that it was made with.
    public let oldName: String
}
