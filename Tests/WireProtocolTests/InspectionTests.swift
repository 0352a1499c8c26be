import TestSupport
import Testing

@testable import WireProtocol

@Suite struct InspectionTests {
    /// One side's messages, as somebody reads them along.
    private static func lines(
        _ chunks: [[UInt8]], from direction: FrameDirection, _ values: SessionInspection.Values = .hidden
    ) -> [String] {
        var inspection = SessionInspection(values: values)
        return chunks.flatMap { chunk in
            unsafe inspection.received(chunk.span.bytes, from: direction).map(\.line)
        }
    }

    private static func line(_ frame: [UInt8], from direction: FrameDirection, _ values: SessionInspection.Values)
        -> String
    {
        lines([frame], from: direction, values).joined(separator: "\n")
    }

    private static func query(_ text: String) -> [UInt8] { frame("Q", Array("\(text)\0".utf8)) }

    private static func parse(_ text: String, as name: String = "") -> [UInt8] {
        frame("P", Array("\(name)\0\(text)\0".utf8) + [0, 0])
    }

    /// With one parameter in text format.
    private static func bind(_ value: String, to name: String = "") -> [UInt8] {
        frame(
            "B",
            Array("\0\(name)\0".utf8) + [0, 0, 0, 1] + bigEndian(UInt32(value.utf8.count)) + Array(value.utf8) + [0, 0])
    }

    private static func error(_ message: String) -> [UInt8] {
        frame("E", Array("SERROR\0VERROR\0C42601\0M\(message)\0Da detail\0\0".utf8))
    }

    private static let sync = frame("S")
    private static let ready = frame("Z", [0x49])

    // MARK: - A psql session

    @Test func whatPsqlSaysIsRead() throws {
        // Behind SSLRequest and startup packet.
        let frames = Array(Transcript.psqlFrontend[71...])
        let expected = """
            Query, 48 bytes: create table t(a int primary key, b text);
            Query, 73 bytes: insert into t select g, repeat('x',g) from generate_series(1,12) g;
            Query, 23 bytes: copy t to stdout;
            Query, 24 bytes: copy t from stdin;
            CopyData, 26 bytes
            CopyDone, 5 bytes
            Query, 41 bytes: select * from t order by a limit 3;
            Query, 17 bytes: select 1/0;
            Query, 13 bytes: select;
            Query, 7 bytes: ;
            Query, 15 bytes: listen n;
            Query, 25 bytes: notify n,'payload';
            Query, 50 bytes: do $$ begin raise notice 'a notice'; end $$;
            Query, 38 bytes: set application_name to 'other';
            Query, 12 bytes: begin;
            Query, 22 bytes: select nonsense;
            Query, 15 bytes: rollback;
            Query, 19 bytes: drop table t;
            Terminate, 5 bytes
            """
        #expect(Self.lines([frames], from: .frontend).joined(separator: "\n") == expected)
        for chunks in [eachByte(frames)] + (0..<20).map({ _ in Self.cut(frames) }) {
            #expect(Self.lines(chunks, from: .frontend).joined(separator: "\n") == expected, "however it is cut")
        }
    }

