/// What a backend sends: tags, parsers of the few messages the router reads, encoders of the few it says in a
/// backend's place (PostgreSQL manual, "Message Formats").
public enum Backend {
    /// First byte of each backend message.
    ///
    /// Written out, because a stored constant is reached through a once-guard.
    public enum Tag {
        /// ParseComplete
        @inlinable public static var parseComplete: UInt8 { UInt8(ascii: "1") }
        /// BindComplete
        @inlinable public static var bindComplete: UInt8 { UInt8(ascii: "2") }
        /// CloseComplete
        @inlinable public static var closeComplete: UInt8 { UInt8(ascii: "3") }
        /// NotificationResponse
        @inlinable public static var notificationResponse: UInt8 { UInt8(ascii: "A") }
        /// CommandComplete
        @inlinable public static var commandComplete: UInt8 { UInt8(ascii: "C") }
        /// DataRow
        @inlinable public static var dataRow: UInt8 { UInt8(ascii: "D") }
        /// ErrorResponse
        @inlinable public static var errorResponse: UInt8 { UInt8(ascii: "E") }
        /// CopyInResponse
        @inlinable public static var copyInResponse: UInt8 { UInt8(ascii: "G") }
        /// CopyOutResponse
        @inlinable public static var copyOutResponse: UInt8 { UInt8(ascii: "H") }
        /// EmptyQueryResponse
        @inlinable public static var emptyQueryResponse: UInt8 { UInt8(ascii: "I") }
        /// BackendKeyData
        @inlinable public static var backendKeyData: UInt8 { UInt8(ascii: "K") }
        /// NoticeResponse
        @inlinable public static var noticeResponse: UInt8 { UInt8(ascii: "N") }
        /// Every authentication request and AuthenticationOk
        @inlinable public static var authentication: UInt8 { UInt8(ascii: "R") }
        /// ParameterStatus
        @inlinable public static var parameterStatus: UInt8 { UInt8(ascii: "S") }
        /// RowDescription
        @inlinable public static var rowDescription: UInt8 { UInt8(ascii: "T") }
        /// FunctionCallResponse
        @inlinable public static var functionCallResponse: UInt8 { UInt8(ascii: "V") }
        /// CopyBothResponse
        @inlinable public static var copyBothResponse: UInt8 { UInt8(ascii: "W") }
        /// ReadyForQuery
        @inlinable public static var readyForQuery: UInt8 { UInt8(ascii: "Z") }
        /// CopyDone
        @inlinable public static var copyDone: UInt8 { UInt8(ascii: "c") }
        /// CopyData
        @inlinable public static var copyData: UInt8 { UInt8(ascii: "d") }
        /// NoData
        @inlinable public static var noData: UInt8 { UInt8(ascii: "n") }
        /// PortalSuspended
        @inlinable public static var portalSuspended: UInt8 { UInt8(ascii: "s") }
        /// ParameterDescription
        @inlinable public static var parameterDescription: UInt8 { UInt8(ascii: "t") }
        /// NegotiateProtocolVersion
        @inlinable public static var negotiateProtocolVersion: UInt8 { UInt8(ascii: "v") }
    }

    /// The one byte that answers an SSLRequest or GSSENCRequest with no.
    public static let encryptionRefused: [UInt8] = [UInt8(ascii: "N")]

    /// AuthenticationOk
    public static let authenticationOk: [UInt8] = .frame(Tag.authentication) { $0.appendBigEndian(UInt32(0)) }

    /// ReadyForQuery of a backend that is in no transaction
    public static let readyForQuery: [UInt8] = .frame(Tag.readyForQuery) { $0.append(TransactionStatus.idle.rawValue) }

    /// BackendKeyData with the key the frontend shall cancel with.
    public static func backendKeyData(_ key: CancelKey) -> [UInt8] {
        .frame(Tag.backendKeyData) { bytes in
            bytes.appendBigEndian(key.processID)
            bytes += key.secret
        }
    }

    /// The key in BackendKeyData's body; nil where its length is impossible.
    public static func cancelKey(parsing body: ArraySlice<UInt8>) -> CancelKey? { CancelKey(parsing: body) }

    /// The code that an authentication message's body begins with.
    public struct AuthenticationRequest: Sendable, Hashable {
        /// 0 is AuthenticationOk, 3 a clear-text password, 5 MD5, 10 to 12 SASL.
        public let code: UInt32

        /// AuthenticationOk's
        public static let ok = AuthenticationRequest(code: 0)

        /// A request of a known code.
        public init(code: UInt32) { self.code = code }

        /// Nil where the body has not even four bytes.
        public init?(parsing body: ArraySlice<UInt8>) {
            guard body.count >= 4 else { return nil }
            self.init(code: body.bigEndianWord(at: body.startIndex))
        }
    }

    /// ReadyForQuery's one byte.
    public enum TransactionStatus: UInt8, Sendable {
        /// `I`
        case idle = 0x49
        /// `T`
        case inTransaction = 0x54
        /// `E`: everything but its end is refused
        case inFailedTransaction = 0x45

        /// Nil where the body is not one of the three known bytes.
        public init?(parsing body: ArraySlice<UInt8>) {
            guard body.count == 1, let byte = body.first else { return nil }
            self.init(rawValue: byte)
        }
    }

    /// ParameterStatus: a setting's name and current value.
    public struct ParameterStatus: Sendable, Equatable {
        /// The setting.
        public let name: String
        /// Its value.
        public let value: String

        /// Nil where the body is not two terminated strings; text that is not UTF-8 is repaired.
        public init?(parsing body: ArraySlice<UInt8>) {
            var rest = body
            guard let name = rest.popCString(), let value = rest.popCString(), rest.isEmpty else { return nil }
            self.name = String(decoding: name, as: UTF8.self)
            self.value = String(decoding: value, as: UTF8.self)
        }
    }
}
