import Foundation
import Logging
import Testing

@testable import TenantRouter

@Suite struct LogLinesTests {
    private static let time = "2026-01-31T12:00:00.000Z"

    /// Names as clients may choose them: line ends of every kind, what a terminal acts on, what a parser of lines would
    /// take for more fields.
    private static let hostile = [
        "a\nb", "a\r\nb", "a\u{0b}b", "a\u{0c}b", "a\u{85}b", "a\u{2028}b", "a\u{2029}b", "a\u{0}b", "a\u{1b}[2Jb",
        "a\u{9b}2Jb", "a\u{7f}b", "a\u{8}b", "a b", "a=b", "a\"b", "a\\b", "\"", "", " ", "x\" pid=1 y=\"z",
        "{\"level\":\"error\"}", "\u{1f600}", "e\u{301}", "\\u000a", "2026-01-31T12:00:00.000Z error forged\n",
    ]

    private static func line(
        _ format: LogFormat, _ message: String, level: Logger.Level = .info, _ metadata: Logger.Metadata? = nil
    ) -> String {
        LineLogHandler(format: format).line(
            of: LogEvent(
                level: level, message: "\(message)", metadata: metadata, source: nil, file: "", function: "", line: 0),
            at: time)
    }

    @Test func textIsReadByPeople() {
        #expect(
            Self.line(.text, "instance is ready", ["tenant": "shop", "boot": "28 ms", "pid": "17"])
                == "2026-01-31T12:00:00.000Z info instance is ready boot=\"28 ms\" pid=17 tenant=shop\n")
        #expect(Self.line(.text, "stopping", level: .warning) == "2026-01-31T12:00:00.000Z warn stopping\n")
    }

    @Test func jsonIsReadByPrograms() {
        #expect(
            Self.line(.json, "instance is ready", ["tenant": "shop"])
                == #"{"time":"2026-01-31T12:00:00.000Z","level":"info","message":"instance is ready","tenant":"shop"}"#
                + "\n")
    }

    @Test(arguments: LogFormat.allCases, hostile) func noNameForgesALine(_ format: LogFormat, _ text: String) {
        for line in [Self.line(format, "created \(text)"), Self.line(format, "created", ["tenant": "\(text)"])] {
            let scalars = line.unicodeScalars
            #expect(scalars.last == "\n")
            #expect(!scalars.dropLast().contains { Self.isControl($0) }, "\(line.debugDescription)")
        }
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }

    /// A value is either bare, without anything that ends it, or a JSON string that says the same.
    @Test(arguments: hostile) func noValueForgesAField(_ text: String) throws {
        let line = Self.line(.text, "m", ["tenant": "\(text)"])
        let value = line.dropFirst("\(Self.time) info m tenant=".count).dropLast()
        guard value.hasPrefix("\"") else {
            #expect(value.unicodeScalars.elementsEqual(text.unicodeScalars))
            #expect(!value.unicodeScalars.contains { $0 == " " || $0 == "=" || $0 == "\"" } && !value.isEmpty)
            return
        }
        let said = try JSONSerialization.jsonObject(with: Data(value.utf8), options: .fragmentsAllowed) as? String
        #expect(try #require(said).unicodeScalars.elementsEqual(text.unicodeScalars))
    }

    @Test(arguments: hostile) func jsonSaysWhatWasSaid(_ text: String) throws {
        let line = Self.line(.json, text, level: .error, ["tenant": "\(text)", "a\"b": "c"])
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String])
        #expect(Set(object.keys) == ["time", "level", "message", "tenant", "a\"b"])
        #expect(object["level"] == "error" && object["time"] == Self.time)
        #expect(try #require(object["message"]).unicodeScalars.elementsEqual(text.unicodeScalars))
        #expect(try #require(object["tenant"]).unicodeScalars.elementsEqual(text.unicodeScalars))
    }

    @Test func theEventsOwnMetadataWins() {
        var handler = LineLogHandler(format: .text)
        handler[metadataKey: "tenant"] = "a"
        handler[metadataKey: "session"] = "1"
        #expect(handler[metadataKey: "tenant"] == "a")
        let event = LogEvent(
            level: .info, message: "m", metadata: ["tenant": "b"], source: nil, file: "", function: "", line: 0)
        #expect(handler.line(of: event, at: "t") == "t info m session=1 tenant=b\n")
    }

    @Test func coloursAreForTerminals() {
        let event = LogEvent(
            level: .warning, message: "m", metadata: ["tenant": "\u{1b}[2J"], source: nil, file: "", function: "",
            line: 0)
        #expect(
            LineLogHandler(format: .text, style: .coloured).line(of: event, at: "t")
                == "\u{1b}[2mt\u{1b}[0m \u{1b}[33mwarn\u{1b}[0m m \u{1b}[2mtenant=\u{1b}[0m\"\\u001b[2J\"\n")
        #expect(
            LineLogHandler(format: .json, style: .coloured).line(of: event, at: "t")
                == LineLogHandler(format: .json).line(of: event, at: "t"), "programs get none")
    }

    @Test func anInspectionReadsFromTheLeft() {
        let event = LogEvent(
            level: .info, message: "→ Sync, 5 bytes",
            metadata: ["session": "7", "tenant": "a b", "user": "u", "address": "::1"], source: Inspections.source,
            file: "", function: "", line: 0)
        #expect(LineLogHandler(format: .text).line(of: event, at: "t") == "t inspect 7 \"a b\" → Sync, 5 bytes\n")
        #expect(
            LineLogHandler(format: .json).line(of: event, at: "t")
                == #"{"time":"t","level":"info","message":"→ Sync, 5 bytes","address":"::1","session":"7","#
                + #""tenant":"a b","user":"u"}"# + "\n")
    }

    @Test func levelsAreTheOptions() {
        #expect(LogLevel.allCases.map(\.rawValue) == ["error", "warn", "info", "debug"])
        #expect(LogLevel.allCases.map(\.level) == [.error, .warning, .info, .debug])
        for level in LogLevel.allCases { #expect(Logger.lines(level: level, format: .text).logLevel == level.level) }
    }

    @Test func timestampsAreRFC3339() throws {
        let now = Timestamp.now
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        let date = try #require(formatter.date(from: now), "\(now)")
        #expect(abs(date.timeIntervalSinceNow) < 60)
        #expect(now.utf8.count == 24 && now.hasSuffix("Z"))
    }
}
