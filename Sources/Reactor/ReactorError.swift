/// Why the reactor could not do what it was asked.
public enum ReactorError: Error, Equatable, Sendable {
    /// The kernel refused a call. The world's fault: the caller decides.
    case system(call: String, Errno)
    /// `ReactorLimits.sources` sources exist already. The caller refuses its peer politely.
    case full(limit: Int)
    /// This engine is not available here.
    case engineUnavailable(EngineKind, reason: String)
    /// A socket address that the kernel cannot take (a path of more than 107 bytes).
    case unusableAddress(SocketAddress)
}

extension ReactorError: CustomStringConvertible {
    /// One line for a log.
    public var description: String {
        switch self {
        case .system(let call, let errno): "\(call): \(errno)"
        case .full(let limit): "all \(limit) sources of the reactor are in use"
        case .engineUnavailable(let kind, let reason): "the engine \(kind.rawValue) is not available: \(reason)"
        case .unusableAddress(let address): "unusable socket address \(address)"
        }
    }
}

/// Which kernel interface moves the bytes.
public enum EngineKind: String, Sendable, CaseIterable {
    /// What measures better: io_uring, which makes a fifth of the system calls once several sockets are ready in one tick;
    /// epoll where the kernel refuses it.
    case auto
    /// Do the call when the kernel says that it can be done, `epoll(7)`.
    case epoll
    /// Hand the call to the kernel, `io_uring(7)`.
    case ioUring = "io_uring"
}
