import TenantPool
import TestSupport
import Testing
import WireProtocol

@testable import TenantRouter

/// The console's protocol, without a router: bytes in, commands and replies out.
@Suite struct ConsoleSessionTests {
    /// What happened, in short: the replies' tags, and commands in brackets.
    private struct Talk {
        var console: ConsoleSession
        var said = ""
        var bytes: [UInt8] = []
        var commands: [ConsoleCommand] = []
        var hasEnded = false
        var answer: (ConsoleCommand) -> Result<ConsoleSession.Answer, ErrorMessage> = Talk.answer

        init(_ access: ConsoleAccess = .everything, token: String? = nil) {
            console = ConsoleSession(access, token: token, greeting: [])
            advance()
        }

        static func answer(_ command: ConsoleCommand) -> Result<ConsoleSession.Answer, ErrorMessage> {
            switch command {
            case .show(.version): .success(.rows([[.text("1")]]))
            case .show: .success(.rows([]))
            case .drop, .hibernate, .wake, .inspect, .killClient, .pause, .resume, .kill, .disable, .enable, .reconnect,
                .waitClose, .reload, .set, .shutdown, .formality:
                .success(.done)
            }
        }

        mutating func hear(_ bytes: [UInt8]) -> String {
            said = ""
            console.received(bytes)
            advance()
            return said
        }

        mutating func advance() {
            while !hasEnded {
                switch console.next() {
                case .wait: return
                case .send(let reply):
                    note(reply)
                    #expect(console.isBusy)
                    console.sent()
                case .perform(let command):
                    commands.append(command)
                    #expect(console.isBusy)
                    console.answered(answer(command))
                case .end(let reply):
                    note(reply)
                    hasEnded = true
                }
            }
        }

        private mutating func note(_ reply: [UInt8]) {
            bytes += reply
            var frames = FrameAssembler(.backend, limit: 1 << 20)
            frames.append(reply)
            while case .frame(let frame) = frames.next() {
                said += String(Unicode.Scalar(frame.tag))
                if frame.tag == Backend.Tag.errorResponse {
                    said += "(\(ErrorMessage(parsing: frame.body)?.sqlState.description ?? "?"))"
                }
            }
            #expect(frames.leftover.isEmpty, "a reply is whole messages")
        }
    }

    private static func parse(_ query: String, as name: String = "", types: UInt8 = 0) -> [UInt8] {
        frame(
            "P", Array("\(name)\0\(query)\0".utf8) + [0, types] + [UInt8](repeating: 0, count: 4 * Int(types)))
    }

    private static func bind(_ portal: String = "", to statement: String = "", formats: [UInt8] = []) -> [UInt8] {
        frame(
            "B",
            Array("\(portal)\0\(statement)\0".utf8) + [0, 0, 0, 0, 0, UInt8(formats.count)]
                + formats.flatMap { [0, $0] })
    }

    private static func execute(_ portal: String = "", rows: UInt8 = 0) -> [UInt8] {
        frame("E", Array("\(portal)\0".utf8) + [0, 0, 0, rows])
    }

    private static let describeStatement = frame("D", Array("S\0".utf8))
    private static let describePortal = frame("D", Array("P\0".utf8))
    private static let sync = frame("S")

