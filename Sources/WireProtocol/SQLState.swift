/// Five characters that classify an error (PostgreSQL manual, Appendix A).
public struct SQLState: Hashable, Sendable, CustomStringConvertible {
    // The five bytes, first in the highest place: compared and hashed as one word.
    private let word: UInt64

    /// A state of exactly five digits or capital ASCII letters; nil for anything else.
    public init?(_ code: String) {
        guard let word = Self.pack(code.utf8) else { return nil }
        self.word = word
    }

    /// A state from the bytes of a `C` field; nil unless they are five digits or capital letters.
    init?(bytes: ArraySlice<UInt8>) {
        guard let word = Self.pack(bytes) else { return nil }
        self.word = word
    }

    private init(literal code: StaticString) {
        guard let state = SQLState(code.description) else { preconditionFailure("not an SQLSTATE: \(code)") }
        self = state
    }

    private static func pack(_ bytes: some Collection<UInt8>) -> UInt64? {
        guard bytes.count == 5 else { return nil }
        var word: UInt64 = 0
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"):
                word = word << 8 | UInt64(byte)
            default: return nil
            }
        }
        return word
    }

    /// The five characters.
    public var description: String { String(decoding: bytes, as: UTF8.self) }

    var bytes: [UInt8] { (0..<5).map { UInt8(truncatingIfNeeded: word >> (8 * (4 - $0))) } }
}

extension SQLState {
    /// `08006` connection_failure
    public static let connectionFailure = SQLState(literal: "08006")
    /// `08P01` protocol_violation
    public static let protocolViolation = SQLState(literal: "08P01")
    /// `0A000` feature_not_supported
    public static let featureNotSupported = SQLState(literal: "0A000")
    /// `22023` invalid_parameter_value
    public static let invalidParameterValue = SQLState(literal: "22023")
    /// `28000` invalid_authorization_specification
    public static let invalidAuthorization = SQLState(literal: "28000")
    /// `26000` invalid_sql_statement_name: no prepared statement of that name
    public static let invalidStatementName = SQLState(literal: "26000")
    /// `28P01` invalid_password
    public static let invalidPassword = SQLState(literal: "28P01")
    /// `34000` invalid_cursor_name: no portal of that name
    public static let invalidCursorName = SQLState(literal: "34000")
    /// `3D000` invalid_catalog_name: the database does not exist
    public static let invalidCatalogName = SQLState(literal: "3D000")
    /// `42501` insufficient_privilege
    public static let insufficientPrivilege = SQLState(literal: "42501")
    /// `42601` syntax_error
    public static let syntaxError = SQLState(literal: "42601")
    /// `42704` undefined_object
    public static let undefinedObject = SQLState(literal: "42704")
    /// `42939` reserved_name
    public static let reservedName = SQLState(literal: "42939")
    /// `53100` disk_full
    public static let diskFull = SQLState(literal: "53100")
    /// `53300` too_many_connections
    public static let tooManyConnections = SQLState(literal: "53300")
    /// `54000` program_limit_exceeded
    public static let programLimitExceeded = SQLState(literal: "54000")
    /// `55000` object_not_in_prerequisite_state
    public static let objectNotInPrerequisiteState = SQLState(literal: "55000")
    /// `57014` query_canceled
    public static let queryCanceled = SQLState(literal: "57014")
    /// `57P01` admin_shutdown
    public static let adminShutdown = SQLState(literal: "57P01")
    /// `57P03` cannot_connect_now
    public static let cannotConnectNow = SQLState(literal: "57P03")
    /// `F0000` config_file_error
    public static let configFileError = SQLState(literal: "F0000")
    /// `XX000` internal_error
    public static let internalError = SQLState(literal: "XX000")
}
