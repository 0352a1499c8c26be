import Reactor
import TenantPool
import WireProtocol

@testable import TenantRouter

/// Where a session can stand, as far as it makes a difference to what it decides. Each is reached the way a real
/// session gets there.
enum Situation: String, CaseIterable {
    case awaitingStartup
    case queued, connecting, startingUp, pausing, awaitingRole
    /// Nothing under way in either direction.
    case relaying
    /// The same, with a backend that another session may have.
    case reusable
    /// Both directions paused, with one send left in each.
    case relayingFull
    case frontendEnded
    /// One send to the frontend left, the backend paused.
    case frontendEndedFull
    /// One send left, then the client lingers.
    case flushing
    /// One send left, and the client has already said that it sends nothing more.
    case flushingLast
    case cancelling, console, lingering, abandoning, closed

    static let frontend = Token(raw: 0x1_0000_0007)
    static let backend = Token(raw: 0x1_0000_0008)
    static let instance = InstanceID(5)
    static let lease = Lease(instance: instance, giveUpAt: .seconds(20))
    static let attempt = Attempt(lease: lease, backend: backend)
    static let opening = Opening(packet: packet, greeting: Says.authenticationOk, epoch: 0, openedAt: .zero)
    static let packet = Frontend.startupMessage(user: "ann", database: "shop")

    /// A session in this situation.
    var session: Session {
        switch self {
        case .awaitingStartup: Session.fresh
        case .queued: Session.fresh.admitted()
        case .connecting: Self.queued.session.after { $0.connecting(Self.attempt) }
        case .startingUp: Self.connecting.session.after { _ = $0.backendConnected() }
        case .pausing: Self.startingUp.session.after { _ = $0.backendReceived(Says.error(.cannotConnectNow)) }
        case .awaitingRole: Self.startingUp.session.after { _ = $0.backendReceived(Says.error(.invalidAuthorization)) }
        case .relaying: Self.startingUp.session.relaying()
        case .reusable: Self.startingUp.session.relaying(Self.opening)
        case .relayingFull:
            Self.relaying.session.after {
                for _ in 0..<2 { _ = $0.frontendReceived(Says.query) }
                for _ in 0..<2 { _ = $0.backendReceived(Says.done) }
                _ = $0.backendSent()
                _ = $0.frontendSent()
            }
        case .frontendEnded: Self.relaying.session.after { _ = $0.frontendEnded() }
        case .frontendEndedFull: Self.relayingFull.session.after { _ = $0.frontendEnded() }
        case .flushing:
            // After Terminate nothing is explained, so that one send is left, not two.
            Self.relayingFull.session.after {
                _ = $0.frontendReceived(Says.terminate)
                _ = $0.backendEnded()
            }
        case .flushingLast: Self.frontendEndedFull.session.after { _ = $0.backendEnded() }
        case .cancelling:
            Session.fresh.after { $0.cancelStarted(Cancellation(backend: Self.backend, key: Says.backendKey)) }
        case .console: Session.fresh.after { $0.consoleOpened(ConsoleSession(.looking, token: nil, greeting: [])) }
        case .lingering: Session.fresh.after { $0.rejected() }
        case .abandoning: Self.relaying.session.after { _ = $0.frontendFailed() }
        case .closed: Session.fresh.after { $0.closed() }
        }
    }
}

extension Session {
    /// Just accepted.
    static var fresh: Session { Session(number: 1).after { $0.accepted(Situation.frontend) } }

    /// The same session after something happened to it.
    func after(_ event: (inout Session) -> Void) -> Session {
        var session = self
        event(&session)
        return session
    }

    /// The session of a client that has named its user and its database.
    func admitted(_ packet: [UInt8] = Situation.packet) -> Session {
        after { session in
            guard case .admit(let packet, let pipelined) = session.frontendReceived(packet),
                let tenant = try? TenantName(packet.database ?? packet.user)
            else { preconditionFailure("not admitted") }
            session.admitted(Arrival(packet: packet, tenant: tenant, user: packet.user, pipelined: pipelined))
        }
    }

    /// The backend said that it is ready, and the client has been told.
    func relaying(_ opening: Opening? = nil) -> Session {
        after { session in
            guard case .open(let attempt, _, _, let ready) = session.backendReceived(Says.ready) else {
                preconditionFailure("not ready")
            }
            var relay = Relay(backend: attempt.backend, instance: attempt.lease.instance)
            _ = relay.backendReceived(ready)
            session.opened(relay, opening)
            _ = session.frontendSent()
        }
    }

    /// The stage's name, as the table has it.
    var stageName: String {
        switch stage {
        case .arriving(_, let progress): name(of: progress)
        case .flushing(then: .linger): "flushing"
        case .flushing(then: .close): "flushingLast"
        case .awaitingStartup, .relaying, .frontendEnded, .cancelling, .console, .lingering, .abandoning, .closed:
            name(of: stage)
        }
    }
}
