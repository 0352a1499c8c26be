import Logging
import Reactor
import TenantPool

// What all sessions of a lane have: a deadline, a name, a line in the log.

extension Lane {
    /// Every session, one after the other, while they change.
    mutating func forEachSession(_ body: (inout Lane, Token) -> Void) {
        var slot: UInt32 = 0
        while let session = sessions.first(from: slot) {
            body(&self, session)
            slot = session.slot + 1
        }
    }

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

    mutating func arm(_ session: Token, at time: Duration) {
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
    func isQueued(_ session: Token) -> Bool {
        guard sessions.contains(session), case .arriving(_, .queued) = sessions[session].stage else { return false }
        return true
    }

    /// Whoever held it has gone, and so has the backend.
    mutating func returnLease(of instance: InstanceID) { report(.leaseReturned(instance)) }

    /// Who has waited for long is worth a line once the wait is over.
    mutating func waitEnded(_ session: Token, _ outcome: ClientMetrics.Wait) {
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
