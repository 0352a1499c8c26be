/// What a backend sends: tags, parsers of the few messages the router reads, encoders of the few it says in a
/// backend's place (PostgreSQL manual, "Message Formats").
public enum Backend {
    /// First byte of each backend message.
    public enum Tag {
        /// ParseComplete
        public static let parseComplete = UInt8(ascii: "1")
        /// BindComplete
        public static let bindComplete = UInt8(ascii: "2")
        /// CloseComplete
        public static let closeComplete = UInt8(ascii: "3")
        /// NotificationResponse
        public static let notificationResponse = UInt8(ascii: "A")
        /// CommandComplete
        public static let commandComplete = UInt8(ascii: "C")
        /// DataRow
        public static let dataRow = UInt8(ascii: "D")
        /// ErrorResponse
        public static let errorResponse = UInt8(ascii: "E")
        /// CopyInResponse
        public static let copyInResponse = UInt8(ascii: "G")
        /// CopyOutResponse
        public static let copyOutResponse = UInt8(ascii: "H")
        /// EmptyQueryResponse
        public static let emptyQueryResponse = UInt8(ascii: "I")
        /// BackendKeyData
        public static let backendKeyData = UInt8(ascii: "K")
        /// NoticeResponse
        public static let noticeResponse = UInt8(ascii: "N")
        /// Every authentication request and AuthenticationOk
        public static let authentication = UInt8(ascii: "R")
        /// ParameterStatus
        public static let parameterStatus = UInt8(ascii: "S")
        /// RowDescription
        public static let rowDescription = UInt8(ascii: "T")
        /// FunctionCallResponse
        public static let functionCallResponse = UInt8(ascii: "V")
        /// CopyBothResponse
        public static let copyBothResponse = UInt8(ascii: "W")
        /// ReadyForQuery
        public static let readyForQuery = UInt8(ascii: "Z")
        /// CopyDone
        public static let copyDone = UInt8(ascii: "c")
        /// CopyData
        public static let copyData = UInt8(ascii: "d")
        /// NoData
        public static let noData = UInt8(ascii: "n")
        /// PortalSuspended
        public static let portalSuspended = UInt8(ascii: "s")
        /// ParameterDescription
        public static let parameterDescription = UInt8(ascii: "t")
        /// NegotiateProtocolVersion
        public static let negotiateProtocolVersion = UInt8(ascii: "v")
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
