import WireProtocol

/// Why an ``InstancePool`` or one of its instances did not do what was asked of it.
public enum InstanceError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The router, or the instance's PostgreSQL, says no.
    case refused(PostgresError)
    /// The task was cancelled before there was an answer. A statement that ran already is given up by its backend within
    /// seconds, and rolled back.
    case cancelled
    /// The pool is closed, or about to be.
    case closed

    /// One line for people.
    public var description: String {
        switch self {
        case .refused(let error): "\(error)"
        case .cancelled: "cancelled"
        case .closed: "the pool is closed"
        }
    }

    init(_ message: ErrorMessage) { self = .refused(PostgresError(message)) }
}

/// An error in PostgreSQL's terms, whether PostgreSQL says it or the router in its place. Source: PostgreSQL manual,
/// appendix A and "Error and Notice Message Fields".
public struct PostgresError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Five characters that programs compare, such as `42P01` for a table that does not exist.
    public let sqlState: String
    /// One line that says what is wrong.
    public let message: String
    /// Which limit, which cause.
    public let detail: String?
    /// What to do about it.
    public let hint: String?

    /// One line for people.
    public var description: String {
        [message, detail, hint].compactMap(\.self).joined(separator: "; ") + " (\(sqlState))"
    }

    init(_ message: ErrorMessage) {
        sqlState = message.sqlState.description
        self.message = message.message
        detail = message.detail
        hint = message.hint
    }
}
