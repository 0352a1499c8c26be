import PostgresEmbed
import Reactor

/// Why a router cannot start. One line that says what happened and what to do about it.
public struct RouterError: Error, Sendable, CustomStringConvertible {
    /// Whose doing it is.
    public enum Kind: Sendable, Equatable {
        /// The configuration contradicts itself; nothing was tried.
        case configuration
        /// The address cannot be listened on.
        case listener
        /// PostgreSQL, the base directory or the kernel is in the way.
        case environment
    }

    /// Whose doing it is.
    public let kind: Kind
    /// One line for people.
    public let description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    init(_ error: EmbedError) {
        let parts = [error.message, error.detail, error.hint].compactMap(\.self)
        self.init(.environment, parts.joined(separator: "; "))
    }

    init(_ error: ReactorError) {
        switch error {
        case .engineUnavailable:
            self.init(.environment, "cannot start: \(error); leave --io (ROUTERD_IO) away to serve with epoll")
        case .system, .full, .unusableAddress:
            self.init(.environment, "cannot start: \(error)")
        }
    }

    /// Whether the caller asked for something impossible.
    public var isUsage: Bool {
        switch kind {
        case .configuration: true
        case .listener, .environment: false
        }
    }
}
