import Glibc
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
    /// The tenant's cluster was made by a 32-bit build, as PGlite's are, whose files this PostgreSQL cannot read.
    case otherBuild(path: String, version: String)
    /// A postmaster that is not ours to end (another program's) has the tenant's directory open.
    case clusterInUse(path: String, processID: Int32)
    /// A process of an earlier server's instance has the tenant's directory open and cannot be ended.
    case survivorRemains(path: String, processID: Int32)
    /// The tenant's cluster is being repaired.
    case underRepair(path: String)
    /// The repair was told to stop.
    case cancelled
    /// A configuration file was changed between its examination and its repair.
    case configurationChanged(path: String)
    /// The tenant's postmaster neither gets ready nor ends within the time it was given.
    case bootTakesLong(path: String, seconds: Int, lastLine: String?)
    /// A path of the runtime directory does not fit in a socket address (107 bytes).
    case socketPathTooLong(path: String)
    /// A process could not be started: the stage between fork and exec that failed, and why.
    case spawnFailed(program: String, stage: String, Errno)
    /// A setting was asked for that the router decides itself.
    case settingPinned(name: String)
    /// A setting that PostgreSQL does not know, or a value that it does not take.
    case settingRefused(name: String, reason: String)
    /// An operation of the file system failed.
    case fileSystem(operation: String, path: String, Errno)
}

extension EmbedError {
    /// One sentence without a full stop, as PostgreSQL writes messages.
    public var message: String {
        switch self {
        case .postgresNotFound: "PostgreSQL is not installed, or not where it was looked for"
        case .postgresUnusable(let path, let reason): "\(path) cannot be used: \(reason)"
        case .runningAsRoot: "PostgreSQL does not run as root"
        case .directoryUnusable(let path, let errno): "cannot use directory \"\(path)\": \(errno)"
        case .directoryInUse(let path, let processID):
            "directory \"\(path)\" is in use by another routerd" + (processID.map { " (process \($0))" } ?? "")
        case .confinementUnavailable(let reason): "instances cannot be confined: \(reason)"
        case .templateFailed(let lastLine): "initdb failed: \(lastLine)"
        case .absent(let databaseName): "database \"\(databaseName)\" does not exist"
        case .notACluster(let path, _): "\"\(path)\" is not a PostgreSQL cluster"
        case .otherMajorVersion(let path, let found, let expected):
            "the cluster in \"\(path)\" was made by PostgreSQL \(found), this is PostgreSQL \(expected)"
        case .otherBuild(let path, let version):
            "the cluster in \"\(path)\" was made by a 32-bit build of PostgreSQL \(version), such as PGlite"
        case .clusterInUse(let path, let processID):
            "the cluster in \"\(path)\" is in use by another server (process \(processID))"
        case .survivorRemains(let path, let processID):
            "process \(processID) of an earlier server still uses the cluster in \"\(path)\""
        case .underRepair(let path): "the cluster in \"\(path)\" is being repaired"
        case .cancelled: "interrupted"
        case .configurationChanged(let path): "\"\(path)\" was changed while it was being repaired"
        case .bootTakesLong(let path, let seconds, _):
            "the cluster in \"\(path)\" did not get ready within \(seconds) s"
        case .socketPathTooLong(let path): "socket path \"\(path)\" is longer than 107 bytes"
        case .spawnFailed(let program, let stage, let errno): "cannot start \(program) (\(stage)): \(errno)"
        case .settingPinned(let name): "setting \"\(name)\" cannot be changed: tenants are served through it"
        case .settingRefused(let name, let reason): "setting \"\(name)\" is refused: \(reason)"
        case .fileSystem(let operation, let path, let errno): "cannot \(operation) \"\(path)\": \(errno)"
        }
    }

    /// Which path, limit or cause; nil where the message says it all.
    public var detail: String? {
        switch self {
        case .postgresNotFound(let lookedIn):
            "No directory with both postgres and initdb among: \(lookedIn.joined(separator: ", "))."
        case .notACluster(_, let reason): reason
        case .bootTakesLong(_, _, let lastLine): lastLine.map { "The last line of its log: \($0)" }
        case .otherBuild: "Its files are laid out for 32 bits, which no 64-bit PostgreSQL reads. Nothing was changed."
        case .postgresUnusable, .runningAsRoot, .directoryUnusable, .directoryInUse, .confinementUnavailable,
            .templateFailed, .absent, .otherMajorVersion, .clusterInUse, .survivorRemains, .underRepair,
            .cancelled, .configurationChanged, .socketPathTooLong, .spawnFailed, .settingPinned, .settingRefused,
            .fileSystem:
            nil
        }
    }

