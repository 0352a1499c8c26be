import Logging
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// What sessions decide, done. Each function takes one fact to its session and does the action that comes back.

// MARK: - The frontend

extension Lane {
    mutating func frontend(_ session: Token, _ event: consuming Event) {
        switch consume event {
        case .received(let buffer): frontendReceived(session, buffer)
        case .sent: frontendSent(session)
        case .endOfStream: perform(session, sessions[session].frontendEnded())
        case .failed: perform(session, sessions[session].frontendFailed())
        case .closed: descriptorClosed(session)
        // What happens to other kinds of sources only, and what asks for nothing.
        default: break
        }
    }

    private mutating func frontendReceived(_ session: Token, _ buffer: consuming Buffer) {
        let action = buffer.withBytes { sessions[session].frontendReceived($0, now: reactor.nanoseconds) }
        switch action {
        case .forward(let backend):
            if reactor.pass(buffer, to: backend) { backendSent(session) }
        case .forwardAndPause(let backend):
            reactor.disarm(sessions[session].frontend)
            if reactor.pass(buffer, to: backend) { backendSent(session) }
        case .none: break
        case .declineEncryption: tellEarly(session, Backend.encryptionRefused)
        case .admit(let packet, let pipelined): admit(session, packet, pipelined: pipelined)
        case .cancel(let key): cancel(session, key)
        case .reject(let rejection): reject(session, rejection)
        case .stopReading: reactor.disarm(sessions[session].frontend)
        case .terminate(let relay, let error): protocolBroken(session, relay, error)
        case .keepBackend(let relay): leave(session, relay)
        case .advanceConsole: advanceConsole(session)
        }
    }

    private mutating func frontendSent(_ session: Token) { perform(session, sessions[session].frontendSent()) }

    private mutating func backendSent(_ session: Token) {
        if sessions[session].backendSent() { reactor.receive(sessions[session].frontend) }
    }

    /// The client goes, its backend may stay.
    private mutating func leave(_ session: Token, _ relay: Relay) {
        keepBackend(of: session, relay)
        close(session)
    }

    private mutating func perform(_ session: Token, _ action: Session.FrontendGoneAction) {
        switch action {
        case .none: break
        case .close: close(session)
        case .leaveQueue:
            report(.waiterLeft(id(session)))
            close(session)
        case .returnLease(let instance):
            returnLease(of: instance)
            close(session)
        case .giveUp(let attempt):
            withdraw(attempt)
            close(session)
        case .abandon(let backend):
            abandon(session, backend)
        case .keepBackend(let relay): leave(session, relay)
        case .finishBackend(let backend):
            reactor.finish(backend)
        case .finishTerminated(let backend):
            reactor.finish(backend)
            arm(session, after: Limits.abandonDeadline)
        }
    }

    private mutating func perform(_ session: Token, _ action: Session.FrontendSentAction) {
        switch action {
        case .none: break
        case .readBackend(let backend): reactor.receive(backend)
        case .keepFlushing: arm(session, after: Limits.flushDeadline)
        case .keepFinishing: arm(session, after: Limits.abandonDeadline)
        case .linger: linger(session)
        case .close: close(session)
        case .advanceConsole: advanceConsole(session)
        }
    }
}

// MARK: - Arriving

extension Lane {
    /// The startup packet is in: it names the tenant, and from here on the pool knows the client.
    private mutating func admit(_ session: Token, _ packet: StartupPacket, pipelined: [UInt8]) {
        disarmDeadline(session)
        sessions[session].label.address = address(of: session)
        sessions[session].label.application = packet["application_name"] ?? ""
        sessions[session].label.user = packet.user
        sessions[session].label.tenant = String((packet.database ?? packet.user).prefix(Limits.labelLength))
        if sessions[session].entrance == .control || packet.meansConsole {
            return admitConsole(session, packet, pipelined: pipelined)
        }
        guard packet.user != RouterSQL.role else { return reject(session, .reservedRole(packet.user)) }
        let name: TenantName
        do throws(ErrorMessage) {
            name = try TenantName(chosenBy: packet)
        } catch {
            return reject(session, error)
        }
        guard !commons.isDisabled(name) else { return reject(session, .disabled(name)) }
        if let limit = commons.admit() { return reject(session, .tooManyClients(limit: limit)) }
        sessions[session].label.tenant = name.string
        sessions[session].label.waitsSince = reactor.now
        let arrival = Arrival(packet: packet, tenant: name, user: packet.user, pipelined: pipelined)
        sessions[session].admitted(arrival)
        considerInspection(session, arrival)
        arm(session, after: Limits.waitNoticeDelay)
        report(.leaseRequested(id(session), name, user: packet.user))
    }

