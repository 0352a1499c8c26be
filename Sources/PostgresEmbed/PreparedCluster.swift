import Glibc
public import Reactor
import Synchronization

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

    let dataDirectory: String
    /// Which directory it is, whatever it is called.
    let identity: FileSystem.Status
    let socketDirectory: String
    let postmaster: Program
    private let notifySocket: Mutex<Descriptor?>
    private let launch: Mutex<Launch?>
    /// Until the boot has succeeded or failed: what a postmaster reads while it boots is not to change under it.
    private let repairLock: Mutex<Descriptor?>

    /// What only the spawn needs: held from the preparation until then.
    struct Launch: ~Copyable {
        let output: Descriptor
        let ruleset: Descriptor?
    }

    init(
        residence: ClusterStore.Residence, log: InstanceLog, claim: Claim?, created: Bool, identity: FileSystem.Status,
        socketDirectory: String, postmaster: Program, notifySocket: consuming Descriptor?, launch: consuming Launch?,
        repairLock: consuming Descriptor?
    ) {
        self.directoryName = residence.directoryName
        self.databaseName = residence.databaseName
        self.dataDirectory = residence.path
        self.claim = claim
        self.created = created
        self.log = log
        self.identity = identity
        self.socketDirectory = socketDirectory
        self.postmaster = postmaster
        self.notifySocket = Mutex(notifySocket)
        self.launch = Mutex(launch)
        self.repairLock = Mutex(repairLock)
    }

    /// A booted spare's life goes on as the tenant's.
    convenience init(
        _ spare: PreparedCluster, movedTo residence: ClusterStore.Residence, log: InstanceLog, claim: Claim
    ) {
        self.init(
            residence: residence, log: log, claim: claim, created: true, identity: spare.identity,
            socketDirectory: spare.socketDirectory, postmaster: spare.postmaster,
            notifySocket: spare.takeNotifySocket(), launch: spare.takeLaunch(), repairLock: nil)
    }

    /// The bound datagram socket on which the postmaster announces its readiness. Nil on the second call, and where
    /// PostgreSQL does not announce it.
    public func takeNotifySocket() -> Descriptor? {
        notifySocket.withLock { $0.take() }
    }

    func takeLaunch() -> Launch? {
        launch.withLock { $0.take() }
    }

    /// What `postmaster.pid` says about readiness, for a PostgreSQL that does not announce it. One small read, worth
    /// repeating when ``pidFileWatch()`` is readable.
    public func readiness() -> ReadinessMessage {
        guard let directory = try? FileSystem.openDirectory(dataDirectory),
            let content = try? FileSystem.contents(of: Survivors.pidFile, in: directory)
        else { return .ignored }
        return ReadinessMessage(postmasterPID: content)
    }

    /// A descriptor that becomes readable whenever the postmaster writes its pid file, inotify(7); its bytes mean
    /// nothing more.
    public func pidFileWatch() throws(EmbedError) -> Descriptor {
        let number = inotify_init1(CInt(IN_CLOEXEC) | CInt(IN_NONBLOCK))
        guard number >= 0 else { throw .fileSystem(operation: "watch", path: dataDirectory, .last) }
        let watch = Descriptor(owning: number)
        // The file is made and rewritten by the postmaster; the directory is there already.
        let events = UInt32(IN_CLOSE_WRITE) | UInt32(IN_MODIFY)
        guard unsafe inotify_add_watch(number, dataDirectory, events) >= 0 else {
            throw .fileSystem(operation: "watch", path: dataDirectory, .last)
        }
        return watch
    }

    /// After READY: lets go of what only the boot needed, and takes the postmaster's listening socket out of the name space, so that only this process reaches
    /// it. Landlock does not restrict connecting to a socket that has a name.
    public func takeSocket() throws(EmbedError) -> InstanceSocket {
        repairLock.withLock { $0 = nil }
        let path = Self.socketPath(in: socketDirectory)
        let socket = try InstanceSocket(path: path)
        let directory = try FileSystem.openDirectory(socketDirectory)
        // The notify socket too: from now on whoever writes there is not the postmaster's boot.
        for name in [Self.socketName, Self.notifyName] { try FileSystem.unlinkIfPresent(name, in: directory) }
        try socket.admit()
        return socket
    }

    static let notifyName = "notify"
    private static let socketName = ".s.PGSQL.\(Settings.port)"
    static func socketPath(in directory: String) -> String { "\(directory)/\(socketName)" }
}
