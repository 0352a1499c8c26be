import Dispatch
import Glibc
public import Logging
import Synchronization

/// How much is logged.
public enum LogLevel: String, Sendable, CaseIterable {
    /// What failed.
    case error
    /// What may fail.
    case warn
    /// What changed: boots, stops, new tenants.
    case info
    /// Each session too.
    case debug

    var level: Logger.Level {
        switch self {
        case .error: .error
        case .warn: .warning
        case .info: .info
        case .debug: .debug
        }
    }
}

/// How a log line looks.
public enum LogFormat: String, Sendable, CaseIterable {
    /// `2026-01-31T12:00:00.000Z info message key=value`
    case text
    /// One JSON object a line.
    case json
}

extension Logger {
    /// A logger that writes lines to standard error, never blocking its caller.
    ///
    /// - Parameters:
    ///   - level: the least severe level to write.
    ///   - format: for people or for programs.
    public static func lines(level: LogLevel, format: LogFormat) -> Logger {
        let style = LineStyle.ofStandardError
        var logger = Logger(label: "routerd") { _ in LineLogHandler(format: format, style: style) }
        logger.logLevel = level.level
        return logger
    }
}

/// Whether a text line may carry colours.
enum LineStyle {
    case plain
    case coloured

    /// Colours are for people: on a terminal that has them, unless `NO_COLOR` is set (no-color.org).
    static var ofStandardError: LineStyle {
        let isAsked = (variable("NO_COLOR") ?? "").isEmpty && variable("TERM") != "dumb"
        return isAsked && isatty(STDERR_FILENO) == 1 ? .coloured : .plain
    }

    private static func variable(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    fileprivate func faint(_ text: String) -> String { wrapped(text, "2") }

    /// The word that says how grave a line is.
    fileprivate func level(_ name: String) -> String {
        switch name {
        case "error", "critical": wrapped(name, "31")
        case "warn": wrapped(name, "33")
        case "info": wrapped(name, "32")
        case Inspections.source: wrapped(name, "36")
        default: wrapped(name, "2")
        }
    }

    private func wrapped(_ text: String, _ code: String) -> String {
        switch self {
        case .plain: text
        case .coloured: "\u{1b}[\(code)m\(text)\u{1b}[0m"
        }
    }
}

/// One line an event.
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info
    let format: LogFormat
    let style: LineStyle

    init(format: LogFormat, style: LineStyle = .plain) {
        self.format = format
        self.style = style
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { LineWriter.shared.write(line(of: event, at: Timestamp.now)) }

    func line(of event: LogEvent, at time: String) -> String {
        let metadata = metadata.merging(event.metadata ?? [:]) { $1 }
        let pairs = metadata.sorted { $0.key < $1.key }
        let name = event.level == .warning ? "warn" : event.level.rawValue
        switch format {
        case .text where event.source == Inspections.source:
            return inspectionLine(event.message.description, metadata, at: time)
        case .text:
            let tail = pairs.map { " \(style.faint("\($0.key)="))\(Self.plain("\($0.value)"))" }.joined()
            return "\(style.faint(time)) \(style.level(name)) \(Self.oneLine(event.message.description))\(tail)\n"
        case .json:
            let tail = pairs.map { ",\(Self.quoted($0.key)):\(Self.quoted("\($0.value)"))" }.joined()
            let message = Self.quoted(event.message.description)
            return #"{"time":"\#(time)","level":"\#(name)","message":\#(message)\#(tail)}"# + "\n"
        }
    }

    /// A message of a session: who comes first, so that the eye finds the messages below each other.
    private func inspectionLine(_ message: String, _ metadata: Logger.Metadata, at time: String) -> String {
        let who = ["session", "tenant"].compactMap { metadata[$0] }.map { Self.plain("\($0)") }
        let head = [style.faint(time), style.level(Inspections.source)] + who
        return "\(head.joined(separator: " ")) \(Self.oneLine(message))\n"
    }

    /// A value that holds no space needs no quotes.
    private static func plain(_ text: String) -> String {
        let needsQuotes =
            text.isEmpty
            || text.unicodeScalars.contains { $0 == " " || $0 == "\"" || $0 == "=" || isControl($0) }
        return needsQuotes ? quoted(text) : text
    }

    /// A client chooses names: none of them may forge a line.
    private static func oneLine(_ text: String) -> String {
        text.unicodeScalars.contains(where: isControl) ? String(quoted(text).dropFirst().dropLast()) : text
    }

    /// What a terminal or a line-reading program would act on: C0 and C1 controls, and Unicode's own line ends.
    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0...31, 127...159, 0x2028, 0x2029: true
        default: false
        }
    }

    /// A JSON string.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where isControl(scalar):
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

/// Writes to standard error on a thread of its own: a terminal that was stopped, or a full pipe, delays log lines and
/// no session. What does not fit into the bound is counted and the count is written instead.
final class LineWriter: Sendable {
    static let shared = LineWriter()

    /// Lines that may wait to be written.
    private static let waitingLimit = 10_000
    /// Their bytes: lines of an inspection may be long.
    private static let waitingBytesLimit = 16 * 1024 * 1024

    private struct Backlog {
        var waiting = 0
        var waitingBytes = 0
        var dropped = 0
        var droppedInAll = 0
    }

    private let queue = DispatchQueue(label: "routerd.log")
    private let backlog = Mutex(Backlog())

    func write(_ line: String) {
        let isAdmitted = backlog.withLock { backlog in
            guard backlog.waiting < Self.waitingLimit, backlog.waitingBytes < Self.waitingBytesLimit else {
                backlog.dropped += 1
                backlog.droppedInAll += 1
                return false
            }
            backlog.waiting += 1
            backlog.waitingBytes += line.utf8.count
            return true
        }
        guard isAdmitted else { return }
        queue.async { self.put(line) }
    }

    /// Lines that were lost so far.
    var dropped: Int { backlog.withLock(\.droppedInAll) }

    /// Waits until every line so far has been written, but not for ever: somebody who stopped reading must not keep a
    /// program from ending.
    func flush(within patience: DispatchTimeInterval = .seconds(1)) {
        let isWritten = DispatchSemaphore(value: 0)
        queue.async { isWritten.signal() }
        _ = isWritten.wait(timeout: .now() + patience)
    }

    private func put(_ line: String) {
        let dropped = backlog.withLock { backlog in
            defer { backlog.dropped = 0 }
            backlog.waiting -= 1
            backlog.waitingBytes -= line.utf8.count
            return backlog.dropped
        }
        Self.writeAll(line)
        if dropped > 0 {
            Self.writeAll("\(Timestamp.now) warn \(dropped) log lines dropped: standard error is not read\n")
        }
    }

    private static func writeAll(_ line: String) {
        var bytes = Array(line.utf8)[...]
        while !bytes.isEmpty {
            let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if written < 0, errno == EAGAIN {
                // Somebody made the descriptor non-blocking; this thread is the one that may wait.
                var poll = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
                _ = unsafe Glibc.poll(&poll, 1, 1000)
            } else if written <= 0, errno != EINTR {
                return
            }
            bytes = bytes.dropFirst(max(written, 0))
        }
    }
}

/// The time of day in UTC, to the millisecond, as RFC 3339 writes it.
enum Timestamp {
    static var now: String {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        var parts = unsafe tm()
        unsafe gmtime_r(&time.tv_sec, &parts)
        let day = unsafe "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
        let clock = unsafe "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        let milliseconds = String(1000 + time.tv_nsec / 1_000_000).dropFirst()
        return "\(day)T\(clock).\(milliseconds)Z"
    }

    private static func two(_ number: CInt) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
