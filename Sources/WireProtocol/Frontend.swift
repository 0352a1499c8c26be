/// What a frontend sends: tags, and encoders for what the router says as one (PostgreSQL manual, "Message Formats").
public enum Frontend {
    /// First byte of each frontend message.
    ///
    /// Written out, because a stored constant is reached through a once-guard.
    public enum Tag {
        /// Bind
        @inlinable public static var bind: UInt8 { UInt8(ascii: "B") }
        /// Close
        @inlinable public static var close: UInt8 { UInt8(ascii: "C") }
        /// Describe
        @inlinable public static var describe: UInt8 { UInt8(ascii: "D") }
        /// Execute
        @inlinable public static var execute: UInt8 { UInt8(ascii: "E") }
        /// FunctionCall
        @inlinable public static var functionCall: UInt8 { UInt8(ascii: "F") }
        /// Flush
        @inlinable public static var flush: UInt8 { UInt8(ascii: "H") }
        /// Parse
        @inlinable public static var parse: UInt8 { UInt8(ascii: "P") }
        /// Query
        @inlinable public static var query: UInt8 { UInt8(ascii: "Q") }
        /// Sync
        @inlinable public static var sync: UInt8 { UInt8(ascii: "S") }
        /// Terminate
        @inlinable public static var terminate: UInt8 { UInt8(ascii: "X") }
        /// CopyDone
        @inlinable public static var copyDone: UInt8 { UInt8(ascii: "c") }
        /// CopyData
        @inlinable public static var copyData: UInt8 { UInt8(ascii: "d") }
        /// CopyFail
        @inlinable public static var copyFail: UInt8 { UInt8(ascii: "f") }
        /// PasswordMessage, SASLInitialResponse, SASLResponse or GSSResponse
        @inlinable public static var password: UInt8 { UInt8(ascii: "p") }
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
