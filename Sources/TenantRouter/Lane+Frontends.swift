import Reactor
import WireProtocol

// What a session decides about its client, done. Each function takes one fact to its session and does the action that
// comes back.

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

    mutating func frontendSent(_ session: Token) { perform(session, sessions[session].frontendSent()) }

    mutating func backendSent(_ session: Token) {
        if sessions[session].backendSent() { reactor.receive(sessions[session].frontend) }
    }

    /// The client goes, its backend may stay.
    mutating func leave(_ session: Token, _ relay: Relay) {
        keepBackend(of: session, relay)
        close(session)
    }

    mutating func perform(_ session: Token, _ action: Session.FrontendGoneAction) {
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
