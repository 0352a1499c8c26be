import TestSupport
import Testing
import WireProtocol

@testable import TenantRouter

@Suite struct BackendStartupTests {
    private static let begun = Says.authenticationOk + Says.parameter

    /// PostgreSQL says AuthenticationOk before it looks for the role: until the startup has ended the client hears
    /// nothing.
    @Test func authenticationOkIsHeldBack() {
        var startup = BackendStartup()
        #expect(startup.outcomes(eachByte(Self.begun)) == [])
        #expect(startup.answer == Self.begun)
    }

    @Test func theKeyIsReplacedInItsPlace() {
        for chunked in [{ [$0] }, eachByte] {
            var startup = BackendStartup()
            #expect(startup.outcomes(chunked(Self.begun + Says.key())) == ["keyReceived"])
            startup.answer(withKey: Says.issuedKey)
            #expect(startup.outcomes(chunked(Says.parameter + Says.ready)) == ["ready"])
            #expect(startup.answer == Self.begun + Says.key(Says.issuedKey) + Says.parameter)
        }
    }

    @Test func theKeyIsTheBackendsWhateverItsLength() {
        for length in [4, 32, 256] {
            let key = CancelKey(processID: -1, secret: .init(repeating: 7, count: length))
            var startup = BackendStartup()
            startup.append(Says.key(key))
            guard case .keyReceived(let received) = startup.next() else {
                Issue.record("no key of \(length) bytes")
                continue
            }
            #expect(received == key)
        }
    }

    @Test func whatComesBehindReadyForQueryIsNotLost() {
        let rest = Says.done + [UInt8(ascii: "Z"), 0, 0]
        var startup = BackendStartup()
        startup.append(Self.begun + Says.ready + rest)
        guard case .ready(let ready) = startup.next() else {
            Issue.record("not ready")
            return
        }
        #expect(ready == Says.ready + rest)
    }

    /// Newer servers may say more in between; it is the client's to understand.
    @Test func messagesOfOtherKindsPassUntouched() {
        let more =
            frame("v", [0, 3, 0, 0, 0, 0, 0, 0])
            + ErrorMessage(severity: .warning, .internalError, "w").noticeResponse()
        var startup = BackendStartup()
        #expect(startup.outcomes(eachByte(more + Self.begun + Says.ready)) == ["ready"])
        #expect(startup.answer == more + Self.begun)
    }

    @Test(arguments: [SQLState.invalidAuthorization, .cannotConnectNow, .tooManyConnections])
    func aRefusalIsReadAndKeptWhole(_ state: SQLState) {
        let said = Self.begun + Says.error(state, "no, thank you")
        for chunks in eachCut(said) {
            var startup = BackendStartup()
            var refusal: ErrorMessage?
            for chunk in chunks {
                startup.append(chunk)
                if case .refused(let error) = startup.next() { refusal = error }
            }
            #expect(refusal == ErrorMessage(state, "no, thank you"))
            #expect(startup.answer == said)
        }
    }

    @Test func aRefusalThatCannotBeReadIsOneAllTheSame() {
        var startup = BackendStartup()
        startup.append(frame("E", [1, 2, 3]))
        guard case .refused(let error) = startup.next() else {
            Issue.record("not refused")
            return
        }
        #expect(error == .unreadable && startup.answer == frame("E", [1, 2, 3]))
    }

    @Test(arguments: [
        Says.passwordRequest, frame("R", [0]), frame("K", [1, 2, 3]), Says.broken, header("S", 0xffff_ffff),
        header("S", UInt32(Limits.backendStartupBytes)),
    ])
    func whatNoPostgreSQLSaysHereIsAViolation(_ said: [UInt8]) {
        for chunks in [[said], eachByte(said)] {
            var startup = BackendStartup()
            #expect(startup.outcomes(chunks).last == "violation", "\(said)")
        }
    }

    @Test func manySmallMessagesAreBoundedTogether() {
        var startup = BackendStartup()
        let notice = ErrorMessage(severity: .notice, .internalError, String(repeating: "n", count: 1000))
            .noticeResponse()
        var outcomes: [String] = []
        for _ in 0..<2 * Limits.backendStartupBytes / notice.count { outcomes += startup.outcomes([notice]) }
        #expect(outcomes.contains("violation"))
        #expect(startup.answer.count <= Limits.backendStartupBytes)
    }
}

extension BackendStartup {
    /// What the chunks led to, without what asked for more.
    fileprivate mutating func outcomes(_ chunks: [[UInt8]]) -> [String] {
        var outcomes: [String] = []
        for chunk in chunks {
            append(chunk)
            let outcome = name(of: next())
            if outcome != "needsMore" { outcomes.append(outcome) }
        }
        return outcomes
    }
}
