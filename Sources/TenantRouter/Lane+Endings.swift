import Logging
import Reactor
import WireProtocol

// How sessions end: refused, broken off, killed, or with everything delivered.

extension Lane {
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

    /// The client reads why it gets no session, and then the end of the stream.
    mutating func reject(_ session: Token, _ error: ErrorMessage) { reject(session, Rejection(error)) }

    mutating func reject(_ session: Token, _ rejection: Rejection) {
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
    mutating func protocolBroken(_ session: Token, _ relay: Relay, _ error: ErrorMessage) {
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
    mutating func abandon(_ session: Token, _ backend: Token) {
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
    mutating func linger(_ session: Token) {
        reactor.receive(sessions[session].frontend)
        arm(session, after: Limits.lingerDeadline)
    }

    /// A backend that is not a session's yet is not wanted any more.
    mutating func withdraw(_ attempt: Attempt) {
        reactor.close(attempt.backend)
        returnLease(of: attempt.lease.instance)
    }

    mutating func close(_ session: Token) {
        noteAddress(of: session)
        disarmDeadline(session)
        reactor.close(sessions[session].frontend)
    }

    mutating func descriptorClosed(_ session: Token) {
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
