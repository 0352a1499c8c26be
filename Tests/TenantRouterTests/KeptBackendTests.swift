import Reactor
import TenantPool
import TestSupport
import Testing
import WireProtocol

@testable import TenantRouter

private let discarded = frame("C", Array("DISCARD ALL\0".utf8)) + Says.ready

/// A relay whose two sides have said this, and have been handed all of it.
private func traces(_ said: [UInt8], _ answered: [UInt8]) -> Relay {
    var relay = Relay(backend: Situation.backend, instance: Situation.instance)
    for bytes in [said] where !bytes.isEmpty {
        _ = relay.frontendReceived(bytes)
        _ = relay.backendSent()
    }
    for bytes in [Says.ready, answered] where !bytes.isEmpty {
        _ = relay.backendReceived(bytes)
        _ = relay.frontendSent()
    }
    return relay
}

extension Relay {
    fileprivate func isTerminate(_ bytes: [UInt8]) -> Bool { unsafe isTerminate(bytes.span.bytes) }
}

extension KeptBackend {
    fileprivate func received(_ bytes: [UInt8]) -> ReceivedAction { unsafe received(bytes.span.bytes) }
}

private func command(_ tag: String) -> [UInt8] { frame("C", Array("\(tag)\0".utf8)) + Says.ready }

@Suite struct TracesTests {
    @Test func anIdleBackendIsLeftAsItWas() {
        #expect(traces([], []).leavesNothing)
        #expect(traces(Says.query, Says.done + Says.ready).leavesNothing)
        #expect(traces(frame("P") + frame("B") + frame("E") + frame("S"), Says.done + Says.ready).leavesNothing)
        // COPY by the simple protocol: data behind its Query.
        #expect(traces(Says.query + frame("d") + frame("c"), frame("G") + command("COPY 0")).leavesNothing)
        // A Query ends what came before it.
        #expect(traces(frame("P") + Says.query, command("SELECT 1")).leavesNothing)
    }

    @Test func whatIsUnanswered() {
        #expect(!Relay(backend: Situation.backend, instance: Situation.instance).leavesNothing, "not even the startup")
        #expect(!traces(Says.query, []).leavesNothing)
        #expect(!traces(Says.query, Says.done).leavesNothing)
        #expect(!traces(Says.query + Says.query, Says.done + Says.ready).leavesNothing)
        #expect(!traces(frame("F"), []).leavesNothing && !traces(frame("S"), []).leavesNothing)
        #expect(!traces(Says.query, Says.done + Says.ready.dropLast()).leavesNothing)
        #expect(!traces(Says.query + Says.query.dropLast(), command("SELECT 1")).leavesNothing)
    }

    /// A statement behind them would commit them.
    @Test(arguments: ["P", "B", "E", "D", "C"] as [Unicode.Scalar]) func withoutASync(tag: Unicode.Scalar) {
        #expect(!traces(frame(tag), []).leavesNothing)
        #expect(!traces(Says.query + frame(tag), Says.done + Says.ready).leavesNothing)
        #expect(!traces(frame("S") + frame(tag), Says.ready).leavesNothing)
    }

    @Test func whatIsUnderWayOrFatal() {
        var relay = traces([], [])
        relay.countSendToFrontend()
        #expect(!relay.leavesNothing)
        #expect(!traces([], Says.error(.adminShutdown)).leavesNothing)
    }

    @Test func commands() {
        #expect(!traces(Says.query, command("LOAD")).leavesNothing)
        #expect(!traces(Says.query, frame("C", Array("DO\0".utf8)) + command("COMMIT")).leavesNothing)
        #expect(!traces(Says.query, command("GRANT")).leavesNothing)
        #expect(!traces(Says.query, []).traces.changedParameters)
        #expect(traces(Says.query, Says.parameter + command("SET")).traces.changedParameters)
    }

    /// News is what has come into effect; in a transaction that is not yet so when the command is done.
    @Test func news() {
        var relay = traces(Says.query, frame("C", Array("ALTER ROLE\0".utf8)))
        var news = [relay.takeNews()]
        _ = relay.backendReceived(frame("Z", Array("T".utf8)))
        for _ in 0..<2 { news.append(relay.takeNews()) }
        _ = relay.backendReceived(command("COMMIT"))
        news.append(relay.takeNews())
        #expect(news == [false, true, false, true])
        // A session that once used CALL dismissed its tenant's kept backends with every later query.
        _ = relay.backendReceived(command("SELECT 1"))
        let isStillNews = relay.takeNews()
        #expect(!isStillNews)
        var harmless = traces(Says.query, command("SELECT 1"))
        let isNews = harmless.takeNews()
        #expect(!isNews)
    }

