import ArgumentParser
import Glibc

/// The environment's half of the options table: every flag has a variable of the same name.
enum Environment {
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
