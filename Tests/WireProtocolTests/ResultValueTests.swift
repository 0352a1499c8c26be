import TestSupport
import Testing

@testable import WireProtocol

/// Values, rows and their descriptions as PostgreSQL writes them.
@Suite struct ResultValueTests {
    @Test(
        arguments: [
            (ResultValue.null, nil), (.text("ä"), "ä"), (.text(""), ""), (.int8(-42), "-42"),
            (.int8(.min), "\(Int64.min)"),
            (.float8(0.5), "0.5"), (.bool(true), "t"), (.bool(false), "f"),
        ] as [(ResultValue, String?)])
    func asText(_ value: ResultValue, _ text: String?) {
        #expect(value.bytes(.text) == text.map { Array($0.utf8) })
    }

    @Test(
        arguments: [
            (ResultValue.null, nil), (.text("ä"), [0xc3, 0xa4]), (.int8(-2), [255, 255, 255, 255, 255, 255, 255, 254]),
            (.float8(1), [0x3f, 0xf0, 0, 0, 0, 0, 0, 0]), (.bool(true), [1]), (.bool(false), [0]),
            // 2000-01-01 is PostgreSQL's zero.
            (.timestamptz(946_684_800_000_001), [0, 0, 0, 0, 0, 0, 0, 1]),
        ] as [(ResultValue, [UInt8]?)])
    func asBinary(_ value: ResultValue, _ bytes: [UInt8]?) { #expect(value.bytes(.binary) == bytes) }

    /// What `SELECT to_timestamp(…)` answers with TimeZone UTC.
    @Test(
        arguments: [
            (0, "1970-01-01 00:00:00+00"), (-1, "1969-12-31 23:59:59.999999+00"),
            (951_782_400_000_000, "2000-02-29 00:00:00+00"), (951_868_800_000_000, "2000-03-01 00:00:00+00"),
            (1_795_444_938_148_500, "2026-11-23 14:42:18.1485+00"), (4_107_542_399_000_000, "2100-02-28 23:59:59+00"),
            (4_107_542_400_000_000, "2100-03-01 00:00:00+00"),
        ] as [(Int64, String)])
    func instants(_ microseconds: Int64, _ text: String) {
        #expect(ResultValue.timestamptz(microseconds).bytes(.text) == Array(text.utf8))
    }

    @Test func whatIsWrittenIsRead() throws {
        let columns = ColumnType.allCases.map { Column("\($0)", $0) }
        let description = Backend.rowDescription(columns, .text)
        #expect(Backend.columnNames(parsing: description[5...]) == columns.map(\.name))
        let row = Backend.dataRow([.text("a"), .null, .bool(true), .text("")], .text)
        #expect(Backend.values(parsing: row[5...]) == ["a", nil, "t", ""])
    }

    @Test func formatsAreForAllColumnsOrForEach() {
        #expect(ResultFormats([]).fit(3) && ResultFormats([.binary]).fit(3) && ResultFormats([.text, .binary]).fit(2))
        #expect(!ResultFormats([.text, .binary]).fit(3))
        let row = Backend.dataRow([.int8(1), .int8(1)], ResultFormats([.text, .binary]))
        #expect(Array(row[5...]) == [0, 2, 0, 0, 0, 1, 0x31, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1])
    }

    @Test func noByteStringOfChanceIsTakenForMore() {
        var chance = Chance()
        let row = Backend.dataRow([.text("abc"), .null, .int8(7)], .text)
        let description = Backend.rowDescription([Column("a", .text), Column("b", .int8)], .text)
        for _ in 0..<2000 {
            _ = Backend.values(parsing: chance.mutation(of: row).dropFirst(5))
            _ = Backend.columnNames(parsing: chance.mutation(of: description).dropFirst(5))
        }
    }
}

/// What a frontend says, read from its frames.
@Suite struct FrontendMessageTests {
    static let samples: [([UInt8], FrontendMessage)] = [
        (Frontend.query("SHOW HELP"), .query("SHOW HELP")),
        (Frontend.password("secret"), .password("secret")),
        (
            frame("P", Array("s\0SHOW HELP\0".utf8) + [0, 1, 0, 0, 0, 25]),
            .parse(.init(statement: "s", query: "SHOW HELP", parameterTypes: 1))
        ),
        (
            frame("B", Array("p\0s\0".utf8) + [0, 0, 0, 0, 0, 0]),
            .bind(.init(portal: "p", statement: "s", parameters: 0, formats: .text))
        ),
        (
            frame("B", Array("\0\0".utf8) + [0, 1, 0, 1, 0, 2, 0, 0, 0, 1, 7, 255, 255, 255, 255, 0, 2, 0, 0, 0, 1]),
            .bind(.init(portal: "", statement: "", parameters: 2, formats: ResultFormats([.text, .binary])))
        ),
        (frame("D", Array("Sname\0".utf8)), .describe(.statement("name"))),
        (frame("C", Array("P\0".utf8)), .close(.portal(""))),
        (frame("E", Array("p\0".utf8) + [0, 0, 0, 9]), .execute(portal: "p", maxRows: 9)),
        (frame("H"), .flush), (frame("S"), .sync), (Frontend.terminate, .terminate),
        (frame("F", [1, 2]), .other(tag: UInt8(ascii: "F"))),
    ]

    @Test func eachIsRead() throws {
        for (bytes, message) in Self.samples { #expect(FrontendMessage(Frame(bytes: bytes)) == message) }
    }

    /// A body that is cut short, or goes on, is no message; and nothing traps.
    @Test func aBodyIsWholeOrNone() {
        for (bytes, _) in Self.samples where "QpPBDCE".utf8.contains(bytes[0]) {
            for length in 5..<bytes.count { #expect(FrontendMessage(Frame(bytes: Array(bytes[..<length]))) == nil) }
            #expect(FrontendMessage(Frame(bytes: bytes + [0])) == nil)
        }
        var chance = Chance()
        for _ in 0..<1000 {
            guard let (bytes, _) = Self.samples.randomElement(using: &chance) else { continue }
            let mutated = chance.mutation(of: bytes)
            if mutated.count >= 5 { _ = FrontendMessage(Frame(bytes: mutated)) }
        }
    }
}