    @Test func whatPostgreSQLSaysIsRead() {
        let frames = Array(Transcript.psqlBackend[1...])
        let expected = """
            AuthenticationOk, 9 bytes
            ParameterStatus, 27 bytes: application_name = psql
            ParameterStatus, 26 bytes: client_encoding = UTF8
            ParameterStatus, 24 bytes: DateStyle = ISO, MDY
            ParameterStatus, 39 bytes: default_transaction_read_only = off
            ParameterStatus, 24 bytes: in_hot_standby = off
            ParameterStatus, 26 bytes: integer_datetimes = on
            ParameterStatus, 28 bytes: IntervalStyle = postgres
            ParameterStatus, 21 bytes: is_superuser = on
            ParameterStatus, 26 bytes: server_encoding = UTF8
            ParameterStatus, 51 bytes: server_version = 15.18 (Debian 15.18-0+deb12u1)
            ParameterStatus, 36 bytes: session_authorization = postgres
            ParameterStatus, 36 bytes: standard_conforming_strings = on
            ParameterStatus, 22 bytes: TimeZone = Etc/UTC
            BackendKeyData, 13 bytes: process 12343
            ReadyForQuery, 6 bytes: idle
            CommandComplete, 18 bytes: CREATE TABLE
            ReadyForQuery, 6 bytes: idle
            CommandComplete, 17 bytes: INSERT 0 12
            ReadyForQuery, 6 bytes: idle
            CopyOutResponse, 12 bytes: text, 2 columns
            """
        let read = Self.lines([frames], from: .backend)
        #expect(read.prefix(21).joined(separator: "\n") == expected)
        let rest = """
            CopyData, 21 bytes
            CopyDone, 5 bytes
            CommandComplete, 13 bytes: COPY 12
            ReadyForQuery, 6 bytes: idle
            CopyInResponse, 12 bytes: text, 2 columns
            CommandComplete, 12 bytes: COPY 2
            ReadyForQuery, 6 bytes: idle
            RowDescription, 47 bytes: 2 columns (a, b)
            DataRow, 17 bytes: 2 values (1, 1)
            DataRow, 18 bytes: 2 values (1, 2)
            DataRow, 19 bytes: 2 values (1, 3)
            CommandComplete, 14 bytes: SELECT 3
            ReadyForQuery, 6 bytes: idle
            ErrorResponse, 66 bytes: ERROR 22012 division by zero
            ReadyForQuery, 6 bytes: idle
            RowDescription, 7 bytes: 0 columns
            DataRow, 7 bytes: 0 values
            CommandComplete, 14 bytes: SELECT 1
            ReadyForQuery, 6 bytes: idle
            EmptyQueryResponse, 5 bytes
            ReadyForQuery, 6 bytes: idle
            CommandComplete, 12 bytes: LISTEN
            ReadyForQuery, 6 bytes: idle
            CommandComplete, 12 bytes: NOTIFY
            NotificationResponse, 19 bytes: channel "n" from process 12343, payload of 7 bytes
            ReadyForQuery, 6 bytes: idle
            NoticeResponse, 126 bytes: NOTICE 00000 a notice
            CommandComplete, 8 bytes: DO
            ReadyForQuery, 6 bytes: idle
            CommandComplete, 9 bytes: SET
            ParameterStatus, 28 bytes: application_name = other
            ReadyForQuery, 6 bytes: idle
            CommandComplete, 11 bytes: BEGIN
            ReadyForQuery, 6 bytes: in transaction
            ErrorResponse, 108 bytes: ERROR 42703 column "nonsense" does not exist
            ReadyForQuery, 6 bytes: in failed transaction
            CommandComplete, 14 bytes: ROLLBACK
            ReadyForQuery, 6 bytes: idle
            CommandComplete, 16 bytes: DROP TABLE
            ReadyForQuery, 6 bytes: idle
            """
        #expect(read.dropFirst(32).joined(separator: "\n") == rest)
        #expect(read[21..<32].allSatisfy { $0.hasPrefix("CopyData, ") })
        for chunks in [eachByte(frames)] + (0..<20).map({ _ in Self.cut(frames) }) {
            #expect(Self.lines(chunks, from: .backend) == read, "however it is cut")
        }
    }

    /// Cut at places of chance.
    private static func cut(_ bytes: [UInt8]) -> [[UInt8]] {
        var chance = Chance()
        var rest = bytes[...]
        var chunks: [[UInt8]] = []
        while !rest.isEmpty {
            let chunk = rest.prefix(Int.random(in: 1...100, using: &chance))
            chunks.append(Array(chunk))
            rest = rest.dropFirst(chunk.count)
        }
        return chunks
    }

