import TestSupport
import Testing

@testable import WireProtocol

private let ok = Backend.authenticationOk
private let idle = frame("Z", [0x49])
private let begun = ok + frame("S", Array("a\0b\0".utf8)) + frame("K", .init(repeating: 1, count: 8)) + idle

private func error(_ severity: ErrorMessage.Severity) -> ErrorMessage {
    ErrorMessage(severity: severity, .internalError, "no")
}

private func row(_ values: [UInt8]...) -> [UInt8] {
    frame("D", [0, UInt8(values.count)] + values.flatMap { bigEndian(UInt32($0.count)) + $0 })
}

/// RowDescription of so many columns called `a`.
private func description(_ count: UInt8) -> [UInt8] {
    frame("T", [0, count] + (0..<count).flatMap { _ in [0x61, 0] + [UInt8](repeating: 0, count: 18) })
}

private func outcome(of chunks: [[UInt8]], ends: Bool = false) -> [AdminExchange.Action] {
    var exchange = AdminExchange(user: "routerd", database: "template1", statement: "SELECT 1")
    var actions: [AdminExchange.Action] = []
    for chunk in chunks { actions += unsafe exchange.received(chunk.span.bytes) }
    if ends { actions += exchange.endOfStream() }
    return actions
}

private let asks = AdminExchange.Action.send(Frontend.query("SELECT 1"))
private let leaves = AdminExchange.Action.send(Frontend.terminate)

@Suite struct AdminExchangeTests {
    @Test func itOpensAsItsUser() {
        let exchange = AdminExchange(user: "routerd", database: "template1", statement: "")
        var reader = StartupReader()
        reader.append(exchange.opening)
        guard case .packet(.startup(let packet)) = reader.next() else {
            Issue.record("not a startup packet")
            return
        }
        #expect(packet.user == "routerd" && packet.database == "template1" && packet["application_name"] == "routerd")
        #expect(packet["client_encoding"] == "UTF8", "whatever the database's default is")
    }

