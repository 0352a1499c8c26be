/// Why a first packet can't be served. The frontend causes all of them; the connection ends with `response`.
public enum StartupViolation: Error, Sendable, Equatable {
    /// A length below 8 or above the limit, in bytes as the packet says it: a port scanner, another protocol.
    case invalidLength(UInt32)
    /// A CancelRequest whose key has not 4 to 256 bytes; the packet's length in bytes.
    case invalidCancelLength(UInt32)
    /// A TLS handshake without an SSLRequest before it, which needs TLS to be configured.
    case directTLS
    /// Bytes that came together with an SSLRequest or GSSENCRequest, which is given.
    case bytesBehindEncryptionRequest(ProtocolVersion)
    /// Another major version, or an encryption request repeated after its refusal.
    case unsupportedProtocol(ProtocolVersion)
    /// The list of parameters does not end where the packet ends.
    case missingTerminator
    /// No `user` parameter, or an empty one.
    case missingUser
    /// A user or database name that is not UTF-8.
    case notUTF8(parameter: String)

    /// The error in PostgreSQL's own words where it has some.
    public var error: ErrorMessage {
        switch self {
        case .invalidLength:
            return ErrorMessage(.protocolViolation, "invalid length of startup packet")
        case .invalidCancelLength:
            return ErrorMessage(.protocolViolation, "invalid length of cancel request packet")
        case .directTLS:
            return ErrorMessage(
                .featureNotSupported, "direct TLS connections are not supported",
                hint: "Connect with sslmode=prefer or sslmode=disable.")
        case .bytesBehindEncryptionRequest(let version):
            let request = version == .gssEncRequest ? "GSSAPI encryption request" : "SSL request"
            return ErrorMessage(
                .protocolViolation, "received unencrypted data after \(request)",
                detail: "This could be either a client-software bug or evidence of an attempted man-in-the-middle"
                    + " attack.")
        case .unsupportedProtocol(let version):
            return ErrorMessage(
                .featureNotSupported,
                "unsupported frontend protocol \(version.major).\(version.minor): server supports 3.0 to 3.0")
        case .missingTerminator:
            return ErrorMessage(
                .protocolViolation, "invalid startup packet layout: expected terminator as last byte")
        case .missingUser:
            return ErrorMessage(.invalidAuthorization, "no PostgreSQL user name specified in startup packet")
        case .notUTF8(let parameter):
            return ErrorMessage(.invalidParameterValue, "\(parameter) name is not valid UTF-8")
        }
    }

    /// What to send before closing; empty where the other side speaks another protocol or listens to nothing.
    public var response: [UInt8] {
        switch self {
        case .directTLS, .invalidCancelLength: []
        case .unsupportedProtocol(let version) where version.major < 3: error.errorResponseOfProtocol2()
        case .invalidLength, .bytesBehindEncryptionRequest, .unsupportedProtocol, .missingTerminator, .missingUser,
            .notUTF8:
            error.errorResponse()
        }
    }
}
