/// A column of a result that the router itself answers with.
public struct Column: Sendable, Equatable {
    /// What RowDescription calls it.
    public let name: String
    /// What its values are.
    public let type: ColumnType

    /// A column of that name.
    public init(_ name: String, _ type: ColumnType) {
        self.name = name
        self.type = type
    }
}

/// The types of columns that the router itself answers with (PostgreSQL's catalog `pg_type`).
public enum ColumnType: Sendable, CaseIterable {
    case text, int8, float8, bool, timestamptz

    var objectID: UInt32 {
        switch self {
        case .bool: 16
        case .int8: 20
        case .text: 25
        case .float8: 701
        case .timestamptz: 1184
        }
    }

    /// Bytes of a value, −1 where that varies.
    var size: Int16 {
        switch self {
        case .bool: 1
        case .int8, .float8, .timestamptz: 8
        case .text: -1
        }
    }
}

/// How a value is written (PostgreSQL manual, "Formats and Format Codes").
public enum ValueFormat: Int16, Sendable {
    case text = 0
    case binary = 1
}

/// One value of a row that the router itself answers with.
public enum ResultValue: Sendable, Equatable {
    case null
    case text(String)
    case int8(Int64)
    case float8(Double)
    case bool(Bool)
    /// Microseconds since 1970-01-01 00:00 UTC.
    case timestamptz(Int64)

    /// Microseconds between the Unix epoch and PostgreSQL's, 2000-01-01.
    private static let epochOffset: Int64 = 946_684_800_000_000

    /// The value's bytes; nil is a null.
    func bytes(_ format: ValueFormat) -> [UInt8]? {
        switch format {
        case .text: text.map { Array($0.utf8) }
        case .binary: binary
        }
    }

    private var text: String? {
        switch self {
        case .null: nil
        case .text(let text): text
        case .int8(let number): String(number)
        case .float8(let number): String(number)
        case .bool(let truth): truth ? "t" : "f"
        case .timestamptz(let microseconds): CalendarTime(microseconds: microseconds).text
        }
    }

    private var binary: [UInt8]? {
        var bytes: [UInt8] = []
        switch self {
        case .null: return nil
        case .text(let text): bytes = Array(text.utf8)
        case .int8(let number): bytes.appendBigEndian(number)
        case .float8(let number): bytes.appendBigEndian(number.bitPattern)
        case .bool(let truth): bytes = [truth ? 1 : 0]
        case .timestamptz(let microseconds): bytes.appendBigEndian(microseconds - Self.epochOffset)
        }
        return bytes
    }
}

/// An instant as PostgreSQL writes it with `DateStyle` ISO and the time zone UTC.
struct CalendarTime {
    let year: Int64
    let month: Int64
    let day: Int64
    let secondOfDay: Int64
    let microsecond: Int64