    @Test(arguments: [
        ("SHOW VERSION", "TDCZ"), ("show version;", "TDCZ"), ("SHOW VERSION; SHOW QUEUE", "TDCTCZ"), ("", "IZ"),
        (" ; -- nothing", "IZ"), ("DROP a", "CZ"), ("SHUTDOWN", "CZ"), ("BEGIN", "CZ"),
        ("SET client_encoding TO 'UTF8'", "CZ"), ("NONSENSE", "E(42601)Z"), ("SHOW", "E(42601)Z"),
        ("SHOW NONSENSE", "E(42601)Z"), ("SHOW VERSION; NONSENSE", "E(42601)Z"), ("SUSPEND", "E(0A000)Z"),
        ("SHOW FDS", "E(0A000)Z"), ("SELECT 1", "E(0A000)Z"), ("SHOW STATS", "TCZ"), ("PAUSE", "CZ"),
        ("PAUSE a", "CZ"), ("RESUME a b", "E(42601)Z"), ("KILL", "E(42601)Z"), ("KILL a", "CZ"), ("DISABLE a", "CZ"),
        ("ENABLE", "E(42601)Z"), ("RECONNECT", "CZ"), ("WAIT_CLOSE a", "CZ"), ("RELOAD", "CZ"),
        ("RELOAD a", "E(42601)Z"),
        ("SET max_clients = 5", "CZ"), ("SET max_clients", "E(42601)Z"), ("SET max_clients 5", "E(42601)Z"),
        ("SET = 5", "E(42601)Z"),
        ("DROP", "E(42601)Z"), ("DROP a b", "E(42601)Z"), ("DROP template0", "E(55000)Z"),
        ("DROP routerd", "E(42939)Z"), ("KILL_CLIENT x", "E(42601)Z"), ("DROP \"a", "E(42601)Z"),
        ("INSPECT a ON", "CZ"), ("inspect a off", "CZ"), ("INSPECT a", "E(42601)Z"), ("INSPECT ON", "E(42601)Z"),
        ("INSPECT a b ON", "E(42601)Z"), ("INSPECT a \"ON\"", "E(42601)Z"), ("INSPECT", "E(42601)Z"),
        ("/* no end", "E(42601)Z"), ("SHUTDOWN NOW", "E(42601)Z"), ("\"SHOW\" VERSION", "E(42601)Z"),
    ])
    func aQuery(_ text: String, _ reply: String) {
        var talk = Talk()
        #expect(talk.hear(Frontend.query(text)) == reply)
        #expect(talk.hear(Frontend.query("SHOW VERSION")) == "TDCZ", "the session goes on")
    }

    @Test(arguments: [
        ("DROP alice", "alice"), ("drop Alice", "Alice"), ("DROP \"a \"\"b\"\"\"", "a \"b\""),
        ("DROP DATABASE 'it''s'", "it's"), ("DROP database", "database"), ("DROP my-db.v2", "my-db.v2"),
        ("DROP данные", "данные"), ("DROP/* really */TENANT \"drop\" ;", "drop"), ("DROP 42", "42"),
    ])
    func aNameIsTakenAsItIsWritten(_ text: String, _ name: String) throws {
        #expect(try ConsoleCommand.parse(text) == [.drop(try TenantName(name))])
    }