    /// A client that went before the answer left older backends to others, whatever it had asked.
    @Test func newsThatNobodyHeard() {
        #expect(!traces([], []).traces.mayHideNews)
        #expect(!traces(Says.query, command("SELECT 1")).traces.mayHideNews)
        #expect(!traces(Says.query, command("ALTER ROLE")).traces.mayHideNews, "that is known already")
        #expect(traces(Says.query, []).traces.mayHideNews)
        #expect(traces(Says.query, frame("C", Array("REVOKE\0".utf8))).traces.mayHideNews)
        #expect(traces(Says.query + Says.query, command("SELECT 1")).traces.mayHideNews)
        // COMMIT needs no Sync.
        #expect(traces(frame("P") + frame("B") + frame("E"), []).traces.mayHideNews)
    }

    @Test func terminate() {
        var relay = traces([], [])
        #expect(relay.isTerminate(Says.terminate))
        #expect(!relay.isTerminate(frame("S")))
        #expect(!relay.isTerminate(Says.terminate + Says.terminate))
        #expect(!relay.isTerminate(header("X", 5)))
        _ = relay.frontendReceived(header("Q", 9))
        #expect(!relay.isTerminate(Says.terminate), "it is the text of a query")
    }
}

@Suite struct KeptBackendTests {
    private static func backend(_ backends: inout KeptBackends, of instance: InstanceID = Situation.instance)
        -> KeptBackend
    { backends.add(Situation.backend, of: instance, Situation.opening, user: "ann", tenant: "shop") }

    @Test func itsLife() {
        var backends = KeptBackends()
        let backend = Self.backend(&backends)
        backend.resetting(ResetExchange(), Says.backendKey)
        #expect(backend.holdsLease && !backend.isKept && backends.places(of: Situation.instance) == 0)
        #expect(backends.match(Situation.packet, of: Situation.instance) == nil)
        #expect(backend.received(frame("A", [0])) == .none)
        #expect(backend.received(discarded) == .keep)
        backend.kept()
        #expect(!backend.holdsLease && backend.isKept && backends.places(of: Situation.instance) == 1)
        #expect(backends.match(Situation.packet, of: Situation.instance)?.1 == Says.backendKey)
        #expect(backend.deadlineExpired() == .leave)
        backend.left()
        backend.left()
        #expect(!backend.isKept)
        #expect(backends.places(of: Situation.instance) == 1, "until it has gone")
        #expect(backends.match(Situation.packet, of: Situation.instance) == nil)
        #expect(backend.received(Says.error(.adminShutdown)) == .none)
        #expect(backend.deadlineExpired() == .close)
        backends.remove(backend)
        #expect(backends.count == 0 && backends.places(of: Situation.instance) == 0)
    }

    @Test func aResetThatFailsHoldsItsLeaseUntilTheEnd() {
        var backends = KeptBackends()
        let backend = Self.backend(&backends)
        backend.resetting(ResetExchange(), Says.backendKey)
        #expect(backend.received(Says.error(.queryCanceled)) == .leave)
        backend.left()
        #expect(backend.holdsLease)
    }

    /// Whatever it says, it says it to nobody.
    @Test(arguments: [Says.parameter, Says.error(.adminShutdown), [0]]) func whoSpeaksUnaskedLeaves(_ bytes: [UInt8]) {
        var backends = KeptBackends()
        let backend = Self.backend(&backends)
        backend.resetting(ResetExchange(), Says.backendKey)
        _ = backend.received(discarded)
        backend.kept()
        #expect(backend.received(bytes) == .leave)
    }

    @Test func theLastUsedIsMatchedFirst() {
        var backends = KeptBackends()
        let kept = (0..<3).map { _ in Self.backend(&backends) }
        for backend in kept {
            backend.resetting(ResetExchange(), Says.backendKey)
            backend.kept()
        }
        #expect(backends.match(Situation.packet, of: Situation.instance)?.0 === kept[2])
        #expect(backends.match(Situation.packet, of: InstanceID(99)) == nil)
        #expect(backends.match(Frontend.startupMessage(user: "bob", database: "shop"), of: Situation.instance) == nil)
        backends.remove(kept[2])
        #expect(backends.match(Situation.packet, of: Situation.instance)?.0 === kept[1])
        #expect(backends.all.map(\.number) == [1, 2])
    }

    @Test func greetings() {
        let answer = Says.authenticationOk + Says.parameter + Says.key() + Says.parameter
        let whole = Says.authenticationOk + Says.parameter + Says.parameter
        #expect(Opening.greeting(of: answer, isWhole: true) == whole)
        #expect(Opening.greeting(of: Array(answer.dropFirst(Says.authenticationOk.count)), isWhole: false) == whole)
        let opening = Opening(packet: [], greeting: whole, epoch: 0, openedAt: .zero)
        #expect(opening.restOfGreeting == Says.parameter + Says.parameter)
        #expect(opening.reset(after: traces([], []).traces)?.opening == ResetExchange().opening)
        let changed = traces(Says.query, Says.parameter + command("SET")).traces
        #expect((opening.reset(after: changed)?.opening.count ?? 0) > ResetExchange().opening.count)
    }
}
