public import Reactor

/// A spawned postmaster, owned by process descriptor, so that no signal ever reaches a stranger.
public struct Postmaster: ~Copyable, Sendable {
    /// For the log only; signals go through the process descriptor.
    public let processID: Int32
    private let pidfd: Descriptor

    init(processID: Int32, pidfd: consuming Descriptor) {
        self.processID = processID
        self.pidfd = pidfd
    }

    /// A second process descriptor, for whoever waits for the exit and reaps.
    public func exitWatch() throws(EmbedError) -> Descriptor { fatalError("written next") }

    /// Sends a signal; a postmaster that has exited is no error.
    public func signal(_ number: CInt) { fatalError("written next") }
}
