import CConfine
import Glibc
public import Reactor

/// A spawned postmaster, owned by process descriptor, so that no signal ever reaches a stranger.
public struct Postmaster: ~Copyable, Sendable {
    /// For the log only; signals go through the process descriptor.
    public let processID: Int32
    private let pidfd: Descriptor

    init(_ child: consuming Child) {
        self.processID = child.processID
        self.pidfd = child.takePidfd()
    }

    /// A second process descriptor, for whoever waits for the exit and reaps.
    public func exitWatch() throws(EmbedError) -> Descriptor {
        let number = fcntl(pidfd.number, F_DUPFD_CLOEXEC, 3)
        guard number >= 0 else { throw .fileSystem(operation: "duplicate", path: "process descriptor", .last) }
        return Descriptor(owning: number)
    }

    /// Sends a signal; a postmaster that has exited is no error.
    public func signal(_ number: CInt) { _ = files_pidfd_send_signal(pidfd.number, number) }
}
