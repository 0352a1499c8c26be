/// Reads what a message says into parts of a line. Nothing that comes over the wire is trusted: what does not fit the
/// manual is said to be malformed, what was not kept is left out.
struct MessageReader {
    /// What was read, in its order.
    private(set) var parts: [String] = []
    private let frame: SampledFrame
    private let discretion: Discretion
    private var rest: ArraySlice<UInt8>

    /// The kept bytes end here.
    private struct End: Error {}

    /// A zero-terminated string, or its beginning.
    private struct Text {
        let bytes: ArraySlice<UInt8>
        let isWhole: Bool
    }

    init(_ frame: SampledFrame, _ discretion: Discretion) {
        self.frame = frame
        self.discretion = discretion
        rest = frame.body[...]
    }

    mutating func readFrontend() { attempt { reader throws(End) in try reader.frontend() } }
    mutating func readBackend() { attempt { reader throws(End) in try reader.backend() } }

    private mutating func attempt(_ read: (inout Self) throws(End) -> Void) {
        do {
            try read(&self)
        } catch {
            parts.append(frame.isWhole ? "malformed" : "…")
        }
    }
}

// MARK: - Frontend

extension MessageReader {
    private mutating func frontend() throws(End) {
        switch frame.tag {
        case Frontend.Tag.query: parts.append(statement(try text()))
        case Frontend.Tag.parse: try parse()
        case Frontend.Tag.bind: try bind()
        case Frontend.Tag.describe, Frontend.Tag.close: try target()
        case Frontend.Tag.execute: try execute()
        case Frontend.Tag.functionCall: try functionCall()
        case Frontend.Tag.copyFail: parts.append(errorText(try text()))
        case Frontend.Tag.copyData: copyData()
        // Flush, Sync, Terminate and CopyDone say nothing; a password is not said.
        default: break
        }
    }

    private mutating func parse() throws(End) {
        parts.append(named("statement", try text()))
        let query = try text()
        let text = statement(query)
        guard query.isWhole else { return parts.append(text) }
        let types = try count()
        if types > 0 { parts.append(Self.counted(types, "parameter type")) }
        parts.append(text)
    }

    private mutating func bind() throws(End) {
        parts.append(named("portal", try text()))
        parts.append(named("statement", try text()))
        _ = try bytes(2 * (try count()))
        try values("parameter")
    }

    private mutating func target() throws(End) {
        switch try byte() {
        case UInt8(ascii: "S"): parts.append(named("statement", try text()))
        case UInt8(ascii: "P"): parts.append(named("portal", try text()))
        default: throw End()
        }
    }

    private mutating func execute() throws(End) {
        parts.append(named("portal", try text()))
        let rows = try word()
        if rows != 0 { parts.append("at most \(Self.counted(Int(rows), "row"))") }
    }

    private mutating func functionCall() throws(End) {
        parts.append("function \(try word())")
        _ = try bytes(2 * (try count()))
        try values("argument")
    }
}

// MARK: - Backend

extension MessageReader {
    private mutating func backend() throws(End) {
        switch frame.tag {
        case Backend.Tag.errorResponse, Backend.Tag.noticeResponse: try error()
        case Backend.Tag.commandComplete: parts.append(name(try text()))
        case Backend.Tag.readyForQuery: try readyForQuery()
        case Backend.Tag.dataRow: try values("value")
        case Backend.Tag.rowDescription: try rowDescription()
        case Backend.Tag.parameterDescription: parts.append(Self.counted(try count(), "parameter"))
        case Backend.Tag.parameterStatus: parts.append("\(name(try text())) = \(name(try text()))")
        // Whoever has the secret behind it can cancel what the session does.
        case Backend.Tag.backendKeyData: parts.append("process \(try word())")
        case Backend.Tag.notificationResponse: try notification()
        case Backend.Tag.copyInResponse, Backend.Tag.copyOutResponse, Backend.Tag.copyBothResponse: try copyResponse()
        case Backend.Tag.copyData: copyData()
        case Backend.Tag.functionCallResponse: parts.append(try value())
        case Backend.Tag.negotiateProtocolVersion: try negotiation()
        // The others say nothing, or what authentication needs and nobody else.
        default: break
        }
    }

    private mutating func error() throws(End) {
        var fields: [UInt8: Text] = [:]
        var type = try byte()
        while type != 0 {
            guard !rest.isEmpty else { break }
            fields[type] = try text()
            type = rest.isEmpty ? 0 : try byte()
        }
        // `V` is never translated, `S` is.
        let heads = [fields[UInt8(ascii: "V")] ?? fields[UInt8(ascii: "S")], fields[UInt8(ascii: "C")]]
        let message = fields[UInt8(ascii: "M")].map { errorText($0) }
        parts.append((heads.compactMap { $0.map { name($0) } } + [message ?? "malformed"]).joined(separator: " "))
    }

    private mutating func readyForQuery() throws(End) {
        switch Backend.TransactionStatus(rawValue: try byte()) {
        case .idle: parts.append("idle")
        case .inTransaction: parts.append("in transaction")
        case .inFailedTransaction: parts.append("in failed transaction")
        case nil: throw End()
        }
    }

    private mutating func rowDescription() throws(End) {
        let columns = try count()
        parts.append(Self.counted(columns, "column"))
        guard columns > 0 else { return }
        var names: [String] = []
        // Of each: name, table, attribute, type, its length and modifier, format.
        while names.count < min(columns, InspectedText.listLimit + 1), let name = try? text(), (try? bytes(18)) != nil {
            names.append(self.name(name))
        }
        guard names.count == columns || names.count > InspectedText.listLimit || !frame.isWhole else { throw End() }
        parts[parts.count - 1] += " (\(InspectedText.list(names, isWhole: names.count == columns)))"
    }

