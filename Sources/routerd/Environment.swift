import ArgumentParser
import Glibc

/// The environment's half of the options table: every flag has a variable of the same name.
enum Environment {
    /// The value for an option: the flag if it was given, else the variable, else the default.
    ///
    /// - Parameters:
    ///   - flag: what the command line gave.
    ///   - name: the variable, `ROUTERD_…`.
    ///   - fallback: the default.
    static func value<Value: ExpressibleByArgument>(_ flag: Value?, _ name: String, default fallback: Value) throws
        -> Value
    {
        try value(flag, name) ?? fallback
    }

    /// The same for an option without a default.
    static func value<Value: ExpressibleByArgument>(_ flag: Value?, _ name: String) throws -> Value? {
        if let flag { return flag }
        guard let text = text(of: name) else { return nil }
        guard let value = Value(argument: text) else {
            throw Failure.usage("the environment variable \(name) has the value \"\(text)\", which is not valid for it")
        }
        return value
    }

    /// A variable that is meant for this process alone: no child is to see it.
    static func take(_ name: String) -> String? {
        defer { unsafe unsetenv(name) }
        return text(of: name)
    }

    /// What a variable holds; an empty one counts as none.
    static func text(of name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        let text = unsafe String(cString: value)
        return text.isEmpty ? nil : text
    }
}

/// A span of time as people write it: `500ms`, `30s`, `5m`, `1h`; a bare number means seconds.
struct Span: ExpressibleByArgument, CustomStringConvertible {
    let duration: Duration

    static func seconds(_ seconds: Int) -> Span { Span(duration: .seconds(seconds)) }

    private init(duration: Duration) { self.duration = duration }

    /// As one writes it.
    var description: String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        return milliseconds % 1000 == 0 ? "\(seconds)s" : "\(milliseconds)ms"
    }

    init?(argument: String) {
        guard let duration = Duration(asWritten: argument) else { return nil }
        self.duration = duration
    }
}

/// A switch as a variable has it.
enum Switch: String, ExpressibleByArgument {
    case on, off

    init?(argument: String) {
        switch argument.lowercased() {
        case "on", "true", "yes", "1": self = .on
        case "off", "false", "no", "0": self = .off
        default: return nil
        }
    }

    var isOn: Bool {
        switch self {
        case .on: true
        case .off: false
        }
    }
}
