/// What a frontend sends: tags, and encoders for what the router says as one (PostgreSQL manual, "Message Formats").
public enum Frontend {
    /// First byte of each frontend message.
    public enum Tag {
        /// Bind
        public static let bind = UInt8(ascii: "B")
        /// Close
        public static let close = UInt8(ascii: "C")
        /// Describe
        public static let describe = UInt8(ascii: "D")
        /// Execute
        public static let execute = UInt8(ascii: "E")
        /// FunctionCall
        public static let functionCall = UInt8(ascii: "F")
        /// Flush
        public static let flush = UInt8(ascii: "H")
        /// Parse
        public static let parse = UInt8(ascii: "P")
        /// Query
        public static let query = UInt8(ascii: "Q")
        /// Sync
        public static let sync = UInt8(ascii: "S")
        /// Terminate
        public static let terminate = UInt8(ascii: "X")
        /// CopyDone
        public static let copyDone = UInt8(ascii: "c")
        /// CopyData
        public static let copyData = UInt8(ascii: "d")
        /// CopyFail
        public static let copyFail = UInt8(ascii: "f")
        /// PasswordMessage, SASLInitialResponse, SASLResponse or GSSResponse
        public static let password = UInt8(ascii: "p")
    }

    /// A StartupMessage of protocol 3.0.
    public static func startupMessage(
        user: String, database: String, parameters: [(name: String, value: String)] = []
    ) -> [UInt8] {
        .lengthPrefixed { bytes in
            bytes.appendBigEndian(ProtocolVersion.v3_0.word)
            for (name, value) in [("user", user), ("database", database)] + parameters {
                bytes.appendCString(name)
                bytes.appendCString(value)
            }
            bytes.append(0)
        }
    }

    /// SSLRequest
    public static var sslRequest: [UInt8] { request(.sslRequest) }

    /// GSSENCRequest
    public static var gssEncRequest: [UInt8] { request(.gssEncRequest) }

    /// A CancelRequest, sent on a connection of its own.
    public static func cancelRequest(_ key: CancelKey) -> [UInt8] {
        .lengthPrefixed { bytes in
            bytes.appendBigEndian(ProtocolVersion.cancelRequest.word)
            bytes.appendBigEndian(key.processID)
            bytes += key.secret
        }
    }

    /// Terminate
    public static var terminate: [UInt8] { .frame(Tag.terminate) }

    /// Query: one or more statements by the simple protocol.
    public static func query(_ statements: String) -> [UInt8] {
        .frame(Tag.query) { $0.appendCString(statements) }
    }

    private static func request(_ code: ProtocolVersion) -> [UInt8] {
        .lengthPrefixed { $0.appendBigEndian(code.word) }
    }
}
