import Glibc
import Reactor
import TenantPool
import TestSupport
import WireProtocol

@testable import TenantRouter

/// One session, an executor that does what it says as `Router` does, a client and backends that behave by chance. It
/// keeps its own books and compares.
struct SessionWorld {
    private var chance: Chance
    /// Whether client and backend say what they must and nothing else, so that another client may have the backend.
    private let isTidy: Bool
    private var session = Session.fresh
    private var now = Duration.zero
    private var deadline: Duration?
    private var frontend = ModelStream(Situation.frontend)
    private var backends: [ModelStream] = []
    /// Descriptors whose `.closed` has been delivered.
    private var reported: Set<UInt64> = []
    private var isReaped = false
    private var isWaiting = false
    private var lease: InstanceID?
    private var instances: UInt64 = 1
    /// The world's trouble is over: everybody ends in an orderly way, and only time may be missing.
    private var isSettling = false
    /// What is allowed to lose bytes has happened to the client's side.
    private var mayLoseAnswer = false

    /// Everything the client says behind its startup packet, as far as it was delivered.
    private var asked: [UInt8] = []
    /// Everything sent to the client before the relay, what the relay sent of the backend's, and what it added.
    private var preamble: [UInt8] = []
    private var answered: [UInt8] = []
    private var ownError: [UInt8]?
    private var relayBackend: Token?

    private(set) var complaints: [String] = []
    private(set) var counts: [String: Int] = [:]
    private var events: [String] = []

    /// The last events before the complaints, and the complaints.
    var story: String { (events.suffix(40) + complaints).joined(separator: "\n  ") }

    init(seed: UInt64) {
        chance = Chance(seed: seed)
        isTidy = chance.happens(15)
        frontend.inbound = isTidy ? Script.tidyClient : Script.client(&chance)
        frontend.inboundEnds = chance.happens(50)
        frontend.receive()
        arm(after: RouterConfiguration().startupTimeout)
    }

    mutating func run() {
        for _ in 0..<Int.random(in: 5...400, using: &chance) where complaints.isEmpty && !isReaped {
            step()
            check()
        }
        settle()
        if complaints.isEmpty { checkEnd() }
    }

    /// From here on the client takes and sends all, the backends answer all and end; time passes when nothing else does.
    private mutating func settle() {
        isSettling = true
        frontend.inboundEnds = true
        for _ in 0..<100_000 where complaints.isEmpty && !isReaped {
            for index in backends.indices { backends[index].inboundEnds = true }
            if !happened() {
                guard let deadline else { return complain("stuck in \(session.stageWord)") }
                expire(at: deadline)
            }
            check()
        }
    }
}

// MARK: - What happens

extension SessionWorld {
    private mutating func step() {
        now += .milliseconds(.random(in: 0...20, using: &chance))
        if let deadline, deadline <= now || chance.happens(1) { return expire(at: deadline) }
        switch Int.random(in: 0..<200, using: &chance) {
        case 0: failFrontend()
        case 1: failBackend()
        case 2, 3: stopInstance()
        case 4: frontend.inboundEnds = true
        case 5: for index in backends.indices { backends[index].inboundEnds = true }
        default: _ = happened()
        }
    }

    /// One of the things that could happen now; false when there is none.
    private mutating func happened() -> Bool {
        var choices: [(inout SessionWorld) -> Void] = []
        if frontend.canDeliver { choices.append { $0.deliverToFrontend() } }
        if frontend.canEnd { choices.append { $0.endFrontend() } }
        if frontend.canSend { choices.append { $0.frontendLeaves() } }
        if frontend.isClosed, !reported.contains(frontend.token.raw) { choices.append { $0.report($0.frontend.token) } }
        for index in backends.indices {
            // Without a copy of the stream: it would be one of its bytes.
            let token = backends[index].token
            if !backends[index].isConnected, !backends[index].isClosed { choices.append { $0.connected(index) } }
            if backends[index].canDeliver { choices.append { $0.deliverToBackend(index) } }
            if backends[index].canEnd { choices.append { $0.endBackend(index) } }
            if backends[index].canSend { choices.append { $0.backendLeaves(index) } }
            if backends[index].isClosed, !reported.contains(token.raw) { choices.append { $0.report(token) } }
        }
        if isWaiting { choices.append { $0.answerWaiter() } }
        if case .arriving(_, .awaitingRole) = session.stage { choices.append { $0.answerRole() } }
        guard let choice = choices.randomElement(using: &chance) else { return false }
        choice(&self)
        return true
    }

