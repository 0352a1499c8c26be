import CEpoll
import Glibc

/// An error number of the kernel, as `errno(3)` lists them.
public struct Errno: Error, Equatable, Hashable, Sendable, BitwiseCopyable {
    /// The number, positive.
    public let code: CInt

    /// Wraps an error number.
    @inlinable
    public init(code: CInt) {
        self.code = code
    }

    /// What the last failed call of this thread left behind.
    static var last: Errno { Errno(code: errno) }
}

extension Errno: CustomStringConvertible {
    /// The kernel's sentence for the number, `strerror_r(3)`.
    public var description: String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
            guard let base = text.baseAddress else { return "error \(code)" }
            guard unsafe ce_strerror(code, base, text.count) == 0 else { return "error \(code)" }
            return unsafe String(cString: base)
        }
    }
}
