/// A row of an answer: text by column, read as what it is asked to be.
///
/// ```swift
/// let row = rows[0]
/// let body = row["body"]                        // String?, nil for a null
/// let count = try row.decode("count", as: Int.self)
/// let price = try row.decodeIfPresent("price", as: Double.self)
/// ```
public struct Row: Sendable, Equatable {
    /// The names of its columns, in the order of the statement. Two may be equal; names find the first.
    public let columns: [String]
    /// As many values as PostgreSQL writes them; nil is a null.
    public let values: [String?]

    init(columns: [String], values: [String?]) {
        self.columns = columns
        self.values = values
    }

    /// The value as PostgreSQL writes it; nil for a null, and where there is no such column.
    public subscript(column: String) -> String? {
        columns.firstIndex(of: column).flatMap { values[$0] }
    }

    /// The value, read as `Value`.
    ///
    /// - Throws: ``RowError``, also for a null.
    public func decode<Value: RowValue>(_ column: String, as type: Value.Type = Value.self) throws(RowError) -> Value {
        guard let value = try decodeIfPresent(column, as: type) else { throw .isNull(column: column) }
        return value
    }

    /// The value, read as `Value`; nil for a null.
    ///
    /// - Throws: ``RowError`` where there is no such column, or its value is not of that type.
    public func decodeIfPresent<Value: RowValue>(
        _ column: String, as type: Value.Type = Value.self
    ) throws(RowError) -> Value? {
        guard let index = columns.firstIndex(of: column) else { throw .noColumn(column, columns: columns) }
        guard let text = values[index] else { return nil }
        guard let value = Value(postgresText: text) else {
            throw .unreadable(column: column, value: text, type: "\(Value.self)")
        }
        return value
    }
}

/// Why a value of a ``Row`` cannot be had. The caller and the statement disagree.
public enum RowError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The statement returned no column of that name.
    case noColumn(String, columns: [String])
    /// The value is a null, and one was asked for.
    case isNull(column: String)
    /// The value is something else than what it was asked to be.
    case unreadable(column: String, value: String, type: String)

    /// One line for people.
    public var description: String {
        switch self {
        case .noColumn(let name, let columns):
            "there is no column \"\(name)\", but: \(columns.map { "\"\($0)\"" }.joined(separator: ", "))"
        case .isNull(let column): "the column \"\(column)\" is null"
        case .unreadable(let column, let value, let type):
            "the column \"\(column)\" is \"\(value)\", which is no \(type)"
        }
    }
}

/// What a column of a ``Row`` can be read as.
public protocol RowValue {
    /// Reads what PostgreSQL writes (the output of the type's output function); nil where that is something else.
    init?(postgresText: String)
}

extension String: RowValue {
    /// Any value: the text itself.
    public init?(postgresText: String) { self = postgresText }
}

extension Int: RowValue {
    /// `smallint`, `integer`, `bigint`, and a `numeric` without a fraction.
    public init?(postgresText: String) { self.init(postgresText) }
}

extension Double: RowValue {
    /// Any number, `NaN` and `Infinity` included.
    public init?(postgresText: String) { self.init(postgresText) }
}

extension Bool: RowValue {
    /// `boolean`, also one that the statement turned into text.
    public init?(postgresText: String) {
        switch postgresText {
        case "t", "true": self = true
        case "f", "false": self = false
        default: return nil
        }
    }
}