    private mutating func deliverToFrontend() {
        let count = chance.happens(20) ? 100_000 : Int.random(in: 1...40, using: &chance)
        let bytes = frontend.deliver(count)
        note("client: \(bytes.count) bytes")
        let isOpen = relayBackend != nil
        let action = session.frontendReceived(bytes)
        if isOpen { asked += bytes }
        tally(action)
        switch action {
        case .none: if session.isWaitingForBackend { asked += bytes }
        case .declineEncryption:
            preamble += Backend.encryptionRefused
            session.toldEarly()
            send(Backend.encryptionRefused)
            // One byte into an empty socket leaves at once.
            frontendLeaves()
        case .admit(let packet, let pipelined): admit(packet, pipelined)
        case .cancel(let key): cancel(key)
        case .reject(let rejection): dismiss(with: rejection.bytes)
        case .stopReading:
            asked += bytes
            frontend.disarm()
        case .forward(let backend): sendToBackend(backend, bytes)
        case .forwardAndPause(let backend):
            frontend.disarm()
            sendToBackend(backend, bytes)
        case .terminate(let relay, let error): terminate(relay, error)
        case .keepBackend(let relay): keep(relay)
        case .advanceConsole: complain("nobody opened a console")
        }
    }

    private mutating func admit(_ packet: StartupPacket, _ pipelined: [UInt8]) {
        disarmDeadline()
        guard let tenant = try? TenantName(chosenBy: packet) else { return reject(.unreadable) }
        asked = pipelined
        session.admitted(Arrival(packet: packet, tenant: tenant, user: packet.user, pipelined: pipelined))
        arm(after: Limits.waitNoticeDelay)
        ask()
    }

    private mutating func cancel(_ key: CancelKey) {
        guard chance.happens(60) else {
            session.closed()
            return close()
        }
        let backend = connectBackend(Script.silence(&chance))
        session.cancelStarted(Cancellation(backend: backend, key: key))
        arm(after: Limits.cancelDeadline)
    }

    private mutating func endFrontend() {
        note("client: end")
        frontend.end()
        perform(session.frontendEnded())
    }

    private mutating func failFrontend() {
        guard frontend.canFail, !isReaped else { return }
        note("client: reset")
        mayLoseAnswer = true
        frontend.fail()
        perform(session.frontendFailed())
    }

    private mutating func frontendLeaves() {
        frontend.leave()
        let action = session.frontendSent()
        tally(action)
        switch action {
        case .none: break
        case .readBackend(let backend): change(backend) { $0.receive() }
        case .keepFlushing: arm(after: Limits.flushDeadline)
        case .keepFinishing: arm(after: Limits.abandonDeadline)
        case .linger: linger()
        case .close: close()
        case .advanceConsole: complain("nobody opened a console")
        }
    }

    private mutating func perform(_ action: Session.FrontendGoneAction) {
        tally(action)
        switch action {
        case .none: break
        case .close: close()
        case .leaveQueue:
            if !isWaiting { complain("left a queue it did not stand in") }
            isWaiting = false
            close()
        case .returnLease(let instance):
            returnLease(instance)
            close()
        case .giveUp(let attempt):
            change(attempt.backend) { $0.close() }
            returnLease(attempt.lease.instance)
            close()
        case .abandon(let backend): abandon(backend)
        case .keepBackend(let relay): keep(relay)
        case .finishBackend(let backend): change(backend) { $0.finish() }
        case .finishTerminated(let backend):
            change(backend) { $0.finish() }
            arm(after: Limits.abandonDeadline)
        }
    }
}

