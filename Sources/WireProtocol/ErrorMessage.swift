/// An ErrorResponse or NoticeResponse: what the router says in its own name, and what it reads of PostgreSQL's
/// (PostgreSQL manual, "Error and Notice Message Fields").
public struct ErrorMessage: Sendable, Equatable, Error {
    /// How grave it is, fields `S` and `V`.
    public enum Severity: String, Sendable {
        case error = "ERROR"
        case fatal = "FATAL"
        case panic = "PANIC"
        case warning = "WARNING"
        case notice = "NOTICE"
        case debug = "DEBUG"
        case info = "INFO"
        case log = "LOG"
    }

    /// Fields `S` and `V`.
    public var severity: Severity
    /// Field `C`.
    public var sqlState: SQLState
    /// Field `M`, one line.
    public var message: String
    /// Field `D`: which limit, which cause.
    public var detail: String?
    /// Field `H`: what to do about it.
    public var hint: String?

    /// A message of the router's own.
    public init(
        severity: Severity = .fatal, _ sqlState: SQLState, _ message: String, detail: String? = nil, hint: String? = nil
    ) {
        self.severity = severity
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.hint = hint
    }

    /// Reads the body (without tag and length) of an ErrorResponse or NoticeResponse. Text that is not UTF-8 is
    /// repaired, fields of other types are skipped; nil where code, message or the terminator is missing.
    public init?(parsing body: ArraySlice<UInt8>) {
        var rest = body
        var fields: [UInt8: ArraySlice<UInt8>] = [:]
        while let type = rest.popFirst(), type != 0 {
            guard let value = rest.popCString() else { return nil }
            fields[type] = value
            if rest.isEmpty { return nil }
        }
        func text(_ type: Unicode.Scalar) -> String? {
            fields[UInt8(ascii: type)].map { String(decoding: $0, as: UTF8.self) }
        }
        guard let code = fields[UInt8(ascii: "C")].flatMap(SQLState.init(bytes:)), let message = text("M") else {
            return nil
        }
        // `V` is never translated, `S` is; servers before 9.6 send `S` only.
        let severity = text("V") ?? text("S") ?? ""
        self.init(
            severity: Severity(rawValue: severity) ?? .error, code, message, detail: text("D"), hint: text("H"))
    }

    /// The whole ErrorResponse frame.
    public func errorResponse() -> [UInt8] { .frame(Backend.Tag.errorResponse, appendFields) }

    /// The whole NoticeResponse frame.
    public func noticeResponse() -> [UInt8] { .frame(Backend.Tag.noticeResponse, appendFields) }

    /// The error as a frontend of protocol 2 understands it, for it can be told only this one thing: a tag, a line
    /// and a zero byte, without a length (PostgreSQL's `send_message_to_frontend`).
    func errorResponseOfProtocol2() -> [UInt8] {
        var bytes = [Backend.Tag.errorResponse]
        bytes.appendCString("\(severity.rawValue):  \(message)\n")
        return bytes
    }

    private func appendFields(to bytes: inout [UInt8]) {
        func append(_ type: Unicode.Scalar, _ value: String) {
            bytes.append(UInt8(ascii: type))
            bytes.appendCString(value)
        }
        append("S", severity.rawValue)
        append("V", severity.rawValue)
        append("C", sqlState.description)
        append("M", message)
        if let detail { append("D", detail) }
        if let hint { append("H", hint) }
        bytes.append(0)
    }
}