    /// Of a client that has not said what it wants, for the line about its end: then the kernel does not know any more.
    private mutating func noteAddress(of session: Token) {
        guard log.logLevel <= .debug, sessions[session].label.address.isEmpty else { return }
        sessions[session].label.address = address(of: session)
    }

    /// Where a client sits; on a Unix socket, who it is.
    private func address(of session: Token) -> String {
        let frontend = sessions[session].frontend
        guard let peer = reactor.peer(of: frontend) else { return "" }
        guard case .unix = peer else { return "\(peer)" }
        return reactor.credentials(of: frontend).map { "unix:uid=\($0.userID),pid=\($0.processID)" } ?? ""
    }

    /// A client that waits for long is told what for. libpq takes no NoticeResponse before AuthenticationOk, so that
    /// comes first.
    private mutating func explainWait(_ session: Token, _ tenant: TenantName) {
        tellEarly(session, Backend.authenticationOk)
        report(.waitsLong(id(session), tenant))
    }

    private mutating func tellEarly(_ session: Token, _ bytes: [UInt8]) {
        sessions[session].toldEarly()
        tell(session, bytes)
    }

    /// The centre knows what is waited for.
    mutating func waitExplained(_ session: Token, _ notice: ErrorMessage) {
        guard isQueued(session) else { return }
        tellEarly(session, notice.noticeResponse())
    }

    /// The pool's answer is yes.
    mutating func granted(_ session: Token, _ instance: InstanceID) {
        guard isQueued(session) else { return returnLease(of: instance) }
        if let since = sessions[session].label.waitsSince { metrics.granted(after: reactor.now - since) }
        let lease = Lease(instance: instance, giveUpAt: reactor.now + Limits.backendConnectDeadline)
        sessions[session].granted(lease)
        if !reuseBackend(session, lease) { connect(session, lease) }
    }

    /// The pool's answer is no.
    mutating func refused(_ session: Token, _ error: ErrorMessage) {
        guard isQueued(session) else { return }
        reject(session, error)
    }

    /// Connects a backend under a lease that is held already.
    private mutating func connect(_ session: Token, _ lease: Lease) {
        guard let socket = commons.instance(lease.instance)?.socket else {
            return instanceStopped(session, lease.instance)
        }
        guard reactor.now < lease.giveUpAt else {
            returnLease(of: lease.instance)
            return reject(session, .notAnswering(after: Limits.backendConnectDeadline))
        }
        guard makeRoom(in: lease.instance) else {
            return arm(session, at: min(reactor.now + Limits.keptBackendExitPause, lease.giveUpAt))
        }
        do throws(ReactorError) {
            // Read first: what happens while it connects makes it older.
            let epoch = commons.epoch(of: lease.instance)
            let backend = try reactor.connect(
                to: .unix(path: socket.path), owner: Owner(.backend, slot: session.slot).raw)
            sessions[session].connecting(Attempt(lease: lease, backend: backend, epoch: epoch))
            sessions[session].way = socket
            arm(session, at: lease.giveUpAt)
        } catch {
            returnLease(of: lease.instance)
            reject(session, .outOfDescriptors(error.description))
        }
    }

    /// The role that a client needs has been looked after, for better or worse.
    mutating func roleSettled(_ session: Token, _ outcome: RoleOutcome) {
        guard sessions.contains(session) else { return }
        switch outcome {
        case .created: reconnect(session)
        case .failed(let error): roleFailed(session, error)
        case .instanceStopped:
            guard let (_, lease) = sessions[session].roleFailed() else { return }
            instanceStopped(session, lease.instance)
        }
    }

    private mutating func reconnect(_ session: Token) {
        guard let lease = sessions[session].roleSettled() else { return }
        connect(session, lease)
    }