// MARK: - The lease and the backend

extension SessionWorld {
    private mutating func answerWaiter() {
        isWaiting = false
        guard isSettling || chance.happens(92) else { return reject(.unreadable) }
        let instance = InstanceID(instances)
        lease = instance
        let lease = Lease(instance: instance, giveUpAt: now + Limits.backendConnectDeadline)
        note("granted \(instance.raw)")
        session.granted(lease)
        connect(lease)
    }

    private mutating func connect(_ lease: Lease) {
        guard now < lease.giveUpAt else {
            returnLease(lease.instance)
            return reject(.notAnswering(after: Limits.backendConnectDeadline))
        }
        guard chance.happens(98) else {
            returnLease(lease.instance)
            return reject(.outOfDescriptors("none"))
        }
        let backend = connectBackend(isTidy ? Script.tidyBackend : Script.backend(&chance))
        session.connecting(Attempt(lease: lease, backend: backend))
        arm(at: lease.giveUpAt)
    }

    private mutating func connectBackend(_ script: [UInt8]) -> Token {
        var stream = ModelStream(Token(raw: 0x2_0000_0000 + UInt64(backends.count)))
        stream.isConnected = false
        stream.inbound = script
        stream.inboundEnds = chance.happens(30)
        backends.append(stream)
        return stream.token
    }

    private mutating func connected(_ index: Int) {
        if !isSettling, chance.happens(5) { return failBackend(at: index) }
        note("backend \(index): connected")
        backends[index].isConnected = true
        backends[index].send(session.backendConnected())
        backends[index].receive()
        // A startup packet fits an empty socket.
        backendLeaves(index)
    }

    private mutating func deliverToBackend(_ index: Int) {
        let count = chance.happens(20) ? 100_000 : Int.random(in: 1...60, using: &chance)
        let bytes = backends[index].deliver(count)
        note("backend \(index): \(bytes.count) bytes")
        let action = session.backendReceived(bytes)
        switch action {
        case .forward:
            tally(action)
            answered += bytes
            send(bytes)
        case .forwardAndPause(let backend):
            tally(action)
            answered += bytes
            change(backend) { $0.disarm() }
            send(bytes)
        case .forwardNews(_, pausing: let backend):
            tally(action)
            answered += bytes
            if let backend { change(backend) { $0.disarm() } }
            send(bytes)
        case .none, .issueKey, .open, .settleRole, .pause, .refuse, .reject, .terminate: perform(action)
        }
    }

    private mutating func perform(_ action: Session.BackendReceivedAction) {
        tally(action)
        switch action {
        case .none, .forward, .forwardAndPause, .forwardNews: break
        case .issueKey(let key, _):
            let issued = CancelKey(processID: key.processID, secret: key.secret.map { ~$0 })
            perform(session.keyIssued(issued))
        case .open(let attempt, let arrival, let startup, let ready): open(attempt, arrival, startup, ready)
        case .settleRole(let attempt, _):
            change(attempt.backend) { $0.close() }
            disarmDeadline()
        case .pause(let attempt): pause(attempt)
        case .refuse(let answer, let attempt):
            change(attempt.backend) { $0.close() }
            returnLease(attempt.lease.instance)
            dismiss(with: answer)
        case .reject(let error, let attempt):
            change(attempt.backend) { $0.close() }
            returnLease(attempt.lease.instance)
            reject(error)
        case .terminate(let relay):
            count("backend violation")
            mayLoseAnswer = true
            abandon(relay.backend)
        }
    }

