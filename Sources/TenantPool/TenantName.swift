/// A database name that may be a tenant: 1 to 63 bytes of UTF-8 (PostgreSQL manual, "Identifiers and Key Words"), not
/// one of the names that stand for something else.
public struct TenantName: Hashable, Sendable, CustomStringConvertible {
    /// The database's name as clients write it.
    public let string: String

    /// The longest name, in bytes (PostgreSQL's `NAMEDATALEN` − 1).
    public static let byteLimit = 63

    /// A tenant of that name.
    public init(_ string: String) throws(TenantNameError) {
        guard !string.isEmpty else { throw .empty }
        guard string.utf8.count <= Self.byteLimit else { throw .tooLong(byteCount: string.utf8.count) }
        guard !string.utf8.contains(0) else { throw .containsZero }
        if string == "template0" { throw .notConnectable(string) }
        if Self.console.contains(string) { throw .reserved(string) }
        self.string = string
    }

    /// A tenant of a name as it came over the wire.
    public init(_ bytes: some Collection<UInt8>) throws(TenantNameError) {
        guard let string = String(validating: bytes, as: UTF8.self) else { throw .notUTF8 }
        try self.init(string)
    }

    /// Whether this is how the name is written, byte by byte, as `==` compares.
    public func isWritten(_ other: String) -> Bool { string.utf8.elementsEqual(other.utf8) }

    /// The name itself.
    public var description: String { string }

    /// The consoles of the router and of the pooler whose clients expect one: names that are no tenant's.
    public static let console: Set<String> = ["routerd", "pgbouncer"]
}

extension TenantName {
    /// Names that PostgreSQL tells apart by their bytes are two tenants, even where Unicode holds them equivalent.
    public static func == (left: Self, right: Self) -> Bool { left.isWritten(right.string) }

    /// Over the bytes, as `==`.
    public func hash(into hasher: inout Hasher) {
        for byte in string.utf8 { hasher.combine(byte) }
    }
}

extension TenantName {
    /// The tenant's directory below the base directory: letters, digits, `_` and `-` stand for themselves, every other
    /// byte is `%` and two capital hexadecimal digits. At most 189 bytes; no two names share one.
    public var directoryName: String {
        var bytes: [UInt8] = []
        for byte in string.utf8 {
            if Self.standsForItself(byte) {
                bytes.append(byte)
            } else {
                bytes += [UInt8(ascii: "%"), Self.digits[Int(byte >> 4)], Self.digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The tenant whose directory has this name; nil where no tenant's has, other spellings of the same included.
    public init?(directoryName: String) {
        var bytes: [UInt8] = []
        var rest = directoryName.utf8[...]
        while let byte = rest.popFirst() {
            if byte != UInt8(ascii: "%") {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(Self.digits.firstIndex(of:)),
                let low = rest.popFirst().flatMap(Self.digits.firstIndex(of:))
            else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        guard let name = try? TenantName(bytes), name.directoryName.utf8.elementsEqual(directoryName.utf8) else {
            return nil
        }
        self = name
    }

    private static let digits = Array("0123456789ABCDEF".utf8)

    private static func standsForItself(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// Why a database name is nobody's tenant. The client causes all of them; nothing is created.
public enum TenantNameError: Error, Sendable, Equatable {
    /// No byte at all.
    case empty
    /// More than 63 bytes, where PostgreSQL would cut and two names would meet.
    case tooLong(byteCount: Int)
    /// A zero byte inside.
    case containsZero
    /// Not UTF-8.
    case notUTF8
    /// PostgreSQL's pristine template, which accepts no connection.
    case notConnectable(String)
    /// A name kept for the router's own console.
    case reserved(String)

    /// The SQLSTATE to answer with.
    public var sqlState: String {
        switch self {
        case .empty, .tooLong, .containsZero, .notUTF8: "22023"
        case .notConnectable: "55000"
        case .reserved: "42939"
        }
    }

    /// The message to answer with, PostgreSQL's own where it has one.
    public var message: String {
        switch self {
        case .empty: "database name is empty"
        case .tooLong(let byteCount): "database name is too long: \(byteCount) bytes, the limit is 63"
        case .containsZero: "database name contains a zero byte"
        case .notUTF8: "database name is not valid UTF-8"
        case .notConnectable(let name): "database \"\(name)\" is not currently accepting connections"
        case .reserved(let name): "database name \"\(name)\" is reserved"
        }
    }
}