    @Test func recordedAnswersAreGathered() {
        var chance = Chance()
        let expected: [([UInt8], AdminExchange.Action)] = [
            (
                Transcript.twoQueries,
                .finished([
                    AnswerRow(columns: .init(repeating: "?column?", count: 4), values: ["1", nil, "é", ""]),
                    AnswerRow(columns: ["?column?"], values: ["2"]),
                ])
            ),
            (
                Transcript.failingQuery,
                .failed(ErrorMessage(severity: .error, SQLState("22012") ?? .internalError, "division by zero"))
            ),
        ]
        for (bytes, end) in expected {
            for chunks in [[bytes], eachByte(bytes), chance.chunks(of: bytes, upTo: 50)] {
                #expect(outcome(of: chunks, ends: true) == [asks, leaves, end], "seed \(chance.seed)")
            }
        }
        #expect(
            outcome(of: eachByte(Transcript.unknownRole), ends: true)
                == [leaves, .failed(ErrorMessage(.invalidAuthorization, "role \"nobody\" does not exist"))])
    }

    /// Every state meets every kind of message.
    @Test func everyCell() {
        let states: [(name: String, before: [UInt8], said: [AdminExchange.Action])] = [
            ("authenticating", [], []), ("starting up", ok, []), ("querying", begun + description(1), [asks]),
        ]
        let violation = { (tag: Unicode.Scalar) in
            [leaves, .failed(ErrorMessage(.protocolViolation, "unexpected message \"\(tag)\" from the instance"))]
        }
        let password = [
            leaves,
            .failed(
                ErrorMessage(
                    .invalidAuthorization, "the instance asks the router for authentication (code 10)")),
        ]
        let unreadable = ErrorMessage(.protocolViolation, "the instance sent an error that can't be read")
        let tooShort = ErrorMessage(.protocolViolation, "invalid message length")
        let fatal = [leaves, AdminExchange.Action.failed(error(.fatal))]
        let plain = [leaves, AdminExchange.Action.failed(error(.error))]
        let cells: [(name: String, message: [UInt8], answers: [[AdminExchange.Action]])] = [
            ("AuthenticationOk", ok, [[], violation("R"), violation("R")]),
            ("AuthenticationSASL", frame("R", [0, 0, 0, 10]), [password, violation("R"), violation("R")]),
            ("half an authentication", frame("R", [0]), [violation("R"), violation("R"), violation("R")]),
            ("BackendKeyData", frame("K", .init(repeating: 1, count: 8)), [violation("K"), [], violation("K")]),
            ("ReadyForQuery", idle, [violation("Z"), [asks], [leaves, .finished([])]]),
            ("notice", error(.notice).noticeResponse(), [[], [], []]),
            ("ParameterStatus", frame("S", Array("a\0b\0".utf8)), [[], [], []]),
            ("notification", frame("A", [0, 0, 0, 1, 0, 0]), [[], [], []]),
            ("fatal error", error(.fatal).errorResponse(), [fatal, fatal, fatal]),
            ("error", error(.error).errorResponse(), [plain, plain, []]),
            ("unreadable error", frame("E", [1]), .init(repeating: [leaves, .failed(unreadable)], count: 3)),
            ("RowDescription", frame("T", [0, 0]), [violation("T"), violation("T"), []]),
            ("half a RowDescription", frame("T", [0, 1, 0x61, 0]), [violation("T"), violation("T"), violation("T")]),
            ("DataRow", row([0x31]), [violation("D"), violation("D"), []]),
            ("a row of other columns", row([0x31], [0x32]), [violation("D"), violation("D"), violation("D")]),
            ("CommandComplete", frame("C", [0]), [violation("C"), violation("C"), []]),
            ("EmptyQueryResponse", frame("I"), [violation("I"), violation("I"), []]),
            ("CopyInResponse", frame("G", [0, 0, 0]), [violation("G"), violation("G"), violation("G")]),
            ("unknown", frame("?"), [violation("?"), violation("?"), violation("?")]),
            ("length 3", header("D", 3), .init(repeating: [leaves, .failed(tooShort)], count: 3)),
            ("too long", header("D", 2 << 20), .init(repeating: [leaves, .failed(tooShort)], count: 3)),
        ]
        for (name, message, answers) in cells {
            for (state, answer) in zip(states, answers) {
                #expect(outcome(of: [state.before + message]) == state.said + answer, "\(name) while \(state.name)")
            }
        }
        let gone = ErrorMessage(.connectionFailure, "the instance closed the connection before it answered")
        for state in states {
            #expect(
                outcome(of: [state.before], ends: true) == state.said + [.failed(gone)],
                "end of stream while \(state.name)")
        }
    }

    @Test func aConnectionThatStaysRunsTheNextStatement() {
        var exchange = AdminExchange(user: "routerd", database: "template1", statement: "SELECT 1", then: .stays)
        func received(_ bytes: [UInt8]) -> [AdminExchange.Action] { unsafe exchange.received(bytes.span.bytes) }
        let answer = AnswerRow(columns: ["a"], values: ["1"])
        #expect(received(begun + description(1) + row([0x31]) + idle) == [asks, .finished([answer])])
        #expect(exchange.isIdle && !exchange.isDone)
        #expect(received(error(.notice).noticeResponse() + frame("S", Array("a\0b\0".utf8))) == [])
        #expect(exchange.run("SELECT 2", then: .stays) == [.send(Frontend.query("SELECT 2"))])
        #expect(!exchange.isIdle)
        #expect(received(frame("C", [0]) + idle) == [.finished([])], "without the rows of the one before")
        #expect(exchange.run("SELECT 3", then: .ends) == [.send(Frontend.query("SELECT 3"))])
        #expect(received(idle) == [leaves, .finished([])])
        #expect(exchange.isDone && exchange.endOfStream() == [])
    }

    /// A server that is told to stop, or that limits idle sessions, ends the connection while nothing is asked.
    @Test func aConnectionThatStaysCanEndOrFail() {
        func staying() -> AdminExchange {
            var exchange = AdminExchange(user: "routerd", database: "template1", statement: "SELECT 1", then: .stays)
            #expect(unsafe exchange.received((begun + idle).span.bytes) == [asks, .finished([])])
            return exchange
        }
        let cells: [([UInt8], AdminExchange.Action)] = [
            (error(.fatal).errorResponse(), .failed(error(.fatal))),
            (idle, .failed(ErrorMessage(.protocolViolation, "unexpected message \"Z\" from the instance"))),
        ]
        for (message, end) in cells {
            var exchange = staying()
            #expect(unsafe exchange.received(message.span.bytes) == [leaves, end])
            #expect(exchange.isDone)
        }
        var exchange = staying()
        #expect(exchange.endOfStream().count == 1 && exchange.isDone)
        exchange = staying()
        #expect(exchange.run("SELECT 2", then: .stays).count == 1)
        let failure = error(.error).errorResponse() + idle
        #expect(unsafe exchange.received(failure.span.bytes) == [leaves, .failed(error(.error))])
    }

    @Test func nothingFollowsTheEnd() {
        #expect(outcome(of: [begun + idle + idle, row([1]), [1, 2, 3]], ends: true) == [asks, leaves, .finished([])])
    }

    @Test(
        arguments: [[0], [0, 2, 0, 0, 0, 0], [0, 1, 0, 0, 0, 2, 1], [0, 1, 0x80, 0, 0, 0], [0, 0, 7]] as [[UInt8]])
    func aMutilatedRowFails(body: [UInt8]) {
        #expect(outcome(of: [begun + description(1) + frame("D", body)]).count == 3)
    }

    /// The instance is the tenant's: what it answers must not cost the router its memory.
    @Test func theAnswerIsBounded() {
        let big = row(.init(repeating: 0x78, count: 300_000))
        let answers = [
            [begun, description(1), big, big, big, big, idle],
            [begun] + .init(repeating: description(250), count: 1 << 20 / 5000 + 1) + [idle],
        ]
        for chunks in answers {
            let actions = outcome(of: chunks)
            #expect(actions.count == 3)
            guard case .failed(let error) = actions.last else {
                Issue.record("not bounded")
                return
            }
            #expect(error.sqlState == .programLimitExceeded)
        }
    }

    @Test func hostileInputNeverTraps() {
        var chance = Chance()
        print("AdminExchange: seed \(chance.seed)")
        for _ in 0..<1_000 {
            let recorded = [Transcript.twoQueries, Transcript.failingQuery].randomElement(using: &chance) ?? []
            let start = Bool.random(using: &chance) ? 0 : 280
            let mutated = Array(recorded[..<start]) + chance.mutation(of: Array(recorded[start...]))
            let actions = outcome(of: chance.chunks(of: mutated, upTo: 100), ends: true)
            #expect(actions.count <= 3, "seed \(chance.seed)")
        }
    }
}