    @Test func anOptionIsSet() throws {
        let parsed = try ConsoleCommand.parse(
            "SET max_clients = 5; SET queue_timeout TO '5s'; SET SESSION idle_timeout=0")
        #expect(
            parsed == [
                .set("max_clients", to: "5"), .set("queue_timeout", to: "5s"), .set("idle_timeout", to: "0"),
            ])
    }

    @Test func anInspectionIsSwitched() throws {
        let parsed = try ConsoleCommand.parse("INSPECT database a ON; INSPECT \"on\" OFF; INSPECT tenant on")
        #expect(
            parsed == [
                .inspect(try TenantName("a"), isOn: true), .inspect(try TenantName("on"), isOn: false),
                .inspect(try TenantName("tenant"), isOn: true),
            ])
    }

    @Test func theExtendedProtocol() {
        var talk = Talk()
        #expect(talk.hear(Self.parse("SHOW VERSION") + Self.describeStatement + Self.sync) == "1tTZ")
        #expect(talk.hear(Self.bind() + Self.describePortal + Self.execute() + Self.sync) == "2TDCZ")
        #expect(talk.hear(Self.execute() + Self.sync) == "E(34000)Z", "a portal ends with its transaction")
        #expect(talk.hear(Self.parse("SHUTDOWN") + Self.describeStatement + Self.sync) == "1tnZ")
        #expect(talk.hear(Self.bind() + Self.execute() + Self.sync) == "2CZ")
        #expect(talk.hear(Self.parse("") + Self.bind() + Self.execute() + Self.sync) == "12IZ")
        #expect(talk.hear(frame("C", Array("S\0".utf8)) + Self.bind() + Self.sync) == "3E(26000)Z")
    }

    @Test func anErrorIsFollowedByNothingBeforeSync() {
        var talk = Talk()
        #expect(talk.hear(Self.parse("NONSENSE") + Self.bind() + Self.execute()) == "E(42601)")
        #expect(talk.hear(Frontend.query("SHOW VERSION")) == "")
        #expect(talk.hear(Self.sync) == "Z")
        #expect(talk.hear(Frontend.query("SHOW VERSION")) == "TDCZ")
        #expect(talk.commands == [.show(.version)])
    }

    @Test func parametersAndManyCommandsAreRefused() {
        var talk = Talk()
        #expect(talk.hear(Self.parse("SHOW VERSION", types: 1) + Self.sync) == "E(0A000)Z")
        #expect(talk.hear(Self.parse("SHOW VERSION; SHOW VERSION") + Self.sync) == "E(42601)Z")
        let bind = frame("B", Array("\0\0".utf8) + [0, 0, 0, 1, 0, 0, 0, 1, 65, 0, 0])
        #expect(talk.hear(Self.parse("SHOW VERSION") + bind + Self.sync) == "1E(0A000)Z")
        #expect(talk.hear(Self.bind(formats: [0, 0]) + Self.sync) == "E(08P01)Z")
    }

    @Test func aPortalIsFetchedInParts() {
        var talk = Talk()
        talk.answer = { _ in .success(.rows([[.text("1")], [.text("2")], [.text("3")]])) }
        _ = talk.hear(Self.parse("SHOW VERSION") + Self.bind())
        #expect(talk.hear(Self.execute(rows: 2) + frame("H")) == "DDs")
        #expect(talk.hear(Self.execute(rows: 2) + Self.sync) == "DCZ")
        #expect(talk.commands.count == 1, "asked once")
    }

    @Test func namesAreBounded() {
        var talk = Talk()
        for index in 0..<ConsoleSession.namesLimit { _ = talk.hear(Self.parse("SHOW VERSION", as: "s\(index)")) }
        #expect(talk.hear(Self.parse("SHOW VERSION", as: "s0") + Self.sync).hasSuffix("1Z"))
        #expect(talk.hear(Self.parse("SHOW VERSION", as: "one more") + Self.sync) == "E(54000)Z")
    }

    @Test func whoMayOnlyLookChangesNothing() {
        for text in [
            "DROP a", "HIBERNATE a", "WAKE a", "INSPECT a ON", "KILL_CLIENT 1", "PAUSE", "RESUME a", "KILL a",
            "DISABLE a",
            "ENABLE a", "RECONNECT", "WAIT_CLOSE", "RELOAD", "SET max_clients = 5", "SHUTDOWN",
        ] {
            var talk = Talk(.looking)
            #expect(talk.hear(Frontend.query("SHOW VERSION; \(text); SHOW VERSION")) == "TDCE(42501)Z")
            #expect(talk.hear(Self.parse(text) + Self.bind() + Self.execute() + Self.sync) == "12E(42501)Z")
            #expect(talk.commands == [.show(.version)])
        }
    }

    @Test func theTokenComesFirst() {
        var talk = Talk(.everything, token: "secret")
        #expect(talk.said == "R" && talk.console.isAwaitingPassword)
        #expect(talk.hear(Frontend.password("secret")) == "RZ")
        #expect(talk.hear(Frontend.query("SHUTDOWN")) == "CZ")
    }

    @Test(arguments: [
        (Frontend.password("secre"), "E(28P01)"), (Frontend.password(""), "E(28P01)"),
        (Frontend.password("secret2"), "E(28P01)"), (Frontend.query("SHUTDOWN"), "E(08P01)"), (frame("S"), "E(08P01)"),
        (header("p", 70_000), "E(08P01)"), (frame("p"), "E(08P01)"), (Frontend.terminate, ""),
    ])
    func withoutTheTokenNothingIsSaid(_ bytes: [UInt8], _ reply: String) {
        var talk = Talk(.everything, token: "secret")
        #expect(talk.hear(bytes) == reply)
        #expect(talk.hasEnded && talk.commands.isEmpty)
    }

    @Test func aFailureIsAnErrorOfTheStatement() {
        var talk = Talk()
        talk.answer = { _ in .failure(ErrorMessage(.cannotConnectNow, "no")) }
        #expect(talk.hear(Frontend.query("WAKE a; SHOW VERSION")) == "E(57P03)Z")
        #expect(!talk.hasEnded)
        #expect(talk.hear(Self.parse("WAKE a") + Self.bind() + Self.execute() + Self.sync) == "12E(57P03)Z")
    }

    /// An answer may come much later; what the client says meanwhile waits.
    @Test func oneCommandAtATime() {
        var console = ConsoleSession(.everything, token: nil, greeting: [])
        guard case .send = console.next() else { return #expect(Bool(false), "no greeting") }
        console.received(Frontend.query("SHOW VERSION"))
        guard case .wait = console.next() else { return #expect(Bool(false), "the greeting has not left") }
        console.sent()
        guard case .perform(.show(.version)) = console.next() else { return #expect(Bool(false), "no command") }
        console.received(Frontend.query("SHUTDOWN"))
        guard case .wait = console.next() else { return #expect(Bool(false), "two at once") }
        console.answered(.success(.rows([])))
        guard case .perform(.shutdown) = console.next() else { return #expect(Bool(false), "the second is lost") }
    }

    /// Many results are not gathered up before the first is sent.
    @Test func repliesAreSentInParts() {
        var talk = Talk()
        let row = ResultValue.text(String(repeating: "x", count: 50_000))
        talk.answer = { _ in .success(.rows([[row]])) }
        var parts = 0
        talk.console.received(Frontend.query(Array(repeating: "SHOW VERSION", count: 20).joined(separator: ";")))
        while true {
            switch talk.console.next() {
            case .send(let bytes):
                parts += 1
                #expect(bytes.count < 200_000)
                talk.console.sent()
                continue
            case .perform(let command):
                talk.console.answered(talk.answer(command))
                continue
            case .wait, .end: break
            }
            break
        }
        #expect(parts >= 8)
    }

    private static let script: [UInt8] =
        Frontend.query("SHOW VERSION; DROP \"x\"") + parse("SHOW QUEUE", as: "q") + bind("p", to: "q", formats: [1])
        + execute("p") + sync + Frontend.query("NONSENSE") + parse("oops") + describePortal + sync
        + Frontend.query("SHOW VERSION") + Frontend.terminate

    @Test func byteByByteItIsTheSame() {
        var whole = Talk()
        _ = whole.hear(Self.script)
        #expect(whole.hasEnded && whole.commands.count == 4)
        var dripped = Talk()
        for byte in Self.script { _ = dripped.hear([byte]) }
        #expect(dripped.bytes == whole.bytes && dripped.commands == whole.commands && dripped.hasEnded)
    }

    @Test func nothingThatAClientSaysDoesHarm() {
        var chance = Chance()
        for _ in 0..<500 {
            var talk = Talk(.looking)
            _ = talk.hear(chance.mutation(of: Self.script))
            #expect(!talk.commands.contains { !ConsoleAccess.looking.permits($0) }, "seed \(chance.seed)")
            var stranger = Talk(.everything, token: "secret")
            _ = stranger.hear(chance.mutation(of: Frontend.password("nobody") + Self.script))
            #expect(stranger.commands.isEmpty, "seed \(chance.seed)")
        }
    }

    /// What SHOW HELP lists is understood, and every topic describes itself.
    @Test func everyTopicHasColumnsAndIsUnderstood() throws {
        for topic in ConsoleTopic.allCases {
            #expect(!topic.columns.isEmpty && !topic.meaning.isEmpty)
            #expect(Set(topic.columns.map(\.name)).count == topic.columns.count)
            #expect(try ConsoleCommand.parse("SHOW \(topic.rawValue)") == [.show(topic)])
            #expect(ConsoleTopic.whatThereIs.contains(topic.rawValue.uppercased()))
        }
    }

    @Test func tokensAreComparedWhole() {
        let token = ControlToken.make()
        #expect(token.count == 64 && token != ControlToken.make())
        #expect(ControlToken.matches(token, token))
        #expect(!ControlToken.matches("", token) && !ControlToken.matches(String(token.dropLast()), token))
        #expect(
            !ControlToken.matches(String(token.dropLast()) + "x", token) && !ControlToken.matches(token + "0", token))
    }

    @Test(arguments: [0.0, 1_795_444_938.1485, 951_868_799.999999])
    func instantsComeBackAsTheyWent(_ seconds: Double) throws {
        let value = ResultValue.timestamptz(Int64((seconds * 1_000_000).rounded()))
        let row = Backend.dataRow([value], .text)
        let text = try #require(Backend.values(parsing: row[5...])?.first ?? nil)
        #expect(abs(try #require(ControlTime.seconds(text)) - seconds) < 0.000_002)
        #expect(ControlTime.seconds("yesterday") == nil && ControlTime.seconds("2026-01-01 00:00:00+01") == nil)
    }
}
