import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

/// One frontend and its backend, from accept to close. Events are past facts; each returns what is to be done about it,
/// and `Router` does it.
///
///     awaitingStartup ─ startup packet ─▶ arriving ─ ReadyForQuery ─▶ relaying ─ backend ended ─▶ flushing ─▶ lingering
///            │                               │                           │ ╲                                     │
///            │                               │                           │  frontendEnded ── backend ended ──────┤
///      cancel request                    refused                 frontend failed                                 │
///            ▼                               ▼                           ▼                                       ▼
///        cancelling ────────────────────▶ lingering ──────────────▶ abandoning ── backend ended ────────────▶ closed
///
/// Within `arriving`:
///
///     queued ─ lease ─▶ connecting ─▶ startingUp ─ 28000 ─▶ awaitingRole ─ created ─▶ connecting
///                            ▲ ╰─ 57P03, refused ─▶ pausing ─╯
struct Session {
    /// Counts from 1; log lines carry it.
    let number: UInt64
    let entrance: Entrance
    /// Known as soon as the reactor has taken the accepted descriptor.
    private(set) var frontend = Token(raw: 0)
    private(set) var stage: Stage = .awaitingStartup(StartupReader())
    /// Beside the stage, which could only be replaced whole: every message moves it. It means something from the stage
    /// `relaying` on.
    private(set) var relay = Relay.none
    private(set) var meter = Meter()
    /// Sends to the client from before the relay that are not reported yet: they leave before its own.
    private var earlySends = 0
    /// Who is at the other end, for log lines and listings. No decision depends on it.
    var label = SessionLabel()
    /// The one deadline that runs for this session.
    var deadline: Token?
    /// Its instance's socket while a backend is being connected: where the backlog is full, that is tried again.
    var way: InstanceSocket?
    /// Whether it counts towards the limit of clients: from its startup packet on.
    private(set) var isAdmitted = false
    /// Whether it counts towards the places of the console.
    private(set) var isConsole = false
    /// What its backend was opened with, while another session may have it after this one.
    private(set) var opening: Opening?
    /// The instance's epoch when its backend was connected. It means something while the session has that backend: from
    /// `connecting` on, until the backend has gone.
    private(set) var epoch: UInt64 = 0
    /// Descriptors of this session that are not reported closed yet: at zero it is reaped.
    var openDescriptors = 1

    /// The stages before the relay live in boxes; the relay itself stands beside them.
    enum Stage {
        indirect case awaitingStartup(StartupReader)
        /// The client has named its tenant and gets a backend.
        indirect case arriving(Arrival, Progress)
        case relaying
        /// The client has sent its last byte; what the backend still answers goes to it.
        case frontendEnded
        /// The backend has gone; its last bytes are on their way to the client.
        case flushing(then: Flushed)
        indirect case cancelling(Cancellation)
        /// The client talks to the router itself.
        indirect case console(ConsoleSession)
        /// The client was told the end and is given the time to read it.
        case lingering
        /// The client has gone; the lease is returned when the backend has gone too.
        case abandoning(backend: Token, InstanceID)
        case closed
    }

    enum Progress {
        case queued
        case connecting(Attempt)
        case startingUp(Attempt, BackendStartup)
        /// The instance was not ready for a connection; the next try is a moment away.
        case pausing(Lease)
        /// PostgreSQL does not know the client's role; `refusal` is what it said.
        case awaitingRole(Lease, refusal: [UInt8])
    }

    /// What follows when the last bytes have left.
    enum Flushed { case linger, close }

    /// Which listener it came by.
    enum Entrance { case clients, control }

    init(number: UInt64, entrance: Entrance = .clients) {
        self.number = number
        self.entrance = entrance
    }

    mutating func accepted(_ frontend: Token) { self.frontend = frontend }
}

/// A client that wants a session with a tenant.
struct Arrival {
    let packet: StartupPacket
    let tenant: TenantName
    let user: String
    /// What the client sent behind its startup packet: it goes to the backend behind ReadyForQuery.
    var pipelined: [UInt8]
    /// Whether a missing role was dealt with already: a second `28000` is PostgreSQL's own answer.
    var roleIsSettled = false
    /// Whether an instance stopped under this client before it had a session: it is given another one once.
    var isRequeued = false
    /// Whether the client was sent AuthenticationOk by the router, which had something to say before there was a
    /// backend.
    var isGreeted = false