    /// PostgreSQL's answer to the client stands where the name cannot be a role's; what kept the router from making it
    /// one is said otherwise.
    private mutating func roleFailed(_ session: Token, _ error: ErrorMessage) {
        guard let (answer, lease) = sessions[session].roleFailed() else { return }
        returnLease(of: lease.instance)
        switch error.sqlState {
        case .tooManyConnections, .cannotConnectNow: reject(session, error)
        case .reservedName: dismiss(session, with: answer)
        default: reject(session, .roleNotCreated(sessions[session].label.user, because: error))
        }
    }
}

// MARK: - The backend

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
}

extension Lane {
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

extension Lane {
    /// Every session, one after the other, while they change.
    mutating func forEachSession(_ body: (inout Lane, Token) -> Void) {
        var slot: UInt32 = 0
        while let session = sessions.first(from: slot) {
            body(&self, session)
            slot = session.slot + 1
        }
    }

    /// The router is about to end: who has not become a session gets no more than the end of the stream.
    mutating func routerStopped(_ session: Token) {
        switch sessions[session].stage {
        case .awaitingStartup, .console:
            sessions[session].closed()
            close(session)
        case .arriving, .relaying, .frontendEnded, .flushing, .cancelling, .lingering, .abandoning, .closed: break
        }
    }

    /// An administrator ends it.
    mutating func killSession(_ session: Token) {
        let isListening = sessions[session].isListening
        switch sessions[session].killed() {
        case .terminate(let relay): terminate(session, relay, .killed)
        case .leave(let action):
            if isListening { tell(session, ErrorMessage.killed.errorResponse()) }
            perform(session, action)
        }
    }
}

// MARK: - Cancel requests

extension Lane {
    /// A right key is carried to its backend; a wrong one vanishes, as in PostgreSQL, and nobody learns which it was.
    private mutating func cancel(_ session: Token, _ key: CancelKey) {
        guard let target = commons.use(key), let instance = commons.instance(target.instance) else {
            sessions[session].closed()
            return close(session)
        }
        do throws(ReactorError) {
            let backend = try reactor.connect(
                to: .unix(path: instance.socket.path), owner: Owner(.backend, slot: session.slot).raw)
            sessions[session].cancelStarted(Cancellation(backend: backend, key: target.key))
            sessions[session].way = instance.socket
            considerInspection(session, cancelling: key, of: instance.tenant)
            arm(session, after: Limits.cancelDeadline)
        } catch {
            sessions[session].closed()
            close(session)
        }
    }
}

// MARK: - Endings

extension Lane {
    /// The client reads why it gets no session, and then the end of the stream.
    mutating func reject(_ session: Token, _ error: ErrorMessage) { reject(session, Rejection(error)) }

    private mutating func reject(_ session: Token, _ rejection: Rejection) {
        noteAddress(of: session)
        log.debug("client refused: \(rejection.reason)", metadata: metadata(session))
        metrics.sent(rejection.sqlState)
        dismiss(session, with: rejection.bytes)
    }

    mutating func dismiss(_ session: Token, with bytes: [UInt8]) {
        if !bytes.isEmpty { tell(session, bytes) }
        waitEnded(session, .refused)
        reactor.finish(sessions[session].frontend)
        sessions[session].rejected()
        linger(session)
    }

    /// The client broke the framing in the middle of its session: nothing after that can be understood.
    private mutating func protocolBroken(_ session: Token, _ relay: Relay, _ error: ErrorMessage) {
        log.warning("client breaks the protocol: \(error.message)", metadata: metadata(session))
        terminate(session, relay, error)
    }

    /// The session ends in its middle: what is on its way to the client is still delivered.
    private mutating func terminate(_ session: Token, _ relay: Relay, _ error: ErrorMessage) {
        reactor.close(relay.backend)
        backendLeft(session)
        returnLease(of: relay.instance)
        if relay.isFrontendAtBoundary {
            tell(session, error.errorResponse())
            metrics.sent(error.sqlState)
        }
        reactor.finish(sessions[session].frontend)
        if sessions[session].frontendIsDrained { return linger(session) }
        reactor.receive(sessions[session].frontend)
        arm(session, after: Limits.flushDeadline)
    }

    /// The client has gone and the backend learns it; the lease stays until the backend has gone too, so that the
    /// instance never holds more connections than the pool counts.
    private mutating func abandon(_ session: Token, _ backend: Token) {
        reactor.close(sessions[session].frontend)
        // Nobody is told what the backend still says.
        inspections.end(session)
        drain(session, backend)
    }