    private mutating func open(_ attempt: Attempt, _ arrival: Arrival, _ startup: BackendStartup, _ ready: [UInt8]) {
        disarmDeadline()
        if arrival.pipelined.count != asked.count || !begins(asked, with: arrival.pipelined) {
            complain("what the client sent ahead was changed")
        }
        var relay = Relay(backend: attempt.backend, instance: attempt.lease.instance)
        if case .violation = relay.backendReceived(ready) {
            change(attempt.backend) { $0.close() }
            returnLease(attempt.lease.instance)
            return reject(.unreadable)
        }
        preamble += startup.answer
        answered += ready
        send(startup.answer + ready)
        session.opened(relay, chance.happens(70) ? Situation.opening : nil)
        relayBackend = attempt.backend
        frontend.receive()
        guard !arrival.pipelined.isEmpty else { return }
        switch session.frontendReceived(arrival.pipelined) {
        case .forward(let backend), .forwardAndPause(let backend): sendToBackend(backend, arrival.pipelined)
        case .terminate(let relay, let error): terminate(relay, error)
        case .keepBackend(let relay): keep(relay)
        case .none, .declineEncryption, .admit, .cancel, .reject, .stopReading, .advanceConsole: break
        }
    }

    private mutating func answerRole() {
        guard chance.happens(50) else {
            guard let (answer, lease) = session.roleFailed() else { return complain("no role was waited for") }
            count("roleFailed")
            returnLease(lease.instance)
            return dismiss(with: answer)
        }
        guard let lease = session.roleSettled() else { return complain("no role was waited for") }
        connect(lease)
    }

    private mutating func pause(_ attempt: Attempt) {
        change(attempt.backend) { $0.close() }
        arm(at: min(now + Limits.backendRetryPause, attempt.lease.giveUpAt))
    }

    private mutating func endBackend(_ index: Int) {
        note("backend \(index): end")
        backends[index].end()
        performEnd(index)
    }

    private mutating func failBackend() {
        guard let index = backends.indices.last, backends[index].canFail else { return }
        failBackend(at: index)
    }

    private mutating func failBackend(at index: Int) {
        note("backend \(index): reset")
        backends[index].fail()
        performEnd(index)
    }

    private mutating func performEnd(_ index: Int) {
        let action = session.backendEnded()
        backends[index].close()
        tally(action)
        switch action {
        case .none: break
        case .pause(let attempt): pause(attempt)
        case .flush(let relay, let explain):
            if explain { speak(.instanceStopped("shop")) }
            frontend.finish()
            frontend.receive()
            arm(after: Limits.flushDeadline)
            returnLease(relay.instance)
            if explain { count("explained") }
        case .linger(let relay):
            frontend.finish()
            returnLease(relay.instance)
            linger()
        case .close(let relay):
            returnLease(relay.instance)
            close()
        case .closeCancel: close()
        case .returnLease(let instance):
            returnLease(instance)
            close()
        }
    }

    private mutating func backendLeaves(_ index: Int) {
        guard backends[index].canSend else { return }
        backends[index].leave()
        if session.backendSent() {
            count("readFrontend")
            frontend.receive()
        }
    }

    private mutating func stopInstance() {
        guard let instance = lease else { return }
        note("instance \(instance.raw) stopped")
        instances += 1
        let action = session.instanceStopped(instance)
        tally(action)
        switch action {
        case .none: for index in backends.indices { backends[index].inboundEnds = true }
        case .requeue(_, closing: let backend):
            if let backend { change(backend) { $0.close() } }
            returnLease(instance)
            disarmDeadline()
            ask()
        case .reject(closing: let backend):
            if let backend { change(backend) { $0.close() } }
            returnLease(instance)
            reject(.instanceStopped("shop"))
        }
    }
}

// MARK: - Endings and time

extension SessionWorld {
    private mutating func expire(at time: Duration) {
        note("deadline in \(session.stageWord)")
        now = max(now, time)
        deadline = nil
        let action = session.deadlineExpired()
        tally(action)
        switch action {
        case .none: break
        case .close:
            mayLoseAnswer = true
            close()
        case .closeCancel(let backend):
            change(backend) { $0.close() }
            close()
        case .reconnect(let lease): connect(lease)
        case .explainWait:
            let said = Backend.authenticationOk + ErrorMessage.shuttingDown.noticeResponse()
            preamble += said
            session.toldEarly()
            send(said)
        case .closeBackend(let backend, let instance):
            change(backend) { $0.close() }
            returnLease(instance)
            mayLoseAnswer = true
            close()
        case .giveUp(let attempt):
            change(attempt.backend) { $0.close() }
            returnLease(attempt.lease.instance)
            reject(.notAnswering(after: Limits.backendConnectDeadline))
        }
    }

