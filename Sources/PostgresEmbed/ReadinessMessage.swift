/// A datagram that a postmaster sends to its `NOTIFY_SOCKET`. Source: sd_notify(3).
public enum ReadinessMessage: Sendable, Equatable {
    case ready
    case stopping
    case status(String)
    case ignored

    /// Reads the bytes of one datagram: lines of `NAME=value`.
    public init(parsing bytes: RawSpan) { fatalError("written next") }
}
