import Logging
import Reactor
import TenantPool
import WireProtocol

// What a session decides about its backend, done.

extension Lane {
    mutating func backend(_ session: Token, _ token: Token, _ event: consuming Event) {
        switch consume event {
        case .received(let buffer): backendReceived(session, token, buffer)
        case .sent: backendSent(session)
        case .connected:
            sessions[session].way = nil
            let packet = sessions[session].backendConnected()
            reactor.send(copying: packet, to: token)
            reactor.receive(token)
        case .endOfStream: perform(session, sessions[session].backendEnded(), token)
        case .failed: perform(session, sessions[session].backendEnded(), token)
        case .closed: descriptorClosed(session)
        // What happens to other kinds of sources only, and what asks for nothing.
        default: break
        }
    }

    private mutating func backendReceived(_ session: Token, _ token: Token, _ buffer: consuming Buffer) {
        let action = buffer.withBytes { sessions[session].backendReceived($0, now: reactor.nanoseconds) }
        switch action {
        case .forward:
            pass(buffer, toFrontendOf: session)
        case .forwardAndPause(let backend):
            reactor.disarm(backend)
            pass(buffer, toFrontendOf: session)
        case .forwardNews(let instance, let paused):
            // Before the client knows, and before anybody can connect because of it.
            outdateBackends(of: instance)
            if let paused { reactor.disarm(paused) }
            pass(buffer, toFrontendOf: session)
        case .none, .issueKey, .open, .settleRole, .pause, .refuse, .reject, .terminate:
            perform(session, action)
        }
    }

    private mutating func pass(_ buffer: consuming Buffer, toFrontendOf session: Token) {
        if reactor.pass(buffer, to: sessions[session].frontend) { frontendSent(session) }
    }

    /// What a backend's startup, or its end, asks for: rare beside relayed bytes.
    private mutating func perform(_ session: Token, _ action: Session.BackendReceivedAction) {
        switch action {
        case .none, .forward, .forwardAndPause, .forwardNews: break
        case .issueKey(let key, let instance):
            let issued = commons.issue(for: key, of: instance, session: sessions[session].number)
            perform(session, sessions[session].keyIssued(issued))
        case .open(let attempt, let arrival, let startup, let ready):
            open(session, attempt, arrival, startup, ready: ready)
        case .settleRole(let attempt, let user):
            reactor.close(attempt.backend)
            disarmDeadline(session)
            report(.roleWanted(id(session), user: user, attempt.lease.instance))
        case .pause(let attempt): pause(session, attempt)
        case .refuse(let answer, let attempt):
            withdraw(attempt)
            dismiss(session, with: answer)
        case .reject(let error, let attempt):
            withdraw(attempt)
            reject(session, error)
        case .terminate(let relay):
            log.warning("a backend's frames are broken; its session ends", metadata: metadata(session))
            abandon(session, relay.backend)
        }
    }

    /// ReadyForQuery: the client gets what the backend said so far in one piece, and the relay begins.
    private mutating func open(
        _ session: Token, _ attempt: Attempt, _ arrival: Arrival, _ startup: BackendStartup, ready: [UInt8]
    ) {
        var relay = Relay(backend: attempt.backend, instance: attempt.lease.instance)
        // The startup's ReadyForQuery answers no query.
        var uncounted = Meter()
        if case .violation = unsafe relay.backendReceived(ready.span.bytes, &uncounted, now: 0) {
            withdraw(attempt)
            return reject(session, .backendViolation("its framing is broken behind ReadyForQuery"))
        }
        let opening = opening(attempt, arrival, startup, ready: ready)
        sessions[session].opened(relay, opening, waited: waitTime(of: session))
        metrics.backendConnected(after: reactor.now + Limits.backendConnectDeadline - attempt.lease.giveUpAt)
        begin(session, relay, arrival, startup.answer, ready: ready)
    }

    /// How long a client has waited for the backend that it is being given, in nanoseconds.
    func waitTime(of session: Token) -> Int64 {
        sessions[session].label.waitsSince.map { (reactor.now - $0).inMicroseconds * 1000 } ?? 0
    }

    /// The session has its backend.
    mutating func begin(_ session: Token, _ relay: Relay, _ arrival: Arrival, _ answer: [UInt8], ready: [UInt8]) {
        disarmDeadline(session)
        let isNew = commons.takeNews(of: arrival.tenant)
        tell(session, answer + (isNew ? ErrorMessage.createdDatabase(arrival.tenant).noticeResponse() : []) + ready)
        inspectBackend(relay.backend, of: session)
        waitEnded(session, .served)
        log.debug("session opened", metadata: metadata(session))
        reactor.receive(sessions[session].frontend)
        if !arrival.pipelined.isEmpty { relayPipelined(session, arrival.pipelined) }
    }

    /// What the client sent ahead of ReadyForQuery, now that there is somebody to read it.
    private mutating func relayPipelined(_ session: Token, _ bytes: [UInt8]) {
        switch unsafe sessions[session].frontendReceived(bytes.span.bytes, now: reactor.nanoseconds) {
        case .forward(let backend), .forwardAndPause(let backend): reactor.send(copying: bytes, to: backend)
        case .terminate(let relay, let error): protocolBroken(session, relay, error)
        case .keepBackend(let relay): leave(session, relay)
        case .none, .declineEncryption, .admit, .cancel, .reject, .stopReading, .advanceConsole: break
        }
    }

    /// The instance is recovering, or closed the connection unasked: the client waits a moment for another try.
    private mutating func pause(_ session: Token, _ attempt: Attempt) {
        reactor.close(attempt.backend)
        arm(session, at: min(reactor.now + Limits.backendRetryPause, attempt.lease.giveUpAt))
    }

    private mutating func perform(_ session: Token, _ action: Session.BackendEndedAction, _ backend: Token) {
        reactor.close(backend)
        backendLeft(session)
        switch action {
        case .none: break
        case .pause(let attempt): pause(session, attempt)
        case .flush(let relay, let explain):
            if explain {
                metrics.sent(.adminShutdown)
                tell(session, ErrorMessage.instanceStopped(sessions[session].label.tenant).errorResponse())
            }
            reactor.finish(sessions[session].frontend)
            reactor.receive(sessions[session].frontend)
            arm(session, after: Limits.flushDeadline)
            returnLease(of: relay.instance)
        case .linger(let relay):
            reactor.finish(sessions[session].frontend)
            returnLease(of: relay.instance)
            linger(session)
        case .close(let relay):
            returnLease(of: relay.instance)
            close(session)
        case .closeCancel: close(session)
        case .returnLease(let instance):
            returnLease(of: instance)
            close(session)
        }
    }

    /// The instance of this session, if it is this one, is gone or about to be.
    mutating func instanceStopped(_ session: Token, _ id: InstanceID) {
        switch sessions[session].instanceStopped(id) {
        case .none: break
        case .requeue(let tenant, closing: let backend):
            if let backend { reactor.close(backend) }
            returnLease(of: id)
            disarmDeadline(session)
            report(.leaseRequested(self.id(session), tenant, user: sessions[session].label.user))
        case .reject(closing: let backend):
            if let backend { reactor.close(backend) }
            returnLease(of: id)
            reject(session, .instanceStopped(sessions[session].label.tenant))
        }
    }
}