    /// Howard Hinnant's `civil_from_days`: the year begins in March, so that the leap day comes last.
    init(microseconds: Int64) {
        let (seconds, microsecond) = Self.floorDivided(microseconds, by: 1_000_000)
        let (days, secondOfDay) = Self.floorDivided(seconds, by: 86_400)
        let shifted = days + 719_468
        let (era, dayOfEra) = Self.floorDivided(shifted, by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        self.secondOfDay = secondOfDay
        self.microsecond = microsecond
    }

    /// `2026-01-31 12:00:00.123+00`; zeros at the fraction's end are left out, as PostgreSQL does.
    var text: String {
        let date = "\(Self.padded(year, 4))-\(Self.padded(month, 2))-\(Self.padded(day, 2))"
        let (hour, minute, second) = (secondOfDay / 3600, secondOfDay / 60 % 60, secondOfDay % 60)
        var fraction = microsecond == 0 ? "" : "." + Self.padded(microsecond, 6)
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return "\(date) \(Self.padded(hour, 2)):\(Self.padded(minute, 2)):\(Self.padded(second, 2))\(fraction)+00"
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    private static func floorDivided(_ number: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = number.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

// What a backend says around a result (PostgreSQL manual, "Message Formats").
extension Backend {
    /// ParseComplete
    public static var parseComplete: [UInt8] { .frame(Tag.parseComplete) }
    /// BindComplete
    public static var bindComplete: [UInt8] { .frame(Tag.bindComplete) }
    /// CloseComplete
    public static var closeComplete: [UInt8] { .frame(Tag.closeComplete) }
    /// NoData
    public static var noData: [UInt8] { .frame(Tag.noData) }
    /// EmptyQueryResponse
    public static var emptyQueryResponse: [UInt8] { .frame(Tag.emptyQueryResponse) }
    /// PortalSuspended
    public static var portalSuspended: [UInt8] { .frame(Tag.portalSuspended) }
    /// ParameterDescription of a statement without parameters
    public static var noParameters: [UInt8] { .frame(Tag.parameterDescription) { $0.appendBigEndian(Int16(0)) } }

    /// AuthenticationCleartextPassword
    public static var cleartextPasswordRequest: [UInt8] {
        .frame(Tag.authentication) { $0.appendBigEndian(UInt32(3)) }
    }

    /// NegotiateProtocolVersion: 3.0 is the newest spoken, and none of these options is known.
    public static func negotiateProtocolVersion(unknownOptions: [[UInt8]]) -> [UInt8] {
        .frame(Tag.negotiateProtocolVersion) { bytes in
            bytes.appendBigEndian(ProtocolVersion.v3_0.word)
            bytes.appendBigEndian(UInt32(unknownOptions.count))
            for option in unknownOptions { bytes += option + [0] }
        }
    }

    /// ParameterStatus
    public static func parameterStatus(_ name: String, _ value: String) -> [UInt8] {
        .frame(Tag.parameterStatus) { bytes in
            bytes.appendCString(name)
            bytes.appendCString(value)
        }
    }

    /// ReadyForQuery
    public static func readyForQuery(_ status: TransactionStatus) -> [UInt8] {
        .frame(Tag.readyForQuery) { $0.append(status.rawValue) }
    }

    /// CommandComplete
    public static func commandComplete(_ tag: String) -> [UInt8] {
        .frame(Tag.commandComplete) { $0.appendCString(tag) }
    }

    /// RowDescription of columns that belong to no table
    public static func rowDescription(_ columns: [Column], _ formats: ResultFormats) -> [UInt8] {
        .frame(Tag.rowDescription) { bytes in
            bytes.appendBigEndian(Int16(columns.count))
            for (index, column) in columns.enumerated() {
                bytes.appendCString(column.name)
                bytes.appendBigEndian(UInt32(0))
                bytes.appendBigEndian(Int16(0))
                bytes.appendBigEndian(column.type.objectID)
                bytes.appendBigEndian(column.type.size)
                bytes.appendBigEndian(Int32(-1))
                bytes.appendBigEndian(formats[index].rawValue)
            }
        }
    }

    /// DataRow
    public static func dataRow(_ values: [ResultValue], _ formats: ResultFormats) -> [UInt8] {
        .frame(Tag.dataRow) { bytes in
            bytes.appendBigEndian(Int16(values.count))
            for (index, value) in values.enumerated() {
                guard let content = value.bytes(formats[index]) else {
                    bytes.appendBigEndian(Int32(-1))
                    continue
                }
                bytes.appendBigEndian(Int32(content.count))
                bytes += content
            }
        }
    }
}

/// The formats that Bind asks the columns of a result in: none means text, one means all, else one for each.
public struct ResultFormats: Sendable, Equatable {
    private let formats: [ValueFormat]

    /// Every column as text, as the simple protocol has it.
    public static let text = ResultFormats([])

    /// What Bind lists.
    public init(_ formats: [ValueFormat]) { self.formats = formats }

    /// Whether a result of so many columns can be written so.
    public func fit(_ columns: Int) -> Bool { formats.count <= 1 || formats.count == columns }

    subscript(column: Int) -> ValueFormat {
        formats.count > 1 ? formats[column] : formats.first ?? .text
    }
}

// What a frontend reads of a result.
extension Backend {
    /// The values in DataRow's body as text, a null as nil: a count of columns, then for each its length, −1 for a null,
    /// and its bytes. Nil where the body is anything else.
    public static func values(parsing body: ArraySlice<UInt8>) -> [String?]? {
        var rest = body
        guard let high = rest.popFirst(), let low = rest.popFirst() else { return nil }
        var row: [String?] = []
        for _ in 0..<(Int(high) << 8 | Int(low)) {
            guard rest.count >= 4 else { return nil }
            let length = Int32(bitPattern: rest.bigEndianWord(at: rest.startIndex))
            rest = rest.dropFirst(4)
            if length == -1 {
                row.append(nil)
                continue
            }
            guard length >= 0, rest.count >= Int(length) else { return nil }
            row.append(String(decoding: rest.prefix(Int(length)), as: UTF8.self))
            rest = rest.dropFirst(Int(length))
        }
        return rest.isEmpty ? row : nil
    }

    /// The names in RowDescription's body; nil where it is anything else.
    public static func columnNames(parsing body: ArraySlice<UInt8>) -> [String]? {
        var rest = body
        guard let high = rest.popFirst(), let low = rest.popFirst() else { return nil }
        var names: [String] = []
        for _ in 0..<(Int(high) << 8 | Int(low)) {
            // Behind the name: table, column, type, its size and modifier, format.
            guard let name = rest.popCString(), rest.count >= 18 else { return nil }
            names.append(String(decoding: name, as: UTF8.self))
            rest = rest.dropFirst(18)
        }
        return rest.isEmpty ? names : nil
    }
}
