/// A version of the frontend/backend protocol as the first packet carries it: major in the high half, minor in the low
/// (PostgreSQL manual, "Message Formats", StartupMessage).
public struct ProtocolVersion: Hashable, Sendable {
    /// The high 16 bits: 3 for every living client, 1234 for the requests that only look like a startup packet.
    public let major: UInt16
    /// The low 16 bits.
    public let minor: UInt16

    /// A version of two known halves.
    public init(major: UInt16, minor: UInt16) {
        self.major = major
        self.minor = minor
    }

    /// The version packed into one 32-bit word in host order.
    public init(word: UInt32) {
        self.init(major: UInt16(truncatingIfNeeded: word >> 16), minor: UInt16(truncatingIfNeeded: word))
    }

    /// Both halves packed into one 32-bit word in host order.
    public var word: UInt32 { UInt32(major) << 16 | UInt32(minor) }

    /// What PostgreSQL 7.4 to 17 and nearly every driver speak.
    public static let v3_0 = ProtocolVersion(major: 3, minor: 0)

    static let cancelRequest = ProtocolVersion(major: 1234, minor: 5678)
    static let sslRequest = ProtocolVersion(major: 1234, minor: 5679)
    static let gssEncRequest = ProtocolVersion(major: 1234, minor: 5680)
}