    /// Whether the router may speak before the backend does: a client that asks for more than protocol 3.0 expects the
    /// backend's NegotiateProtocolVersion first.
    var mayBeGreeted: Bool {
        packet.version == .v3_0 && !packet.parameters.contains { $0.name.starts(with: "_pq_.".utf8) }
    }
}

/// The right to an instance, while a backend is being connected.
struct Lease {
    let instance: InstanceID
    /// When the client is told that the instance does not answer.
    let giveUpAt: Duration
}

/// One connection that is being made under a lease.
struct Attempt {
    let lease: Lease
    let backend: Token
    /// The instance's epoch when it began: see `KeptBackends`.
    var epoch: UInt64 = 0
}

/// A cancel request on its way to the backend that it means.
struct Cancellation {
    let backend: Token
    let key: CancelKey
}

/// What log lines and listings say of a session.
struct SessionLabel {
    var address = ""
    var tenant = ""
    var user = ""
    var application = ""
    /// On the reactor's clock.
    var connectedAt = Duration.zero
    /// From the startup packet until it is served, refused or gone; on the reactor's clock.
    var waitsSince: Duration?
}

// MARK: - The frontend's facts

extension Session {
    /// What is rare stands in a box, so that what every message gives fits into registers.
    enum FrontendReceivedAction {
        case none
        /// One byte: neither TLS nor GSS encryption is offered.
        case declineEncryption
        indirect case admit(StartupPacket, pipelined: [UInt8])
        indirect case cancel(CancelKey)
        indirect case reject(Rejection)
        /// The client sends more ahead than is kept for it: it is not read until the relay begins.
        case stopReading
        case forward(Token)
        case forwardAndPause(Token)
        /// The frames are broken in the middle of the relay: the backend is closed, the lease goes back, and the client is told
        /// if the backend is not in the middle of a message.
        indirect case terminate(Relay, ErrorMessage)
        /// The client says goodbye to a backend that another one may have.
        indirect case keepBackend(Relay)
        /// The console may have something to do.
        case advanceConsole
    }

    /// - Parameter now: nanoseconds of the reactor's clock, for what is counted.
    mutating func frontendReceived(_ bytes: RawSpan, now: Int64) -> FrontendReceivedAction {
        switch stage {
        case .relaying:
            if relay.isTerminate(bytes), mayKeepBackend {
                meter.frontendReceived(byteCount: bytes.byteCount, messages: 1, now: now)
                return .keepBackend(released())
            }
            switch relay.frontendReceived(bytes, &meter, now: now) {
            case .forward: return .forward(relay.backend)
            case .forwardAndPause: return .forwardAndPause(relay.backend)
            case .violation(let violation): return .terminate(ended(), violation.error)
            }
        case .awaitingStartup(var reader):
            reader.append(bytes)
            let action = Self.read(&reader)
            stage = .awaitingStartup(reader)
            return action
        case .arriving(var arrival, let progress):
            unsafe bytes.withUnsafeBytes { unsafe arrival.pipelined.append(contentsOf: $0) }
            stage = .arriving(arrival, progress)
            return arrival.pipelined.count > Limits.pipelinedBytes ? .stopReading : .none
        case .console(var console):
            console.received(bytes)
            stage = .console(console)
            return .advanceConsole
        case .frontendEnded, .flushing, .cancelling, .lingering, .abandoning, .closed:
            return .none
        }
    }

    private var mayKeepBackend: Bool { opening != nil && earlySends == 0 && relay.leavesNothing }

    /// The backend is the session's no more; nothing is owed to the client.
    private mutating func released() -> Relay {
        stage = .closed
        openDescriptors -= 1
        return relay
    }

    /// The relay ends here, with a last message of the router's where one fits; what is on its way to the client is still
    /// delivered.
    private mutating func ended() -> Relay {
        if relay.isFrontendAtBoundary { relay.countSendToFrontend() }
        stage = frontendIsDrained ? .lingering : .flushing(then: .linger)
        return relay
    }

    private static func read(_ reader: inout StartupReader) -> FrontendReceivedAction {
        switch reader.next() {
        case .needsMore: .none
        case .packet(.sslRequest), .packet(.gssEncRequest): .declineEncryption
        case .packet(.cancel(let key)): .cancel(key)
        case .packet(.startup(let packet)): .admit(packet, pipelined: reader.takeLeftover())
        case .violation(let violation): .reject(Rejection(violation))
        }
    }