    /// Nothing of this backend is wanted any more; it has a while to notice.
    private mutating func drain(_ session: Token, _ backend: Token) {
        reactor.finish(backend)
        reactor.receive(backend)
        arm(session, after: Limits.abandonDeadline)
    }

    /// Gives the client the time to read its last message: closing with unread bytes would reset the connection under
    /// it.
    private mutating func linger(_ session: Token) {
        reactor.receive(sessions[session].frontend)
        arm(session, after: Limits.lingerDeadline)
    }

    /// A backend that is not a session's yet is not wanted any more.
    private mutating func withdraw(_ attempt: Attempt) {
        reactor.close(attempt.backend)
        returnLease(of: attempt.lease.instance)
    }

    mutating func close(_ session: Token) {
        noteAddress(of: session)
        disarmDeadline(session)
        reactor.close(sessions[session].frontend)
    }

    private mutating func descriptorClosed(_ session: Token) {
        sessions[session].openDescriptors -= 1
        guard sessions[session].openDescriptors == 0 else { return }
        reap(session)
    }

    /// The one place where sessions end.
    private mutating func reap(_ session: Token) {
        waitEnded(session, .left)
        log.debug("session closed", metadata: metadata(session))
        inspections.end(session)
        disarmDeadline(session)
        settleTraffic(of: session)
        guard let gone = sessions.remove(session) else { return }
        commons.left(gone, lane: index)
        if isClosing && sessions.count == 0 { report(.emptied) }
    }
}

// MARK: - Deadlines and names

extension Lane {
    mutating func sessionDeadlineExpired(_ session: Token) {
        switch sessions[session].deadlineExpired() {
        case .none: break
        case .close: close(session)
        case .closeCancel(let backend):
            reactor.close(backend)
            close(session)
        case .reconnect(let lease): connect(session, lease)
        case .explainWait(let tenant): explainWait(session, tenant)
        case .closeBackend(let backend, let instance):
            reactor.close(backend)
            backendLeft(session)
            returnLease(of: instance)
            close(session)
        case .giveUp(let attempt):
            withdraw(attempt)
            reject(session, .notAnswering(after: Limits.backendConnectDeadline))
        }
    }

    mutating func arm(_ session: Token, after wait: Duration) { arm(session, at: reactor.now + wait) }

    private mutating func arm(_ session: Token, at time: Duration) {
        disarmDeadline(session)
        sessions[session].deadline = reactor.deadline(at: time, owner: Owner(.sessionDeadline, slot: session.slot).raw)
    }

    mutating func disarmDeadline(_ session: Token) {
        guard let deadline = sessions[session].deadline else { return }
        reactor.cancel(deadline: deadline)
        sessions[session].deadline = nil
    }

    func id(_ session: Token) -> SessionID { SessionID(session, lane: index) }

    /// Whether the session still waits for this answer; a client may have left in the same tick.
    private func isQueued(_ session: Token) -> Bool {
        guard sessions.contains(session), case .arriving(_, .queued) = sessions[session].stage else { return false }
        return true
    }

    /// Whoever held it has gone, and so has the backend.
    mutating func returnLease(of instance: InstanceID) { report(.leaseReturned(instance)) }

    /// Who has waited for long is worth a line once the wait is over.
    private mutating func waitEnded(_ session: Token, _ outcome: ClientMetrics.Wait) {
        guard let since = sessions[session].label.waitsSince else { return }
        sessions[session].label.waitsSince = nil
        metrics.waitEnded(outcome)
        let waited = reactor.now - since
        guard waited > Limits.longWait else { return }
        var metadata = metadata(session)
        metadata["waited"] = "\(waited.inMilliseconds) ms"
        metadata["outcome"] = "\(outcome.rawValue)"
        log.info("client has waited", metadata: metadata)
    }

    /// What every line about a session carries. Before its startup packet the address is the only thing known.
    func metadata(_ session: Token) -> Logger.Metadata {
        let label = sessions[session].label
        let address = label.address.isEmpty ? address(of: session) : label.address
        var metadata: Logger.Metadata = ["session": "\(sessions[session].number)"]
        if !label.tenant.isEmpty { metadata["tenant"] = "\(label.tenant)" }
        if !label.user.isEmpty { metadata["user"] = "\(label.user)" }
        if !address.isEmpty { metadata["address"] = "\(address)" }
        return metadata
    }
}