    /// What to do about it, with the exact command or flag; nil where there is nothing to say.
    public var hint: String? {
        switch self {
        case .postgresNotFound, .postgresUnusable:
            "Install PostgreSQL (Debian: apt-get install postgresql-15), or name its directory with --postgres-bin."
        case .runningAsRoot: "Start routerd as an ordinary user, or as root with --run-as."
        case .directoryUnusable:
            "Choose another directory with --dir, or let this user enter and write it and all its parents."
        case .directoryInUse: "Stop the other server, or choose another directory with --dir."
        case .confinementUnavailable: "Use a kernel with Landlock (5.13 or later), or --confine auto."
        case .templateFailed: "Run initdb by hand as the same user to see all that it says."
        case .absent: nil
        case .notACluster: "Move the directory away; it is never changed by routerd."
        case .otherMajorVersion(_, let found, _):
            "Serve it with the programs of PostgreSQL \(found) (--postgres-bin), or dump it with them and restore it."
        case .otherBuild:
            "Dump it with the program that made it (PGlite: pgDump of @electric-sql/pglite-tools), move the directory away, "
                + "connect again and restore the dump."
        case .clusterInUse: "Stop that server first (pg_ctl stop)."
        case .survivorRemains(_, let processID): "See what process \(processID) waits for, and end it."
        case .underRepair: "Try again when routerd repair has ended."
        case .cancelled: "Everything is as it was."
        case .configurationChanged: "Nothing was changed by routerd; start the repair again."
        case .bootTakesLong: "Recovery after a crash may take long; connect through the router and wait."
        case .socketPathTooLong: "Set XDG_RUNTIME_DIR to a shorter directory."
        case .spawnFailed: nil
        case .settingPinned: "Leave it out of --set."
        case .settingRefused: "Correct it in --set (PostgreSQL manual, chapter 20)."
        case .fileSystem(_, _, let errno): Self.hint(for: errno)
        }
    }

    /// The SQLSTATE that a client should see. Source: PostgreSQL manual, appendix A.
    public var sqlState: String {
        switch self {
        case .absent: "3D000"
        case .fileSystem(_, _, let errno) where errno.code == ENOSPC || errno.code == EDQUOT: "53100"
        case .fileSystem(_, _, let errno) where errno.code == EMFILE || errno.code == ENFILE: "53000"
        case .fileSystem, .directoryUnusable: "58030"
        case .spawnFailed(_, _, let errno) where errno.code == EAGAIN || errno.code == ENOMEM: "53200"
        case .clusterInUse, .survivorRemains, .directoryInUse, .configurationChanged: "55006"
        case .underRepair, .bootTakesLong: "57P03"
        case .notACluster, .otherMajorVersion, .otherBuild, .settingPinned, .settingRefused: "F0000"
        case .postgresNotFound, .postgresUnusable, .runningAsRoot, .confinementUnavailable, .templateFailed,
            .socketPathTooLong, .spawnFailed:
            "58000"
        case .cancelled: "57014"
        }
    }

    /// Whether the next attempt may succeed without anybody's doing: a process may end, memory may come back.
    public var isRetryable: Bool {
        switch self {
        case .clusterInUse, .survivorRemains, .underRepair, .configurationChanged, .bootTakesLong, .cancelled,
            .spawnFailed, .fileSystem:
            true
        case .postgresNotFound, .postgresUnusable, .runningAsRoot, .directoryUnusable, .directoryInUse,
            .confinementUnavailable, .templateFailed, .absent, .notACluster, .otherMajorVersion, .otherBuild,
            .socketPathTooLong, .settingPinned, .settingRefused:
            false
        }
    }

    private static func hint(for errno: Errno) -> String? {
        switch errno.code {
        case ENOSPC, EDQUOT: "Make room on the file system of the base directory."
        case EMFILE, ENFILE: "Raise the limit of open files (ulimit -n), or lower --max-instances."
        case EROFS: "The file system is mounted read-only."
        case EACCES, EPERM: "The directory must belong to the user that routerd runs as."
        default: nil
        }
    }
}