    enum FrontendGoneAction {
        case none
        /// Nothing but the client's own descriptor depends on it.
        case close
        case leaveQueue
        case returnLease(InstanceID)
        /// Its backend has not answered yet.
        case giveUp(Attempt)
        /// The backend reads the end of stream too; what it still says is discarded until it has gone.
        case abandon(Token)
        /// Another client may have the backend, which is idle.
        case keepBackend(Relay)
        /// The backend reads the end of stream too, and may still answer what was asked before.
        case finishBackend(Token)
        /// The same after Terminate: there is a limit to how long a backend may take to go.
        case finishTerminated(Token)
    }

    /// The client has sent its last byte. Before the relay that means it has lost interest.
    mutating func frontendEnded() -> FrontendGoneAction {
        switch stage {
        case .relaying:
            if mayKeepBackend { return .keepBackend(released()) }
            stage = .frontendEnded
            return relay.lastFrontendTag == Frontend.Tag.terminate
                ? .finishTerminated(relay.backend) : .finishBackend(relay.backend)
        case .flushing:
            stage = .flushing(then: .close)
            return .none
        case .frontendEnded:
            return .none
        case .awaitingStartup, .arriving, .cancelling, .console, .lingering, .abandoning, .closed:
            return frontendFailed()
        }
    }

    /// The client's connection is broken in both directions.
    mutating func frontendFailed() -> FrontendGoneAction {
        switch stage {
        case .relaying, .frontendEnded:
            stage = .abandoning(backend: relay.backend, relay.instance)
            return .abandon(relay.backend)
        case .arriving(_, .connecting(let attempt)):
            stage = .closed
            return .giveUp(attempt)
        case .arriving(_, .startingUp(let attempt, _)):
            stage = .abandoning(backend: attempt.backend, attempt.lease.instance)
            return .abandon(attempt.backend)
        case .arriving(_, .pausing(let lease)), .arriving(_, .awaitingRole(let lease, refusal: _)):
            stage = .closed
            return .returnLease(lease.instance)
        case .arriving(_, .queued):
            stage = .closed
            return .leaveQueue
        case .awaitingStartup, .flushing, .console, .lingering:
            stage = .closed
            return .close
        case .cancelling, .abandoning, .closed:
            // A cancel request is carried out although its sender did not wait.
            return .none
        }
    }

    enum FrontendSentAction {
        case none
        case readBackend(Token)
        /// The client takes its last bytes, but has not taken them all.
        case keepFlushing
        /// The same while the backend may still have more for it.
        case keepFinishing
        /// The last bytes have left.
        case linger
        case close
        /// The console's reply has left.
        case advanceConsole
    }

    /// The client is told something before the relay begins, in one send.
    mutating func toldEarly() { earlySends += 1 }

    /// Whether everything meant for the client has been handed to the kernel.
    var frontendIsDrained: Bool { earlySends == 0 && relay.frontendIsDrained }

    mutating func frontendSent() -> FrontendSentAction {
        let isEarly = earlySends > 0
        if isEarly { earlySends -= 1 }
        switch stage {
        case .relaying:
            return !isEarly && relay.frontendSent() ? .readBackend(relay.backend) : .none
        case .frontendEnded:
            if !isEarly && relay.frontendSent() { return .readBackend(relay.backend) }
            return relay.lastFrontendTag == Frontend.Tag.terminate ? .keepFinishing : .none
        case .flushing(then: let next):
            if !isEarly { _ = relay.frontendSent() }
            return frontendIsDrained ? flushed(next) : .keepFlushing
        case .console where isEarly: return .none
        case .console(var console):
            console.sent()
            stage = .console(console)
            return .advanceConsole
        case .awaitingStartup, .arriving, .cancelling, .lingering, .abandoning, .closed:
            return .none
        }
    }

    private mutating func flushed(_ next: Flushed) -> FrontendSentAction {
        switch next {
        case .linger:
            stage = .lingering
            return .linger
        case .close:
            stage = .closed
            return .close
        }
    }
}

// MARK: - The lease's facts