    private mutating func notification() throws(End) {
        let process = try word()
        parts.append("\(named("channel", try text())) from process \(process)")
        let payload = try text()
        switch discretion {
        case .values: parts.append("payload \(quoted(payload.bytes, isWhole: payload.isWhole))")
        case .sizes, .secrets: parts.append("payload of \(Self.counted(payload.bytes.count, "byte"))")
        }
    }

    private mutating func copyResponse() throws(End) {
        parts.append(try byte() == 0 ? "text" : "binary")
        parts.append(Self.counted(try count(), "column"))
    }

    private mutating func negotiation() throws(End) {
        let version = ProtocolVersion(word: UInt32(bitPattern: try word()))
        // Servers name the minor version alone, which reads as 0.x.
        parts.append("protocol 3.\(version.minor)")
        let options = try word()
        if options > 0 { parts.append(Self.counted(Int(options), "unknown option")) }
    }
}

// MARK: - Parts

extension MessageReader {
    /// SQL, up to the first constant where there may be a password in it.
    private func statement(_ text: Text) -> String {
        let shown = Secrets.areIn(text.bytes) ? Secrets.firstConstant(in: text.bytes) : nil
        if let shown {
            return InspectedText.escaped(text.bytes[..<shown], limit: InspectedText.statementLimit) + "***"
        }
        return InspectedText.escaped(text.bytes, limit: InspectedText.statementLimit, isWhole: text.isWhole)
    }

    private func errorText(_ text: Text) -> String {
        switch discretion {
        case .secrets:
            guard let quote = Secrets.firstQuote(in: text.bytes) else { break }
            return InspectedText.escaped(text.bytes[..<quote], limit: InspectedText.statementLimit) + "***"
        case .sizes, .values: break
        }
        return InspectedText.escaped(text.bytes, limit: InspectedText.statementLimit, isWhole: text.isWhole)
    }

    private mutating func copyData() {
        switch discretion {
        case .values: parts.append(quoted(frame.body[...], isWhole: frame.isWhole))
        case .sizes, .secrets: break
        }
    }

    /// A count, then so many values, each with its length before it.
    private mutating func values(_ noun: String) throws(End) {
        let count = try count()
        parts.append(Self.counted(count, noun))
        guard count > 0 else { return }
        var shown: [String] = []
        while shown.count < min(count, InspectedText.listLimit + 1), let value = try? value() { shown.append(value) }
        guard shown.count == count || shown.count > InspectedText.listLimit || !frame.isWhole else { throw End() }
        parts[parts.count - 1] += " (\(InspectedText.list(shown, isWhole: shown.count == count)))"
    }

    /// A length and as many bytes: the one or the others, as may be shown.
    private mutating func value() throws(End) -> String {
        let length = try word()
        guard length >= 0 else { return "null" }
        let present = rest.prefix(Int(length))
        rest = rest.dropFirst(present.count)
        guard present.count == Int(length) || !frame.isWhole else { throw End() }
        switch discretion {
        case .values: return quoted(present, isWhole: present.count == Int(length))
        case .sizes, .secrets: return "\(length)"
        }
    }

    /// A value as a constant: in hexadecimal what is no text.
    private func quoted(_ bytes: ArraySlice<UInt8>, isWhole: Bool) -> String {
        guard bytes.contains(0) || (isWhole && String(validating: bytes, as: UTF8.self) == nil) else {
            return "'\(InspectedText.escaped(bytes, limit: InspectedText.nameLimit, isWhole: isWhole))'"
        }
        let kept = bytes.prefix(InspectedText.nameLimit / 2)
        let digits = kept.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        return "'\\x\(digits)\(kept.count == bytes.count && isWhole ? "" : "…")'"
    }

    private func name(_ text: Text) -> String {
        InspectedText.escaped(text.bytes, limit: InspectedText.nameLimit, isWhole: text.isWhole)
    }

    private func named(_ noun: String, _ text: Text) -> String {
        text.bytes.isEmpty ? "unnamed \(noun)" : "\(noun) \"\(name(text))\""
    }

    private static func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
}

// MARK: - Bytes

extension MessageReader {
    private mutating func byte() throws(End) -> UInt8 {
        guard let byte = rest.popFirst() else { throw End() }
        return byte
    }

    /// A count as an Int16 has it.
    private mutating func count() throws(End) -> Int {
        guard rest.count >= 2, let high = rest.popFirst(), let low = rest.popFirst(), high < 0x80 else { throw End() }
        return Int(high) << 8 | Int(low)
    }

    private mutating func word() throws(End) -> Int32 {
        guard rest.count >= 4 else { throw End() }
        defer { rest = rest.dropFirst(4) }
        return Int32(bitPattern: rest.bigEndianWord(at: rest.startIndex))
    }

    private mutating func bytes(_ count: Int) throws(End) -> ArraySlice<UInt8> {
        guard rest.count >= count else { throw End() }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    private mutating func text() throws(End) -> Text {
        if let bytes = rest.popCString() { return Text(bytes: bytes, isWhole: true) }
        guard !frame.isWhole else { throw End() }
        defer { rest = rest[rest.endIndex...] }
        return Text(bytes: rest, isWhole: false)
    }
}
