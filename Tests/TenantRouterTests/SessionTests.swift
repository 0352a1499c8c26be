import Reactor
import TenantPool
import TestSupport
import Testing
import WireProtocol

@testable import TenantRouter

/// What the table does not show: what actions carry, and what more than one event brings about.
@Suite struct SessionTests {
    // MARK: - Startup

    /// First packets in any order, in any number of pieces.
    @Test(arguments: [
        [Frontend.sslRequest], [Frontend.gssEncRequest], [Frontend.gssEncRequest, Frontend.sslRequest], [],
    ])
    func encryptionIsDeclinedAndTheStartupPacketAdmitted(_ requests: [[UInt8]]) {
        for chunked in [{ [$0] }, eachByte] {
            var session = Session.fresh
            for request in requests { #expect(session.frontendActions(chunked(request)) == ["declineEncryption"]) }
            #expect(session.frontendActions(chunked(Situation.packet)) == ["admit"])
        }
    }

    @Test func anAdmittedPacketIsWhatWasSent() throws {
        var session = Session.fresh
        let sent = Frontend.startupMessage(user: "ann", database: "shop", parameters: [("options", "-c a=b")])
        guard case .admit(let packet, let pipelined) = session.frontendReceived(sent + Says.query) else {
            Issue.record("not admitted")
            return
        }
        #expect(packet.bytes == sent)
        #expect(packet.user == "ann" && packet.database == "shop")
        #expect(pipelined == Says.query)
    }

    @Test func bytesBehindAnEncryptionRequestAreRefused() {
        var session = Session.fresh
        guard case .reject(let rejection) = session.frontendReceived(Frontend.sslRequest + Situation.packet) else {
            Issue.record("not rejected")
            return
        }
        #expect(rejection.state == .protocolViolation)
    }

    @Test func aStartupPacketOfHostileLengthIsRefusedOnItsHeader() {
        for length: UInt32 in [0, 3, 4, 7, 10_005, 0x7fff_ffff, 0xffff_ffff] {
            var session = Session.fresh
            #expect(session.frontendActions(eachByte(bigEndian(length))) == ["reject"], "\(length)")
        }
    }

    @Test func whatIsNotUnderstoodIsNotAnswered() {
        // A TLS handshake without an SSLRequest: an ErrorResponse would be noise to it.
        var session = Session.fresh
        guard case .reject(let rejection) = session.frontendReceived([0x16, 0x03, 0x01, 0x00]) else {
            Issue.record("not rejected")
            return
        }
        #expect(rejection.bytes.isEmpty && !rejection.reason.isEmpty)
    }

    @Test func aCancelRequestCarriesItsKey() {
        var session = Session.fresh
        guard case .cancel(let key) = session.frontendReceived(Frontend.cancelRequest(Says.issuedKey)) else {
            Issue.record("no cancel request")
            return
        }
        #expect(key == Says.issuedKey)
    }

    // MARK: - Bytes ahead of ReadyForQuery

    @Test func pipelinedBytesAreKeptInTheirOrderThroughAllOfTheArrival() {
        var session = Session.fresh.admitted(Situation.packet + [1])
        _ = session.frontendReceived([2])
        session.connecting(Situation.attempt)
        _ = session.frontendReceived([3])
        _ = session.backendConnected()
        _ = session.frontendReceived([4])
        _ = session.backendReceived(Says.error(.invalidAuthorization))
        _ = session.frontendReceived([5])
        _ = session.roleSettled()
        _ = session.frontendReceived([6])
        session.connecting(Situation.attempt)
        _ = session.backendConnected()
        guard case .open(_, let arrival, _, _) = session.backendReceived(Says.ready) else {
            Issue.record("not open")
            return
        }
        #expect(arrival.pipelined == [1, 2, 3, 4, 5, 6])
    }

    @Test func aClientThatSendsTooMuchAheadIsNotReadAnyMore() {
        var session = Situation.queued.session
        let most = [UInt8](repeating: 1, count: Limits.pipelinedBytes)
        #expect(name(of: session.frontendReceived(most)) == "none")
        #expect(name(of: session.frontendReceived([1])) == "stopReading")
        // What was on its way already is not lost.
        #expect(name(of: session.frontendReceived([2])) == "stopReading")
        guard case .arriving(let arrival, _) = session.stage else { return }
        #expect(arrival.pipelined == most + [1, 2])
    }

    // MARK: - Connecting

    @Test func theBackendGetsTheStartupPacketAsItCame() {
        var session = Situation.connecting.session
        #expect(session.backendConnected() == Situation.packet)
    }

    @Test func whoeverLeavesNamesWhatHeHeld() {
        var connecting = Situation.connecting.session
        guard case .giveUp(let attempt) = connecting.frontendEnded() else {
            Issue.record("not given up")
            return
        }
        #expect(attempt.backend == Situation.backend && attempt.lease.instance == Situation.instance)

        var pausing = Situation.pausing.session
        guard case .returnLease(let instance) = pausing.frontendFailed() else {
            Issue.record("no lease returned")
            return
        }
        #expect(instance == Situation.instance)

        var relaying = Situation.relaying.session
        guard case .abandon(let backend) = relaying.frontendFailed() else {
            Issue.record("not abandoned")
            return
        }
        #expect(backend == Situation.backend)
    }

    /// Once a client that left has been dealt with, nothing returns its lease a second time: the pool would trap.
    @Test(arguments: Situation.allCases) func aLeaseIsReturnedOnce(_ situation: Situation) {
        let events: [(inout Session) -> Int] = [
            { $0.frontendFailed().leases }, { $0.backendEnded().leases }, { $0.frontendEnded().leases },
            { $0.backendEnded().leases }, { $0.deadlineExpired().leases },
            { $0.instanceStopped(Situation.instance).leases }, { $0.killed().leases },
        ]
        for first in events.indices {
            var session = situation.session
            var returned = 0
            for offset in events.indices {
                returned += events[(first + offset) % events.count](&session)
                // The router tells the client why, and that is where it lingers.
                if returned == 1, session.isArriving { session.rejected() }
            }
            #expect(returned <= 1, "\(situation), from event \(first)")
            let holds = !Self.withoutLease.contains(situation)
            #expect(returned == (holds ? 1 : 0), "\(situation), from event \(first)")
        }
    }

    private static let withoutLease: Set<Situation> = [
        .awaitingStartup, .queued, .flushing, .flushingLast, .cancelling, .console, .lingering, .closed,
    ]

    @Test func descriptorsAreCountedUntilTheLast() {
        #expect(Situation.awaitingStartup.session.openDescriptors == 1)
        #expect(Situation.connecting.session.openDescriptors == 2)
        #expect(Situation.cancelling.session.openDescriptors == 2)
        // The attempt before is closing while the next one is being made.
        var session = Situation.pausing.session
        session.connecting(Situation.attempt)
        #expect(session.openDescriptors == 3)
    }

    // MARK: - The backend's answer

    @Test func aBackendThatIsNotReadyYetIsTriedAgainUnderTheSameLease() {
        var session = Situation.startingUp.session
        guard case .pause(let attempt) = session.backendReceived(Says.error(.cannotConnectNow)) else {
            Issue.record("no pause")
            return
        }
        #expect(attempt.backend == Situation.backend)
        guard case .reconnect(let lease) = session.deadlineExpired() else {
            Issue.record("no other try")
            return
        }
        #expect(lease.instance == Situation.instance && lease.giveUpAt == Situation.lease.giveUpAt)
    }

    @Test func anUnknownRoleIsSettledOnceAndThenPostgreSQLsAnswerStands() {
        let refusal = Says.authenticationOk + Says.error(.invalidAuthorization, "role \"ann\" does not exist")
        var session = Situation.startingUp.session
        guard case .settleRole(_, let user) = session.backendReceived(refusal) else {
            Issue.record("the role is not looked after")
            return
        }
        #expect(user == "ann")
        guard let lease = session.roleSettled() else {
            Issue.record("no other try")
            return
        }
        #expect(lease.instance == Situation.instance)
        session.connecting(Situation.attempt)
        _ = session.backendConnected()
        guard case .refuse(let answer, _) = session.backendReceived(refusal) else {
            Issue.record("not refused")
            return
        }
        #expect(answer == refusal)
    }

    @Test func aRoleThatCannotBeMadeLeavesPostgreSQLsAnswer() {
        let refusal = Says.authenticationOk + Says.error(.invalidAuthorization, "role \"ann\" does not exist")
        var session = Situation.startingUp.session
        _ = session.backendReceived(refusal)
        guard let (answer, lease) = session.roleFailed() else {
            Issue.record("not refused")
            return
        }
        #expect(answer == refusal && lease.instance == Situation.instance)
    }

    /// A backend that hangs must not keep the place of a client that has said goodbye.
    @Test func afterTerminateABackendHasALimitToGo() {
        var session = Situation.relaying.session
        _ = session.frontendReceived(Says.terminate)
        guard case .finishTerminated(Situation.backend) = session.frontendEnded() else {
            Issue.record("no limit")
            return
        }
        guard case .closeBackend(Situation.backend, Situation.instance) = session.deadlineExpired() else {
            Issue.record("the lease is kept")
            return
        }
    }

    /// libpq takes nothing before AuthenticationOk, and takes it once.
    @Test func aClientThatWaitedLongIsGreetedOnce() {
        var session = Situation.queued.session
        guard case .explainWait = session.deadlineExpired() else {
            Issue.record("not told what it waits for")
            return
        }
        guard case .none = session.deadlineExpired() else {
            Issue.record("told twice")
            return
        }
        session.granted(Situation.lease)
        session.connecting(Situation.attempt)
        _ = session.backendConnected()
        guard case .refuse(let answer, _) = session.backendReceived(Says.authenticationOk + Says.error(.diskFull))
        else {
            Issue.record("not refused")
            return
        }
        #expect(answer == Says.error(.diskFull))
    }

    /// An instance that dies under everybody who connects must not be booted for the same client for ever.
    @Test func aClientIsGivenAnotherInstanceOnce() {
        var session = Situation.startingUp.session
        guard case .requeue(_, closing: Situation.backend) = session.instanceStopped(Situation.instance) else {
            Issue.record("not given another instance")
            return
        }
        session.granted(Situation.lease)
        session.connecting(Situation.attempt)
        guard case .reject(closing: Situation.backend) = session.instanceStopped(Situation.instance) else {
            Issue.record("not refused the second time")
            return
        }
    }

    @Test func anyOtherErrorIsPostgreSQLsOwnWhole() {
        let refusal = Says.authenticationOk + Says.parameter + Says.error(.tooManyConnections)
        for chunks in [[refusal], eachByte(refusal)] {
            var session = Situation.startingUp.session
            var actions = chunks.map { session.backendReceived($0) }
            guard case .refuse(let answer, _)? = actions.popLast() else {
                Issue.record("not refused")
                return
            }
            #expect(answer == refusal)
            #expect(actions.allSatisfy { name(of: $0) == "none" })
        }
    }

    @Test func theKeyIsReplacedAndTheRestGoesOnInOneRead() {
        var session = Situation.startingUp.session
        let said = Says.authenticationOk + Says.key() + Says.parameter + Says.ready + Says.done
        guard case .issueKey(let key, let instance) = session.backendReceived(said) else {
            Issue.record("no key")
            return
        }
        #expect(key == Says.backendKey && instance == Situation.instance)
        guard case .open(let attempt, let arrival, let startup, let ready) = session.keyIssued(Says.issuedKey) else {
            Issue.record("not open")
            return
        }
        #expect(attempt.backend == Situation.backend && arrival.tenant.string == "shop")
        #expect(startup.answer == Says.authenticationOk + Says.key(Says.issuedKey) + Says.parameter)
        #expect(ready == Says.ready + Says.done)
    }

    // MARK: - The relay's end

    /// A client between two messages that nobody told anything is told; one that said goodbye, or was told by
    /// PostgreSQL, is not; in the middle of a message nothing can be said.
    @Test(arguments: [
        (Says.query, Says.done, true), (Says.terminate, Says.done, false),
        (Says.query, Says.error(.adminShutdown), false),
        (Says.query, Array(Says.done.dropLast()), false),
    ])
    func theEndIsExplainedWhereItCanBe(_ client: [UInt8], _ backend: [UInt8], _ explained: Bool) {
        var session = Situation.relaying.session
        _ = session.frontendReceived(client)
        _ = session.backendReceived(backend)
        guard case .flush(let relay, let explain) = session.backendEnded() else {
            Issue.record("not flushed")
            return
        }
        #expect(explain == explained && relay.instance == Situation.instance)
        // The last message of the backend, and the explanation.
        if explained { #expect(name(of: session.frontendSent()) == "keepFlushing") }
        #expect(name(of: session.frontendSent()) == "linger")
    }

    /// An idle psql does not look at its socket: after PostgreSQL's last word it has a moment, not a place for ever.
    @Test func aClientThatWasToldAndHasItAllLingers() {
        var session = Situation.relaying.session
        _ = session.backendReceived(Says.error(.adminShutdown))
        _ = session.frontendSent()
        guard case .linger(let relay) = session.backendEnded() else {
            Issue.record("it does not linger")
            return
        }
        #expect(relay.instance == Situation.instance)
        #expect(name(of: session.deadlineExpired()) == "close")
    }

    @Test func aBackendThatDoesNotNoticeIsClosedAndItsLeaseReturned() {
        var session = Situation.abandoning.session
        guard case .closeBackend(let backend, let instance) = session.deadlineExpired() else {
            Issue.record("the lease is held for ever")
            return
        }
        #expect(backend == Situation.backend && instance == Situation.instance)
        #expect(name(of: session.backendEnded()) == "none")
    }

    /// What was said before the relay leaves first: its report must not stand for a relayed send that still waits, or the
    /// client is closed over it.
    @Test func anEarlySendIsNotTheRelays() {
        var session = Situation.relaying.session
        session.toldEarly()
        _ = session.frontendReceived(Says.query)
        _ = session.frontendEnded()
        _ = session.backendReceived(Says.ready)
        #expect(name(of: session.frontendSent()) == "none")
        #expect(name(of: session.backendEnded()) == "flush")
        #expect(name(of: session.frontendSent()) == "close")
    }

    /// A report too many stands for nothing.
    @Test func aSendThatWasNotCountedIsNone() {
        var session = Situation.relaying.session
        #expect(name(of: session.frontendSent()) == "none")
        #expect(session.backendSent() == false)
        #expect(name(of: session.backendReceived(Says.done)) == "forward")
        #expect(name(of: session.backendReceived(Says.done)) == "forwardAndPause")
    }

    @Test func aHalfClosedClientGetsTheWholeAnswer() {
        var session = Situation.relaying.session
        _ = session.frontendReceived(Says.query + Says.terminate)
        #expect(name(of: session.frontendEnded()) == "finishTerminated")
        #expect(name(of: session.backendReceived(Says.done)) == "forward")
        #expect(name(of: session.backendReceived(Says.ready)) == "forwardAndPause")
        #expect(name(of: session.backendEnded()) == "flush")
        #expect(name(of: session.frontendSent()) == "keepFlushing")
        #expect(name(of: session.frontendSent()) == "close")
    }

    @Test func aClientThatBreaksTheFramingEndsInAnError() {
        var session = Situation.relaying.session
        guard case .terminate(let relay, let error) = session.frontendReceived(header("!", 4)) else {
            Issue.record("not terminated")
            return
        }
        #expect(relay.backend == Situation.backend)
        #expect(error.sqlState == .protocolViolation && error.severity == .fatal)
    }
}

extension Session {
    /// What the client's bytes led to, chunk by chunk, without what asked for nothing.
    fileprivate mutating func frontendActions(_ chunks: [[UInt8]]) -> [String] {
        var actions: [String] = []
        for chunk in chunks { actions.append(name(of: frontendReceived(chunk))) }
        return actions.filter { $0 != "none" }
    }

    fileprivate var isArriving: Bool { if case .arriving = stage { true } else { false } }
}

extension Rejection {
    fileprivate var state: SQLState? { ErrorMessage(parsing: bytes.dropFirst(5))?.sqlState }
}

// How many leases go back to the pool with an action.

extension Session.FrontendGoneAction {
    fileprivate var leases: Int {
        switch self {
        // A backend that is kept takes the lease along.
        case .returnLease, .giveUp, .keepBackend: 1
        case .none, .close, .leaveQueue, .abandon, .finishBackend, .finishTerminated: 0
        }
    }
}

extension Session.KilledAction {
    fileprivate var leases: Int {
        switch self {
        case .terminate: 1
        case .leave(let action): action.leases
        }
    }
}

extension Session.BackendEndedAction {
    fileprivate var leases: Int {
        switch self {
        case .flush, .linger, .close, .returnLease: 1
        case .none, .pause, .closeCancel: 0
        }
    }
}

extension Session.InstanceStoppedAction {
    fileprivate var leases: Int {
        switch self {
        case .reject, .requeue: 1
        case .none: 0
        }
    }
}

extension Session.DeadlineExpiredAction {
    fileprivate var leases: Int {
        switch self {
        case .giveUp, .closeBackend: 1
        case .none, .close, .closeCancel, .reconnect, .explainWait: 0
        }
    }
}