extension Session {
    /// The startup packet named a tenant; a lease was asked for.
    mutating func admitted(_ arrival: Arrival) {
        isAdmitted = true
        stage = .arriving(arrival, .queued)
    }

    /// A cancel request with a right key is on its way to its backend.
    mutating func cancelStarted(_ cancellation: Cancellation) {
        stage = .cancelling(cancellation)
        openDescriptors += 1
    }

    /// The pool's answer is yes.
    mutating func granted(_ lease: Lease) {
        guard case .arriving(let arrival, .queued) = stage else { return }
        stage = .arriving(arrival, .pausing(lease))
    }

    /// Under a lease, a backend is being connected.
    mutating func connecting(_ attempt: Attempt) {
        guard case .arriving(let arrival, _) = stage else { return }
        stage = .arriving(arrival, .connecting(attempt))
        epoch = attempt.epoch
        openDescriptors += 1
    }

    /// The role exists now. Whether it did before cannot be told from here, as another session may have been quicker,
    /// so the client is connected once more: if it is refused again, that is PostgreSQL's own answer.
    ///
    /// - Returns: the lease to connect under; nil for a client that does not wait for its role any more.
    mutating func roleSettled() -> Lease? {
        guard case .arriving(var arrival, .awaitingRole(let lease, refusal: _)) = stage else { return nil }
        arrival.roleIsSettled = true
        stage = .arriving(arrival, .pausing(lease))
        return lease
    }

    /// The role could not be created.
    ///
    /// - Returns: PostgreSQL's answer to the client, and the lease; nil for a client that does not wait for its role
    ///   any more.
    func roleFailed() -> (refusal: [UInt8], Lease)? {
        guard case .arriving(_, .awaitingRole(let lease, let refusal)) = stage else { return nil }
        return (refusal, lease)
    }

    /// The client talks to the router itself.
    mutating func consoleOpened(_ console: ConsoleSession) {
        isConsole = true
        stage = .console(console)
    }

    /// What the console wants to be done.
    mutating func nextConsoleAction() -> ConsoleSession.Action {
        guard case .console(var console) = stage else { return .wait }
        let action = console.next()
        stage = .console(console)
        return action
    }

    /// A command of the console's has been done. False where nobody waits for that any more.
    mutating func consoleAnswered(_ result: Result<ConsoleSession.Answer, ErrorMessage>) -> Bool {
        guard case .console(var console) = stage else { return false }
        console.answered(result)
        stage = .console(console)
        return true
    }

    /// The client was sent the reason and that nothing more will come.
    mutating func rejected() { stage = .lingering }

    /// Nothing is owed to the client any more.
    mutating func closed() { stage = .closed }
}

// MARK: - The backend's facts

extension Session {
    /// The connection stands: answers what the backend is to be sent, the startup packet as it came or a cancel
    /// request.
    mutating func backendConnected() -> [UInt8] {
        switch stage {
        case .arriving(let arrival, .connecting(let attempt)):
            stage = .arriving(arrival, .startingUp(attempt, BackendStartup(isGreeted: arrival.isGreeted)))
            return arrival.packet.bytes
        case .cancelling(let cancellation):
            return Frontend.cancelRequest(cancellation.key)
        case .awaitingStartup, .arriving, .relaying, .frontendEnded, .flushing, .console, .lingering, .abandoning,
            .closed:
            return []
        }
    }

    /// What is rare stands in a box, as with the frontend's.
    enum BackendReceivedAction {
        case none
        case forward
        case forwardAndPause(Token)
        /// Pass it on, and stop reading the backend if it is named: what new backends of this instance are given has
        /// changed.
        case forwardNews(of: InstanceID, pausing: Token?)
        /// The backend's key must be replaced; `keyIssued` goes on from there.
        indirect case issueKey(CancelKey, of: InstanceID)
        indirect case open(Attempt, Arrival, BackendStartup, ready: [UInt8])
        indirect case settleRole(Attempt, user: String)
        indirect case pause(Attempt)
        indirect case refuse([UInt8], Attempt)
        indirect case reject(ErrorMessage, Attempt)
        indirect case terminate(Relay)
    }

