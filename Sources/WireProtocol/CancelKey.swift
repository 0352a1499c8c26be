/// What BackendKeyData tells a frontend and a CancelRequest brings back (PostgreSQL manual, "Canceling Requests in
/// Progress").
public struct CancelKey: Hashable, Sendable {
    /// The backend's process id as drivers and notifications show it.
    public let processID: Int32
    /// 4 bytes in protocol 3.0, 4 to 256 from 3.2 on.
    public let secret: [UInt8]

    /// The lengths a secret may have, in bytes.
    public static let secretLengths = 4...256

    /// A key whose secret has a length within `secretLengths`; anything else is the caller's mistake and traps.
    public init(processID: Int32, secret: [UInt8]) {
        precondition(Self.secretLengths.contains(secret.count), "a cancel key's secret has 4 to 256 bytes")
        self.processID = processID
        self.secret = secret
    }

    /// Reads process id and secret, as the bodies of BackendKeyData and CancelRequest both carry them; nil where the
    /// length is impossible.
    init?(parsing bytes: ArraySlice<UInt8>) {
        guard bytes.count >= 4, Self.secretLengths.contains(bytes.count - 4) else { return nil }
        self.processID = Int32(bitPattern: bytes.bigEndianWord(at: bytes.startIndex))
        self.secret = Array(bytes.dropFirst(4))
    }
}