    private mutating func terminate(_ relay: Relay, _ error: ErrorMessage) {
        count("terminate")
        // What the backend had not said by then is not said any more.
        change(relay.backend) { $0.close() }
        returnLease(relay.instance)
        if relay.isFrontendAtBoundary { speak(error) }
        frontend.finish()
        if session.frontendIsDrained { return linger() }
        frontend.receive()
        arm(after: Limits.flushDeadline)
    }

    private mutating func abandon(_ backend: Token) {
        mayLoseAnswer = true
        frontend.close()
        drain(backend)
    }

    private mutating func drain(_ backend: Token) {
        change(backend) { $0.finish() }
        change(backend) { $0.receive() }
        arm(after: Limits.abandonDeadline)
    }

    /// The backend is another session's from here on.
    private mutating func keep(_ relay: Relay) {
        let (questions, answers) = (Script.tags(of: asked), Script.tags(of: answered))
        let owed = 1 + questions.count { "QSF".utf8.contains($0) } - answers.count { $0 == UInt8(ascii: "Z") }
        if owed != 0 { complain("\(owed) answers are still owed by a backend that is kept") }
        if !Script.isBoundary(answered) { complain("a backend is kept in the middle of a message") }
        change(relay.backend) { $0.close() }
        reported.insert(relay.backend.raw)
        returnLease(relay.instance)
        close()
    }

    private mutating func reject(_ error: ErrorMessage) { dismiss(with: error.errorResponse()) }

    private mutating func dismiss(with bytes: [UInt8]) {
        preamble += bytes
        send(bytes)
        // Few bytes into an empty socket leave at once.
        while frontend.canSend { frontend.leave() }
        frontend.finish()
        session.rejected()
        linger()
    }

    private mutating func linger() {
        frontend.receive()
        arm(after: Limits.lingerDeadline)
    }

    private mutating func close() {
        disarmDeadline()
        if !frontend.queue.isEmpty, !mayLoseAnswer, relayBackend != nil {
            complain("closed over \(frontend.queue.count) sends that had not left")
        }
        frontend.close()
    }

    private mutating func report(_ token: Token) {
        reported.insert(token.raw)
        session.openDescriptors -= 1
        if session.openDescriptors == 0 {
            isReaped = true
            disarmDeadline()
        }
    }

    private mutating func ask() {
        if isWaiting || lease != nil { complain("asks for a lease beside another") }
        isWaiting = true
    }

    private mutating func returnLease(_ instance: InstanceID) {
        if lease != instance { complain("returns lease \(instance.raw), holds \(lease?.raw ?? 0)") }
        lease = nil
    }

    /// A message of the router's own, which may stand between two messages of the backend's only.
    private mutating func speak(_ error: ErrorMessage) {
        count("own error")
        if ownError != nil { complain("speaks twice") }
        if !Script.isBoundary(answered) { complain("speaks inside a message of the backend's") }
        ownError = error.errorResponse()
        send(error.errorResponse())
    }

    private mutating func send(_ bytes: [UInt8]) { if !bytes.isEmpty { frontend.send(bytes) } }

    private mutating func sendToBackend(_ token: Token, _ bytes: [UInt8]) {
        if token != relayBackend { complain("relays to a backend that is not its own") }
        change(token) { $0.send(bytes) }
    }

    private mutating func change(_ token: Token, _ body: (inout ModelStream) -> Void) {
        guard let index = backends.firstIndex(where: { $0.token == token }) else { return complain("no such backend") }
        body(&backends[index])
    }

    private mutating func arm(after wait: Duration) { arm(at: now + wait) }

