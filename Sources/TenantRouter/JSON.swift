/// A JSON value, to be written.
enum JSON: Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSON])
    /// In this order.
    case object([(String, JSON)])

    static func count(_ count: some BinaryInteger) -> JSON { .integer(Int64(clamping: count)) }
    static func optional(_ text: String?) -> JSON { text.map(JSON.string) ?? .null }
    static func optional(_ count: Int?) -> JSON { count.map(JSON.count) ?? .null }
    static func optional(_ number: Double?) -> JSON { number.map(JSON.number) ?? .null }

    /// Without blanks.
    var text: String {
        var text = ""
        write(to: &text)
        return text
    }

    private func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += "\(value)"
        case .number(let value): text += value.isFinite ? "\(value)" : "null"
        case .string(let value): text += LineLogHandler.quoted(value)
        case .array(let values):
            text += "["
            for (index, value) in values.enumerated() {
                if index > 0 { text += "," }
                value.write(to: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            for (index, (name, value)) in members.enumerated() {
                text += "\(index > 0 ? "," : "")\(LineLogHandler.quoted(name)):"
                value.write(to: &text)
            }
            text += "}"
        }
    }
}
