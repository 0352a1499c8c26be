import CConfine
import Glibc

/// The kernel's randomness, for names and identities.
enum Random {
    /// `count` bytes, at most 256 (which the kernel gives without interruption).
    static func bytes(_ count: Int) -> [UInt8] {
        precondition(count <= 256, "asked for more than the kernel gives at once")
        var bytes = [UInt8](repeating: 0, count: count)
        let got = unsafe bytes.withUnsafeMutableBytes { unsafe files_random($0.baseAddress, count) }
        precondition(got == count, "the kernel's random numbers are out of reach")
        return bytes
    }

    /// A name of 16 hexadecimal digits.
    static func name() -> String {
        String(decoding: bytes(8).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    private static let digits = Array("0123456789abcdef".utf8)
}
