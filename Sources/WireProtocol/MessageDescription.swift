/// One message of a session, for a person who reads along (PostgreSQL manual, "Message Formats").
public struct MessageDescription: Sendable, Equatable {
    /// As the manual spells it.
    public let name: String
    /// Bytes of the whole message, its tag and length included.
    public let size: Int
    /// What it says: one line without control characters, of bounded length; empty for a message without content.
    public let details: String

    /// `Query, 14 bytes: SELECT 1`
    public var line: String {
        "\(name), \(size) \(size == 1 ? "byte" : "bytes")" + (details.isEmpty ? "" : ": \(details)")
    }

    /// A StartupMessage, which has no tag. What it says of passwords is left out.
    public init(_ packet: StartupPacket) {
        name = "StartupMessage"
        size = packet.bytes.count
        let parameters = packet.parameters.map { parameter in
            let isSecret = Secrets.areIn(parameter.name) || Secrets.areIn(parameter.value)
            let value = InspectedText.escaped(parameter.value, limit: InspectedText.nameLimit)
            return InspectedText.escaped(parameter.name, limit: InspectedText.nameLimit) + "="
                + (isSecret ? "***" : value)
        }
        let version = "protocol \(packet.version.major).\(packet.version.minor)"
        details = InspectedText.list([version] + parameters)
    }

    /// A CancelRequest, which has no tag. Its secret is left out.
    public init(cancelRequest key: CancelKey) {
        name = "CancelRequest"
        size = Frontend.cancelRequest(key).count
        details = "process \(key.processID)"
    }

    init(frontend frame: SampledFrame, _ discretion: Discretion) {
        var reader = MessageReader(frame, discretion)
        reader.readFrontend()
        self.init(frame, name: Self.frontendName(frame.tag), reader)
    }

    init(backend frame: SampledFrame, _ discretion: Discretion) {
        var reader = MessageReader(frame, discretion)
        reader.readBackend()
        self.init(frame, name: Self.backendName(frame), reader)
    }

    private init(_ frame: SampledFrame, name: String, _ reader: MessageReader) {
        self.name = name
        size = frame.bodyLength + 5
        details = reader.parts.joined(separator: ", ")
    }
}

/// How much of a message may be shown.
enum Discretion {
    /// What messages carry as values: sizes only.
    case sizes
    /// Values too.
    case values
    /// A password is about: neither values nor what an error quotes.
    case secrets
}

// MARK: - Names

extension MessageDescription {
    private static func frontendName(_ tag: UInt8) -> String {
        switch tag {
        case Frontend.Tag.bind: "Bind"
        case Frontend.Tag.close: "Close"
        case Frontend.Tag.describe: "Describe"
        case Frontend.Tag.execute: "Execute"
        case Frontend.Tag.functionCall: "FunctionCall"
        case Frontend.Tag.flush: "Flush"
        case Frontend.Tag.parse: "Parse"
        case Frontend.Tag.query: "Query"
        case Frontend.Tag.sync: "Sync"
        case Frontend.Tag.terminate: "Terminate"
        case Frontend.Tag.copyDone: "CopyDone"
        case Frontend.Tag.copyData: "CopyData"
        case Frontend.Tag.copyFail: "CopyFail"
        case Frontend.Tag.password: "PasswordMessage"
        default: unknown(tag)
        }
    }

    private static func backendName(_ frame: SampledFrame) -> String {
        switch frame.tag {
        case Backend.Tag.parseComplete: "ParseComplete"
        case Backend.Tag.bindComplete: "BindComplete"
        case Backend.Tag.closeComplete: "CloseComplete"
        case Backend.Tag.notificationResponse: "NotificationResponse"
        case Backend.Tag.commandComplete: "CommandComplete"
        case Backend.Tag.dataRow: "DataRow"
        case Backend.Tag.errorResponse: "ErrorResponse"
        case Backend.Tag.copyInResponse: "CopyInResponse"
        case Backend.Tag.copyOutResponse: "CopyOutResponse"
        case Backend.Tag.emptyQueryResponse: "EmptyQueryResponse"
        case Backend.Tag.backendKeyData: "BackendKeyData"
        case Backend.Tag.noticeResponse: "NoticeResponse"
        case Backend.Tag.authentication: authenticationName(Backend.AuthenticationRequest(parsing: frame.body[...]))
        case Backend.Tag.parameterStatus: "ParameterStatus"
        case Backend.Tag.rowDescription: "RowDescription"
        case Backend.Tag.functionCallResponse: "FunctionCallResponse"
        case Backend.Tag.copyBothResponse: "CopyBothResponse"
        case Backend.Tag.readyForQuery: "ReadyForQuery"
        case Backend.Tag.copyDone: "CopyDone"
        case Backend.Tag.copyData: "CopyData"
        case Backend.Tag.noData: "NoData"
        case Backend.Tag.portalSuspended: "PortalSuspended"
        case Backend.Tag.parameterDescription: "ParameterDescription"
        case Backend.Tag.negotiateProtocolVersion: "NegotiateProtocolVersion"
        default: unknown(frame.tag)
        }
    }

    private static func authenticationName(_ request: Backend.AuthenticationRequest?) -> String {
        switch request?.code {
        case 0: "AuthenticationOk"
        case 3: "AuthenticationCleartextPassword"
        case 5: "AuthenticationMD5Password"
        case 10: "AuthenticationSASL"
        case 11: "AuthenticationSASLContinue"
        case 12: "AuthenticationSASLFinal"
        case .some(let code): "Authentication \(code)"
        case nil: "Authentication"
        }
    }

    private static func unknown(_ tag: UInt8) -> String {
        "message '\(InspectedText.escaped([tag], limit: InspectedText.nameLimit))'"
    }
}
