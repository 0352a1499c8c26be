public import Reactor

/// What can go wrong between a tenant's name and its running postmaster.
///
/// Every case is the world's fault (a file system, a process, a missing program); the router turns it into a line of
/// its log and a FATAL ErrorResponse with ``message``, ``detail``, ``hint`` and ``sqlState``.
public enum EmbedError: Error, Equatable, Sendable {
    /// No directory holds both `postgres` and `initdb`. `lookedIn` is every place that was looked at.
    case postgresNotFound(lookedIn: [String])
    /// `postgres` exists and does not run, or reports a version that cannot be read.
    case postgresUnusable(path: String, reason: String)
    /// The process runs as root, as which PostgreSQL refuses to start.
    case runningAsRoot
    /// A directory cannot be made or entered by this user.
    case directoryUnusable(path: String, Errno)
    /// Another routerd serves this base directory. The process id is nil when the lock file does not tell.
    case directoryInUse(path: String, processID: Int32?)
    /// Confinement is required and the kernel cannot give it.
    case confinementUnavailable(reason: String)
    /// `initdb` ended with a failure; `lastLine` is the last thing that it said.
    case templateFailed(lastLine: String)
    /// The tenant has no directory and none may be created.
    case absent(databaseName: String)
    /// The tenant's directory exists and is not a PostgreSQL cluster.
    case notACluster(path: String, reason: String)
    /// The tenant's cluster was made by another major version of PostgreSQL.
    case otherMajorVersion(path: String, found: String, expected: String)
    /// A postmaster that is not ours to end (another program, another user) has the tenant's directory open.
    case clusterInUse(path: String, processID: Int32)
    /// A path of the runtime directory does not fit in a socket address (107 bytes).
    case socketPathTooLong(path: String)
    /// A process could not be started: the stage between fork and exec that failed, and why.
    case spawnFailed(program: String, stage: String, Errno)
    /// An operation of the file system failed.
    case fileSystem(operation: String, path: String, Errno)

    /// One sentence without a full stop, as PostgreSQL writes messages.
    public var message: String { fatalError("written next") }
    /// Which path, limit or cause; nil where the message says it all.
    public var detail: String? { fatalError("written next") }
    /// What to do about it, with the exact command or flag; nil where there is nothing to say.
    public var hint: String? { fatalError("written next") }
    /// The SQLSTATE that a client should see. Source: PostgreSQL manual, appendix A.
    public var sqlState: String { fatalError("written next") }
    /// Whether the next attempt may succeed without anybody's doing.
    public var isRetryable: Bool { fatalError("written next") }
}
