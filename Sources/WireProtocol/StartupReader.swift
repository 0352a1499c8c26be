/// What a frontend may say first (PostgreSQL manual, "Message Flow", Start-up and the encryption sessions).
public enum FirstPacket: Sendable, Equatable {
    /// Asks for TLS; the answer is one byte, `S` or `N`, and another first packet follows.
    case sslRequest
    /// Asks for GSSAPI encryption; the answer is one byte, `G` or `N`, and another first packet follows.
    case gssEncRequest
    /// Asks to cancel what another session runs; gets no answer.
    case cancel(CancelKey)
    /// Opens a session.
    case startup(StartupPacket)
}

/// Accumulates the first packets of a connection, byte by byte if need be.
///
/// It holds what came and nothing more: an unanswered connection costs no buffer. The caller takes every packet with
/// `next()` before it appends again, so the most that is ever held is one packet and one chunk.
public struct StartupReader: Sendable {
    /// What `next()` found.
    public enum Outcome: Sendable, Equatable {
        /// At least this many bytes are missing.
        case needsMore(Int)
        /// One whole packet, taken out of the reader.
        case packet(FirstPacket)
        /// The connection can't go on. The reader repeats it from now on.
        case violation(StartupViolation)
    }

    /// The longest packet, without its own length field, in bytes (PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`).
    public static let bodyLimit = 10_000

    private enum State {
        case firstContact
        case encryptionRefused(lastAsked: ProtocolVersion)
        case opened
        case violated(StartupViolation)
    }

    private var state = State.firstContact
    private var held: [UInt8] = []

    /// A reader that has seen nothing.
    public init() {}

    /// Takes what the frontend sent, in chunks of any size.
    public mutating func append(_ bytes: RawSpan) { held.append(bytes) }

    /// Takes what the frontend sent, in chunks of any size.
    public mutating func append(_ bytes: [UInt8]) { held += bytes }

    /// The next first packet.
    ///
    /// After `.sslRequest` or `.gssEncRequest` the caller answers `N` and goes on; the same request twice in a row is a
    /// violation, as it is to PostgreSQL. After `.cancel` and `.startup` there is no next packet: what came behind is
    /// `leftover`.
    public mutating func next() -> Outcome {
        switch state {
        case .firstContact: return read(lastAsked: nil)
        case .encryptionRefused(let lastAsked): return read(lastAsked: lastAsked)
        case .opened: return .needsMore(1)
        case .violated(let violation): return .violation(violation)
        }
    }

    /// What came behind the startup packet: legal there, and the first frames of the session.
    public var leftover: [UInt8] {
        switch state {
        case .opened: held
        case .firstContact, .encryptionRefused, .violated: []
        }
    }

    /// Gives `leftover` away.
    public mutating func takeLeftover() -> [UInt8] {
        let bytes = leftover
        held = []
        return bytes
    }

    private mutating func read(lastAsked: ProtocolVersion?) -> Outcome {
        do throws(StartupViolation) {
            return try readPacket(lastAsked: lastAsked)
        } catch {
            state = .violated(error)
            held = []
            return .violation(error)
        }
    }

    private mutating func readPacket(lastAsked: ProtocolVersion?) throws(StartupViolation) -> Outcome {
        // No packet of this protocol that is short enough begins with the type of a TLS handshake record.
        if held.first == 0x16 { throw .directTLS }
        guard held.count >= 4 else { return .needsMore(4 - held.count) }
        let length = held[...].bigEndianWord(at: 0)
        guard (8...UInt32(4 + Self.bodyLimit)).contains(length) else { throw .invalidLength(length) }
        guard held.count >= Int(length) else { return .needsMore(Int(length) - held.count) }

        let packet = Array(held[..<Int(length)])
        let version = ProtocolVersion(word: packet[...].bigEndianWord(at: 4))
        if let lastAsked, version == lastAsked { throw .unsupportedProtocol(version) }
        switch version {
        case .sslRequest: return try encryptionAsked(.sslRequest, version, length: packet.count)
        case .gssEncRequest: return try encryptionAsked(.gssEncRequest, version, length: packet.count)
        case .cancelRequest:
            guard let key = CancelKey(parsing: packet[8...]) else { throw .invalidCancelLength(length) }
            return opened(by: .cancel(key), length: packet.count)
        default:
            guard version.major == 3 else { throw .unsupportedProtocol(version) }
            return opened(by: .startup(try StartupPacket(parsing: packet, version: version)), length: packet.count)
        }
    }

    /// Bytes behind the request came before the answer: whoever sat in the middle could have put them there, and they
    /// would count as said under encryption.
    private mutating func encryptionAsked(
        _ request: FirstPacket, _ version: ProtocolVersion, length: Int
    ) throws(StartupViolation) -> Outcome {
        guard held.count == length else { throw .bytesBehindEncryptionRequest(version) }
        held = []
        state = .encryptionRefused(lastAsked: version)
        return .packet(request)
    }

    private mutating func opened(by packet: FirstPacket, length: Int) -> Outcome {
        held = Array(held[length...])
        state = .opened
        return .packet(packet)
    }
}
