import CEpoll
import Glibc

/// The one owner of a file descriptor; the descriptor is closed when its owner ends.
///
/// The number is never an identity: it is reused by the next call that opens something. See `Token`.
public struct Descriptor: ~Copyable, Sendable {
    /// The number, for system calls; valid while this value lives.
    public let number: CInt

    /// Takes ownership of an open descriptor.
    ///
    /// - Parameter number: an open descriptor that nobody else closes.
    public init(owning number: CInt) {
        precondition(number >= 0, "a descriptor is not negative")
        self.number = number
    }

    /// Gives the ownership away without closing: to another process, or to a call that closes by itself.
    public consuming func release() -> CInt {
        let number = number
        discard self
        return number
    }

    /// `close(2)`. Its errors about lost writes belong to files, whose writers call `fsync` themselves; EBADF means
    /// that somebody closed what this value owns, and the next owner of the number would be hit.
    deinit {
        if close(number) != 0 {
            precondition(errno != EBADF, "a descriptor was closed behind its owner's back")
        }
    }
}

extension Descriptor {
    /// A descriptor that names a process, `pidfd_open(2)`, close-on-exec.
    ///
    /// - Throws: ESRCH when no such process lives, EMFILE and ENFILE when descriptors have run out.
    public static func process(_ processID: Int32) throws(Errno) -> Descriptor {
        let number = ce_pidfd_open(processID, 0)
        guard number >= 0 else { throw .last }
        return Descriptor(owning: number)
    }
}