    private mutating func arm(at time: Duration) {
        deadline = time
        session.deadline = Token(raw: 1)
    }

    private mutating func disarmDeadline() {
        deadline = nil
        session.deadline = nil
    }
}

// MARK: - What must always hold

extension SessionWorld {
    private mutating func check() {
        let streams = [frontend] + backends
        let open = streams.count { !reported.contains($0.token.raw) }
        if session.openDescriptors != open { complain("counts \(session.openDescriptors) descriptors of \(open)") }
        if streams.contains(where: { $0.queue.count > 3 }) { complain("a slow reader's sends are not bounded") }
        if backends.count(where: { !$0.isClosed }) > 1 { complain("two backends at once") }
        if isReaped { return }
        checkDeadline()
        checkReading()
    }

    /// Whoever may keep silent for ever has a deadline.
    private mutating func checkDeadline() {
        let needsOne: Bool
        switch session.stage {
        // It is told once what it waits for; after that only the pool's deadline runs.
        case .arriving(_, .queued): return
        case .frontendEnded: needsOne = session.relay.lastFrontendTag == Frontend.Tag.terminate
        case .awaitingStartup, .flushing, .cancelling, .lingering, .abandoning: needsOne = true
        case .arriving(_, .connecting), .arriving(_, .startingUp), .arriving(_, .pausing): needsOne = true
        case .arriving(_, .awaitingRole), .relaying, .console, .closed: needsOne = false
        }
        if needsOne != (deadline != nil) {
            complain("\(session.stageWord) with\(needsOne ? "out" : "") a deadline")
        }
    }

    /// Who is not read has a sink that will take something and say so.
    private mutating func checkReading() {
        guard let backend = backends.first(where: { $0.token == relayBackend }) else { return }
        switch session.stage {
        case .relaying:
            if !frontend.isArmed, backend.queue.isEmpty { complain("the client is not read for nothing") }
            if !backend.isArmed, frontend.queue.isEmpty { complain("the backend is not read for nothing") }
        case .frontendEnded:
            if !backend.isArmed, frontend.queue.isEmpty { complain("the backend is not read for nothing") }
        case .awaitingStartup, .arriving, .flushing, .cancelling, .console, .lingering, .abandoning, .closed: break
        }
    }

    private mutating func checkEnd() {
        if !isReaped { complain("not reaped in \(session.stageWord)") }
        if lease != nil { complain("its lease was not returned") }
        if isWaiting { complain("it still stands in the queue") }
        let toClient = preamble + answered + (ownError ?? [])
        if !begins(toClient, with: frontend.outbound) { complain("the client got something else") }
        if frontend.endIsRead, !mayLoseAnswer, frontend.outbound.count != toClient.count {
            complain("the client got not all")
        }
        guard let backend = backends.first(where: { $0.token == relayBackend }) else { return }
        // The startup packet came first.
        let relayed = Array(backend.outbound.dropFirst(Script.startupLength(backend.outbound)))
        if !begins(asked, with: relayed) { complain("the backend got something else") }
    }

    private mutating func complain(_ complaint: String) { complaints.append("✗ \(complaint)") }
    private mutating func note(_ event: String) {
        events.append("\(session.stageWord) | \(event)")
    }
    private mutating func tally(_ action: Any) { count(caseName(of: action)) }
    private mutating func count(_ kind: String) { counts[kind, default: 0] += 1 }
}

/// Without generic code, which is slow where nothing is optimised.
private func begins(_ whole: [UInt8], with part: [UInt8]) -> Bool {
    unsafe part.count <= whole.count && memcmp(whole, part, part.count) == 0
}

/// The name of an enum's case; what it carries is not spelled out for that.
private func caseName(of value: Any) -> String { Mirror(reflecting: value).children.first?.label ?? "\(value)" }

extension Session {
    fileprivate var stageWord: String {
        if case .arriving(_, let progress) = stage { caseName(of: progress) } else { caseName(of: stage) }
    }

    fileprivate var isWaitingForBackend: Bool { if case .arriving = stage { true } else { false } }
}