    /// - Parameter now: nanoseconds of the reactor's clock, for what is counted.
    mutating func backendReceived(_ bytes: RawSpan, now: Int64) -> BackendReceivedAction {
        switch stage {
        case .relaying, .frontendEnded:
            let decision = relay.backendReceived(bytes, &meter, now: now)
            return follow(decision, hasNews: relay.takeNews())
        case .arriving(let arrival, .startingUp(let attempt, var startup)):
            startup.append(bytes)
            return digest(&startup, arrival, attempt)
        case .arriving, .awaitingStartup, .flushing, .cancelling, .console, .lingering, .abandoning, .closed:
            return .none
        }
    }

    private mutating func follow(_ decision: Relay.Decision, hasNews: Bool) -> BackendReceivedAction {
        switch decision {
        case .forward where hasNews: return .forwardNews(of: relay.instance, pausing: nil)
        case .forwardAndPause where hasNews: return .forwardNews(of: relay.instance, pausing: relay.backend)
        case .forward: return .forward
        case .forwardAndPause: return .forwardAndPause(relay.backend)
        case .violation:
            stage = .abandoning(backend: relay.backend, relay.instance)
            return .terminate(relay)
        }
    }

    /// The client's own key is made.
    mutating func keyIssued(_ key: CancelKey) -> BackendReceivedAction {
        guard case .arriving(let arrival, .startingUp(let attempt, var startup)) = stage else { return .none }
        startup.answer(withKey: key)
        return digest(&startup, arrival, attempt)
    }

    private mutating func digest(
        _ startup: inout BackendStartup, _ arrival: Arrival, _ attempt: Attempt
    ) -> BackendReceivedAction {
        let outcome = startup.next()
        stage = .arriving(arrival, .startingUp(attempt, startup))
        switch outcome {
        case .needsMore:
            return .none
        case .keyReceived(let key):
            return .issueKey(key, of: attempt.lease.instance)
        case .ready(let ready):
            return .open(attempt, arrival, startup, ready: ready)
        case .refused(let error) where error.sqlState == .cannotConnectNow:
            stage = .arriving(arrival, .pausing(attempt.lease))
            return .pause(attempt)
        case .refused(let error) where error.sqlState == .invalidAuthorization && !arrival.roleIsSettled:
            stage = .arriving(arrival, .awaitingRole(attempt.lease, refusal: startup.answer))
            return .settleRole(attempt, user: arrival.user)
        case .refused:
            return .refuse(startup.answer, attempt)
        case .violation(let what):
            return .reject(.backendViolation(what), attempt)
        }
    }

    /// The relay begins, so many nanoseconds after the startup packet.
    mutating func opened(_ relay: Relay, _ opening: Opening? = nil, waited: Int64 = 0) {
        self.relay = relay
        stage = .relaying
        self.opening = opening
        meter.opened(waited: waited)
    }

    /// The same with a backend that was another session's.
    mutating func reopened(_ relay: Relay, _ opening: Opening, waited: Int64) {
        openDescriptors += 1
        epoch = opening.epoch
        opened(relay, opening, waited: waited)
    }

    /// What was counted since it was last taken.
    mutating func takeTraffic() -> Traffic { meter.take() }

    /// The instance in which something of this session's may have come into effect without a word, should its backend go
    /// now.
    var unheard: InstanceID? {
        relay.backend != Relay.none.backend && relay.traces.mayHideNews ? relay.instance : nil
    }

    enum BackendEndedAction {
        case none
        /// The instance closed a connection that was not ready yet.
        case pause(Attempt)
        /// The lease goes back; the client gets what is still on its way, after an explanation if nobody gave one.
        case flush(Relay, explain: Bool)
        /// The lease goes back; the client has been handed everything.
        case linger(Relay)
        case close(Relay)
        case closeCancel
        case returnLease(InstanceID)
    }

    mutating func backendEnded() -> BackendEndedAction {
        switch stage {
        case .arriving(let arrival, .connecting(let attempt)), .arriving(let arrival, .startingUp(let attempt, _)):
            stage = .arriving(arrival, .pausing(attempt.lease))
            return .pause(attempt)
        case .relaying:
            let explains = relay.mayExplainEnd
            if explains { relay.countSendToFrontend() }
            stage = frontendIsDrained ? .lingering : .flushing(then: .linger)
            return frontendIsDrained ? .linger(relay) : .flush(relay, explain: explains)
        case .frontendEnded:
            stage = frontendIsDrained ? .closed : .flushing(then: .close)
            return frontendIsDrained ? .close(relay) : .flush(relay, explain: false)
        case .cancelling:
            stage = .closed
            return .closeCancel
        case .abandoning(_, let instance):
            stage = .closed
            return .returnLease(instance)
        case .arriving, .awaitingStartup, .flushing, .console, .lingering, .closed:
            return .none
        }
    }