    @Test func theExtendedProtocolIsRead() {
        let frames =
            Self.parse("SELECT $1::int", as: "s1") + frame("D", Array("Ss1\0".utf8)) + Self.bind("42", to: "s1")
            + frame("D", Array("P\0".utf8)) + frame("E", [0] + bigEndian(10)) + frame("C", Array("Ss1\0".utf8))
            + frame("H") + Self.sync
        #expect(
            Self.lines([frames], from: .frontend) == [
                "Parse, 25 bytes: statement \"s1\", SELECT $1::int", "Describe, 9 bytes: statement \"s1\"",
                "Bind, 21 bytes: unnamed portal, statement \"s1\", 1 parameter (2)",
                "Describe, 7 bytes: unnamed portal",
                "Execute, 10 bytes: unnamed portal, at most 10 rows", "Close, 9 bytes: statement \"s1\"",
                "Flush, 5 bytes", "Sync, 5 bytes",
            ])
    }

    @Test func theStartupPacketIsRead() throws {
        var reader = StartupReader()
        unsafe reader.append(
            Frontend.startupMessage(
                user: "u", database: "d", parameters: [("options", "-c a=b"), ("x.password", "se\ncret")]
            ).span.bytes)
        guard case .packet(.startup(let packet)) = reader.next() else { throw Unexpected() }
        #expect(
            MessageDescription(packet).line
                == "StartupMessage, 61 bytes: protocol 3.0, user=u, database=d, options=-c a=b, x.password=***")
    }

    private struct Unexpected: Error {}

    // MARK: - Values

    @Test func valuesAreShownToWhoeverAsksForThem() {
        let row = frame("D", [0, 3] + bigEndian(1) + Array("7".utf8) + [255, 255, 255, 255] + bigEndian(2) + [0, 1])
        #expect(Self.line(row, from: .backend, .hidden) == "DataRow, 22 bytes: 3 values (1, null, 2)")
        #expect(Self.line(row, from: .backend, .shown) == "DataRow, 22 bytes: 3 values ('7', null, '\\x0001')")
        #expect(
            Self.line(Self.bind("it's\n"), from: .frontend, .shown)
                == "Bind, 22 bytes: unnamed portal, unnamed statement, 1 parameter ('it's\\n')")
        #expect(Self.line(frame("d", Array("1\tx\n".utf8)), from: .frontend, .shown) == "CopyData, 9 bytes: '1\\tx\\n'")
    }

    /// What a line takes is bounded, whatever a message holds.
    @Test func longMessagesAreCut() throws {
        let long = String(repeating: "x", count: 1 << 20)
        let line = try #require(Self.lines([Self.query(long)], from: .frontend).first)
        #expect(line.hasPrefix("Query, 1048582 bytes: xxx") && line.hasSuffix("x…"))
        #expect(line.utf8.count < InspectedText.statementLimit + 100)
        let names = (0..<30).map { _ in "c" }
        let columns = frame(
            "T", [0, 30] + names.flatMap { Array("\($0)\0".utf8) + [UInt8](repeating: 0, count: 18) })
        let shown = Self.line(columns, from: .backend, .hidden)
        #expect(shown == "RowDescription, 607 bytes: 30 columns (\(names.prefix(20).joined(separator: ", ")), …)")
        let row = frame(
            "D", [0, 2] + bigEndian(100_000) + [UInt8](repeating: 0x61, count: 100_000) + bigEndian(1) + [0x62])
        #expect(Self.line(row, from: .backend, .hidden) == "DataRow, 100016 bytes: 2 values (100000, …)")
        for control in ["\u{1b}[2J", "\u{9b}", "\u{202e}", "\r\n", "\u{0}"] {
            let line = Self.lines([frame("Q", Array("\(control)\0".utf8))], from: .frontend)[0]
            #expect(line.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.properties.generalCategory != .control })
        }
    }

    @Test func whatIsNoMessageIsMalformed() {
        for tag in "BCDEFPQ" as String {
            let line = Self.lines([frame(tag.unicodeScalars.first!, [1])], from: .frontend)[0]
            #expect(line.hasSuffix("malformed"), "\(line)")
        }
        #expect(Self.lines([frame("?", [1])], from: .backend) == ["message '?', 6 bytes"])
        #expect(Self.lines([frame("D", [0, 9, 0])], from: .backend) == ["DataRow, 8 bytes: 9 values, malformed"])
    }

    @Test func nothingThatPassesDoesHarm() {
        var chance = Chance()
        print("inspection: seed \(chance.seed)")
        let frontend = Array(Transcript.psqlFrontend[71...] + Transcript.pgbenchFrontend[74...])
        let backend = Array(Transcript.psqlBackend[1...] + Transcript.pgbenchBackend[1...])
        for _ in 0..<300 {
            _ = Self.lines([chance.mutation(of: frontend)], from: .frontend, .shown)
            _ = Self.lines([chance.mutation(of: backend)], from: .backend, .shown)
        }
    }

    // MARK: - Begun in the middle

    /// Switched on while a row passes: it is left out, and the next message is the first.
    @Test func itBeginsWithTheNextMessage() {
        let frames = Self.query("SELECT 1") + Self.query("SELECT 2")
        let first = Self.query("SELECT 1").count
        for count in 0...frames.count {
            var decoder = FrameDecoder(.frontend)
            var offset = 0
            let head = Array(frames[..<count])
            while case .frame = unsafe decoder.next(in: head.span.bytes, at: &offset) {}
            var inspection = SessionInspection(frontend: decoder, values: .hidden)
            let tail = Array(frames[count...])
            let lines = unsafe inspection.received(tail.span.bytes, from: .frontend).map(\.details)
            // A header that straddles is seen whole; a body that has begun is not.
            let expected = count < 5 ? ["SELECT 1", "SELECT 2"] : count < first + 5 ? ["SELECT 2"] : []
            #expect(lines == expected, "after \(count) bytes")
        }
    }

    // MARK: - Passwords

    @Test(arguments: [
        ("ALTER ROLE alice PASSWORD 'secret'", "ALTER ROLE alice PASSWORD ***"),
        ("create user bob encrypted password E'secret' valid until 'x'", "create user bob encrypted password E***"),
        ("ALTER USER alice PaSsWoRd $$secret$$", "ALTER USER alice PaSsWoRd ***"),
        ("ALTER USER alice PASSWORD $q$secret$q$", "ALTER USER alice PASSWORD ***"),
        ("-- don't\nALTER USER alice PASSWORD 'secret'", "-- don***"),
        (
            "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'u', password 'secret')",
            "CREATE USER MAPPING FOR u SERVER s OPTIONS (user ***"
        ),
        (
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password=secret' PUBLICATION p",
            "CREATE SUBSCRIPTION s CONNECTION ***"
        ),
        (
            "INSERT INTO users (name, password_hash) VALUES ('u', 'secret')",
            "INSERT INTO users (name, password_hash) VALUES (***"
        ),
        ("ALTER ROLE alice PASSWORD 'secret", "ALTER ROLE alice PASSWORD ***"),
        ("UPDATE users SET password = $1", "UPDATE users SET password = $1"),
        ("SELECT 'harmless'", "SELECT 'harmless'"),
    ])
    func passwordsInSQLAreNotShown(_ text: String, _ shown: String) {
        for frame in [Self.query(text), Self.parse(text)] {
            for values in [SessionInspection.Values.hidden, .shown] {
                let line = Self.line(frame, from: .frontend, values)
                #expect(line.hasSuffix(shown) && !line.contains("secret"), "\(line)")
            }
        }
    }

    @Test func aPasswordMessageIsNotShown() {
        let message = frame("p", Array("secret\0".utf8))
        #expect(Self.line(message, from: .frontend, .shown) == "PasswordMessage, 12 bytes")
        let key = frame("K", bigEndian(4711) + Array("secr".utf8))
        #expect(Self.line(key, from: .backend, .shown) == "BackendKeyData, 13 bytes: process 4711")
    }

    /// What is sent to a statement that speaks of passwords, and what comes of it until it is answered.
    @Test func parametersAndErrorsOfSuchStatementsAreNotShown() {
        var inspection = SessionInspection(values: .shown)
        func hear(_ bytes: [UInt8], from direction: FrameDirection) -> String {
            unsafe inspection.received(bytes.span.bytes, from: direction).map(\.details).joined(separator: "|")
        }
        let prepared = Self.parse("UPDATE users SET password = $1", as: "s") + Self.sync
        #expect(hear(prepared, from: .frontend) == "statement \"s\", UPDATE users SET password = $1|")
        #expect(hear(Self.ready, from: .backend) == "idle")
        #expect(hear(Self.bind("open", to: "t"), from: .frontend).hasSuffix("('open')"))
        #expect(hear(Self.bind("secret", to: "s") + Self.sync, from: .frontend).hasSuffix("(6)|"))
        let row = frame("D", [0, 1] + bigEndian(6) + Array("secret".utf8))
        #expect(hear(row, from: .backend) == "1 value (6)")
        #expect(
            hear(Self.error("syntax error at or near \"secret\""), from: .backend)
                == "ERROR 42601 syntax error at or near ***")
        #expect(hear(Self.ready, from: .backend) == "idle")
        #expect(hear(Self.query("SELECT 1"), from: .frontend) == "SELECT 1")
        #expect(hear(row, from: .backend) == "1 value ('secret')", "an answer to something else")
        #expect(hear(Self.error("near \"x\""), from: .backend) == "ERROR 42601 near \"x\"")
    }

    /// The word may stand where nobody looks.
    @Test func aStatementThatIsNotLookedAtToItsEndHasSecrets() {
        var inspection = SessionInspection(values: .shown)
        let sent = Self.query(
            "SELECT 1 /*" + String(repeating: "x", count: 9_000) + "*/; ALTER ROLE a PASSWORD 'secret' x")
        let lines = unsafe inspection.received(sent.span.bytes, from: .frontend).map(\.details)
        #expect(lines.count == 1 && !lines[0].contains("secret"))
        let answer = Self.error("near \"secret\"") + Self.ready
        let said = unsafe inspection.received(answer.span.bytes, from: .backend).map(\.details)
        #expect(said == ["ERROR 42601 near ***", "idle"])
    }

    /// Two statements under way at once: the second one's answer is not the first one's.
    @Test func pipelinedStatementsKeepTheirSecrets() {
        var inspection = SessionInspection(values: .shown)
        let sent = Self.query("SELECT 1") + Self.query("ALTER ROLE a PASSWORD 'secret' x") + Self.query("SELECT 2")
        _ = unsafe inspection.received(sent.span.bytes, from: .frontend)
        let answers = Self.ready + Self.error("near \"secret\"") + Self.ready + Self.error("near \"x\"") + Self.ready
        let said = unsafe inspection.received(answers.span.bytes, from: .backend).map(\.details)
        #expect(said == ["idle", "ERROR 42601 near ***", "idle", "ERROR 42601 near \"x\"", "idle"])
    }
}
