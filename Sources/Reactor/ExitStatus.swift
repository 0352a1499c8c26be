import Glibc

/// How a process ended, `waitid(2)`.
public enum ExitStatus: Sendable, Equatable {
    /// It called `exit` or returned from `main`, with this code (0…255).
    case exited(CInt)
    /// A signal ended it, with or without a core.
    case signalled(CInt)
    /// It is gone, but it was not our child, or somebody else reaped it.
    case unknown
}