    /// A send to the backend has left: answers whether the frontend is to be read again.
    mutating func backendSent() -> Bool {
        guard case .relaying = stage else { return false }
        return relay.backendSent()
    }
}

extension Session {
    enum InstanceStoppedAction {
        case none
        /// Nothing has been said to the client yet: it waits for the tenant's next instance. The lease goes back.
        case requeue(TenantName, closing: Token?)
        /// It waited for the next one already. The lease goes back.
        case reject(closing: Token?)
    }

    /// An instance is gone or about to be. An established session hears it from its backend.
    mutating func instanceStopped(_ instance: InstanceID) -> InstanceStoppedAction {
        switch stage {
        case .arriving(let arrival, .connecting(let attempt)), .arriving(let arrival, .startingUp(let attempt, _)):
            attempt.lease.instance == instance ? lostInstance(arrival, closing: attempt.backend) : .none
        case .arriving(let arrival, .pausing(let lease)), .arriving(let arrival, .awaitingRole(let lease, refusal: _)):
            lease.instance == instance ? lostInstance(arrival, closing: nil) : .none
        case .arriving(_, .queued), .awaitingStartup, .relaying, .frontendEnded, .flushing, .cancelling, .console,
            .lingering, .abandoning, .closed:
            .none
        }
    }

    private mutating func lostInstance(_ arrival: Arrival, closing backend: Token?) -> InstanceStoppedAction {
        guard !arrival.isRequeued else { return .reject(closing: backend) }
        var arrival = arrival
        arrival.isRequeued = true
        stage = .arriving(arrival, .queued)
        return .requeue(arrival.tenant, closing: backend)
    }
}

extension Session {
    enum KilledAction {
        /// An established session: the backend is closed, the lease goes back, and the client is told if the backend is
        /// not in the middle of a message.
        case terminate(Relay)
        /// As if the client had left.
        case leave(FrontendGoneAction)
    }

    /// Whether the client waits for the router's word, and nothing else is on its way to it.
    var isListening: Bool {
        switch stage {
        case .arriving, .console: true
        case .awaitingStartup, .relaying, .frontendEnded, .flushing, .cancelling, .lingering, .abandoning, .closed:
            false
        }
    }

    /// Somebody wants it to end.
    mutating func killed() -> KilledAction {
        switch stage {
        case .relaying:
            return .terminate(ended())
        case .awaitingStartup, .arriving, .frontendEnded, .flushing, .cancelling, .console, .lingering, .abandoning,
            .closed:
            return .leave(frontendFailed())
        }
    }
}

// MARK: - Time

extension Session {
    enum DeadlineExpiredAction {
        case none
        case close
        case closeCancel(Token)
        case reconnect(Lease)
        case giveUp(Attempt)
        /// The client has waited for a while and is told what for.
        case explainWait(TenantName)
        /// The backend does not notice that its client has gone.
        case closeBackend(Token, InstanceID)
    }

    mutating func deadlineExpired() -> DeadlineExpiredAction {
        deadline = nil
        switch stage {
        case .awaitingStartup, .console, .lingering, .flushing:
            stage = .closed
            return .close
        case .cancelling(let cancellation):
            stage = .closed
            return .closeCancel(cancellation.backend)
        case .arriving(_, .pausing(let lease)):
            return .reconnect(lease)
        case .arriving(_, .connecting(let attempt)), .arriving(_, .startingUp(let attempt, _)):
            return .giveUp(attempt)
        case .abandoning(let backend, let instance):
            stage = .closed
            return .closeBackend(backend, instance)
        case .frontendEnded:
            stage = .closed
            return .closeBackend(relay.backend, relay.instance)
        case .arriving(var arrival, .queued) where arrival.mayBeGreeted && !arrival.isGreeted:
            arrival.isGreeted = true
            stage = .arriving(arrival, .queued)
            return .explainWait(arrival.tenant)
        case .arriving, .relaying, .closed:
            return .none
        }
    }
}
