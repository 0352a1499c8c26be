import CConfine
import Glibc
import Reactor

/// How a boot ended that was only tried: nobody can connect, and a postmaster that gets ready is stopped again.
struct TrialBoot: Sendable {
    /// What the postmaster wrote, without the prefixes of time and process.
    let said: [String]
    let isReady: Bool

    /// The line that says why; the last one where none does.
    var reason: String {
        let reasons = said.filter { line in ["PANIC:", "FATAL:", "ERROR:"].contains { line.hasPrefix($0) } }
        return reasons.last ?? said.last ?? "it ended without a word"
    }

    /// Whether PostgreSQL read the configuration and found mistakes in it, all of which it has named.
    var namesMistakes: Bool {
        said.contains { $0.hasPrefix("FATAL:") && $0.contains("configuration file") && $0.contains("contains errors") }
    }
}

extension ClusterStore {
    /// How long a postmaster may take. Recovery after a crash may take longer, but what is wrong with a setting is
    /// noticed before it begins.
    private static let trialPatience: Duration = .seconds(60)

    /// Boots the cluster as it stands. The caller holds its repair lock.
    ///
    /// - Throws: `clusterInUse`, `bootTakesLong`, `spawnFailed`, `fileSystem`.
    func tryBoot(_ tenant: Residence, _ cluster: borrowing Descriptor) throws(EmbedError) -> TrialBoot {
        let identity = try FileSystem.status(of: cluster, path: tenant.path)
        let survivors = survivors(of: tenant, identity)
        try waitForOthers(tenant, survivors, cluster)
        try survivors.clear(cluster)
        let socketDirectory = try runtimeDirectory.makeSubdirectory()
        defer { RuntimeDirectory.remove(socketDirectory) }

        let log = InstanceLog(path: socketDirectory + ".log")
        let postmaster = try start(tenant, cluster, socketDirectory: socketDirectory, log: log)
        let isReady = try postmaster.waitUntilReady(.now + Self.trialPatience, cluster)
        postmaster.stop()
        if FileSystem.status(ofPath: "\(tenant.path)/\(Survivors.pidFile)") != nil { try? survivors.endAll() }
        let said = String(decoding: try log.tail(64 * 1024), as: UTF8.self).split(separator: "\n")
            .map(InstanceLog.withoutPrefix)
        guard let isReady else {
            throw .bootTakesLong(
                path: tenant.path, seconds: Int(Self.trialPatience.components.seconds), lastLine: log.lastLine())
        }
        return TrialBoot(said: said, isReady: isReady)
    }

    /// A server that tried to boot it a moment ago fails by itself; one that has succeeded needs no repair.
    private func waitForOthers(
        _ tenant: Residence, _ survivors: Survivors, _ cluster: borrowing Descriptor
    ) throws(EmbedError) {
        let deadline = ContinuousClock.now + .seconds(10)
        while let processID = try survivors.livingPostmaster(cluster) {
            let content = try FileSystem.contents(of: Survivors.pidFile, in: cluster) ?? []
            guard ReadinessMessage(postmasterPID: content) != .ready, ContinuousClock.now < deadline else {
                throw .clusterInUse(path: tenant.path, processID: processID)
            }
            usleep(20_000)
        }
    }

    private func start(
        _ tenant: Residence, _ cluster: borrowing Descriptor, socketDirectory: String, log: InstanceLog
    ) throws(EmbedError) -> TrialPostmaster {
        var notifySocket: Descriptor?
        if installation.announcesReadiness {
            notifySocket = try NotifySocket.bind("\(socketDirectory)/\(PreparedCluster.notifyName)")
        }
        let child = try postmaster(of: tenant, socketDirectory: socketDirectory).spawn(
            input: try FileSystem.open("/dev/null", O_RDWR), output: try log.open(),
            ruleset: try ruleset(cluster, socketDirectory: socketDirectory))
        return TrialPostmaster(child, notifySocket: notifySocket)
    }
}

/// A postmaster that this thread waits for.
private struct TrialPostmaster: ~Copyable {
    private let child: Child
    private let notifySocket: Descriptor?

    init(_ child: consuming Child, notifySocket: consuming Descriptor?) {
        self.child = child
        self.notifySocket = notifySocket
    }

    /// True when it accepts connections, false when it has ended, nil when it has done neither at the deadline.
    func waitUntilReady(
        _ deadline: ContinuousClock.Instant, _ cluster: borrowing Descriptor
    ) throws(EmbedError) -> Bool? {
        while ContinuousClock.now < deadline {
            let (hasEnded, isTold) = wait(.milliseconds(100))
            if hasEnded { return false }
            let message: ReadinessMessage
            if let told = isTold ? announcement() : nil {
                message = told
            } else {
                let content = try FileSystem.contents(of: Survivors.pidFile, in: cluster)
                message = content.map { ReadinessMessage(postmasterPID: $0) } ?? .ignored
            }
            if message == .ready { return true }
        }
        return nil
    }

    /// Down the ladder, to the end.
    func stop() {
        var ladder = StopLadder()
        let began = ContinuousClock.now
        var step = ladder.begin(now: .zero, speed: .orderly)
        while !wait(.zero).hasEnded {
            _ = files_pidfd_send_signal(child.pidfd.number, step.signal)
            if wait(step.deadline - (.now - began)).hasEnded { break }
            step = ladder.expired(now: .now - began)
        }
        _ = child.wait()
    }

    /// -1 where PostgreSQL does not announce its readiness; poll(2) passes over it.
    private var notifyNumber: CInt {
        switch notifySocket {
        case .some(let socket): socket.number
        case nil: -1
        }
    }

    /// The next datagram; nil when there is none.
    private func announcement() -> ReadinessMessage? {
        let notifyNumber = notifyNumber
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe recv(notifyNumber, $0.baseAddress, $0.count, 0) }
        return count > 0 ? ReadinessMessage(parsing: String(decoding: bytes.prefix(count), as: UTF8.self)) : nil
    }

    /// Whether the postmaster has ended, and whether it has said something.
    private func wait(_ patience: Duration) -> (hasEnded: Bool, isTold: Bool) {
        var watched = [
            pollfd(fd: child.pidfd.number, events: Int16(POLLIN), revents: 0),
            pollfd(fd: notifyNumber, events: Int16(POLLIN), revents: 0),
        ]
        let (seconds, attoseconds) = max(.zero, patience).components
        _ = unsafe poll(&watched, 2, CInt(seconds * 1000 + attoseconds / 1_000_000_000_000_000))
        return (watched[0].revents != 0, watched[1].revents != 0)
    }
}
