import CConfine
import Glibc
import Reactor

/// What an earlier server left behind in a cluster: a pid file, true or misleading, and processes.
///
/// PostgreSQL's own checks believe any living process whose number stands in a stale `postmaster.pid`, and refuse to
/// boot beside a surviving backend; both are settled here before each boot. A process is known by its executable and
/// by the identity of its working directory, held by process descriptor while it is judged; a bare number is never
/// signalled.
struct Survivors {
    /// The cluster's directory, opened, and its path for messages.
    let path: String
    let identity: FileSystem.Status
    /// An argument that only our own postmasters have.
    let mark: String

    /// Makes the cluster free to boot: waits for a postmaster of an earlier server to end, and sees to it; removes a
    /// pid file that names nobody or a stranger; ends what survived its postmaster.
    ///
    /// - Throws: `clusterInUse` when a postmaster that no routerd started serves it, `survivorRemains`.
    func clear(_ cluster: borrowing Descriptor) throws(EmbedError) {
        guard try mayRemain(cluster) else { return }
        let content = try FileSystem.contents(of: Self.pidFile, in: cluster)
        if let postmaster = content.flatMap(postmaster(named:)) { try end(postmaster: postmaster) }
        try endAll()
        try FileSystem.unlinkIfPresent(Self.pidFile, in: cluster)
    }

    /// A postmaster that ends cleanly takes its pid file along, and then nothing can have survived it. A tenant can remove
    /// the file too.
    func mayRemain(_ cluster: borrowing Descriptor) throws(EmbedError) -> Bool {
        if try FileSystem.status(of: Self.pidFile, in: cluster) != nil { return true }
        let control = try FileSystem.contents(of: "global/pg_control", in: cluster).flatMap { ControlFile($0) }
        return control?.wasStoppedCleanly != true
    }

    /// The postmaster that serves the cluster now, whoever started it; nil when none does.
    func livingPostmaster(_ cluster: borrowing Descriptor) throws(EmbedError) -> Int32? {
        guard let content = try FileSystem.contents(of: Self.pidFile, in: cluster),
            let processID = postmaster(named: content), member(processID) != nil
        else { return nil }
        return processID
    }

    /// Ends every process that works in the cluster: what a postmaster that was killed left running.
    func endAll() throws(EmbedError) {
        for processID in Self.processIDs() {
            guard let process = member(processID) else { continue }
            // Its postmaster is gone, and with it all that its shared memory was worth: nothing to save by asking.
            process.signal(SIGKILL)
            if !process.waitForEnd(.seconds(5)) { throw .survivorRemains(path: path, processID: processID) }
        }
    }

    static let pidFile = "postmaster.pid"

    // MARK: A living postmaster

    private func postmaster(named content: [UInt8]) -> Int32? {
        let line = content.prefix { $0 != UInt8(ascii: "\n") }
        guard let number = Int32(String(decoding: line, as: UTF8.self)), number > 1 else { return nil }
        return number
    }

    /// Waits first: the parent-death signal of a killed server is on its way already.
    private func end(postmaster processID: Int32) throws(EmbedError) {
        guard let process = member(processID) else { return }
        guard process.hasArgument(mark) else { throw .clusterInUse(path: path, processID: processID) }
        if process.waitForEnd(.seconds(1)) { return }
        for (signal, patience) in [(SIGINT, 5), (SIGQUIT, 6), (SIGKILL, 5)] {
            process.signal(signal)
            if process.waitForEnd(.seconds(patience)) { return }
        }
        throw .survivorRemains(path: path, processID: processID)
    }

    /// The process, if it lives, runs `postgres` and works in this cluster.
    private func member(_ processID: Int32) -> ForeignProcess? {
        guard let process = ForeignProcess(processID), process.runsPostgres,
            let directory = process.workingDirectory, directory.isSameFile(as: identity)
        else { return nil }
        return process
    }

    private static func processIDs() -> [Int32] {
        guard let directory = try? FileSystem.openDirectory("/proc") else { return [] }
        return ((try? FileSystem.entries(of: directory, path: "/proc")) ?? []).compactMap { Int32($0) }
    }
}

/// A process that is not our child. The descriptor is opened first, so that what /proc tells belongs to it: had it
/// ended meanwhile, a signal through the descriptor would reach nobody.
private struct ForeignProcess: ~Copyable {
    private let processID: Int32
    private let pidfd: Descriptor

    init?(_ processID: Int32) {
        guard let pidfd = try? Descriptor.process(processID) else { return nil }
        self.processID = processID
        self.pidfd = pidfd
    }

    /// False for another user's, whose executable the kernel does not tell.
    var runsPostgres: Bool {
        guard let program = FileSystem.target(ofLink: "/proc/\(processID)/exe") else { return false }
        // " (deleted)" after an upgrade of the package under a running server.
        return program.split(separator: "/").last?.split(separator: " ").first == "postgres"
    }

    var workingDirectory: FileSystem.Status? { FileSystem.status(ofPath: "/proc/\(processID)/cwd") }

    func hasArgument(_ argument: String) -> Bool {
        guard let file = try? FileSystem.open("/proc/\(processID)/cmdline", O_RDONLY),
            let bytes = try? FileSystem.read(file, path: "cmdline", limit: 64 * 1024)
        else { return false }
        return bytes.split(separator: 0).contains { $0.elementsEqual(argument.utf8) }
    }

    func signal(_ number: CInt) { _ = files_pidfd_send_signal(pidfd.number, number) }

    /// Whether it ended in time.
    func waitForEnd(_ patience: Duration) -> Bool {
        let deadline = ContinuousClock.now + patience
        while true {
            let left = max(.zero, deadline - .now)
            let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000
            var watched = pollfd(fd: pidfd.number, events: Int16(POLLIN), revents: 0)
            let count = unsafe poll(&watched, 1, CInt(milliseconds))
            if count > 0 { return true }
            if count == 0 || errno != EINTR { return false }
        }
    }
}
