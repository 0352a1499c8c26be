import Reactor
import TenantPool
import WireProtocol

/// A statement of a library user's, on its way through a tenant's instance. It holds a lease as a session does, so that
/// the instance stays while it runs and is woken for it, and has a connection of its own, as the router's role.
///
///     awaitingInstance ─ lease ─▶ awaitingPlace ─▶ connecting ─▶ running ─ answered or given up ─▶ leaving ─▶ gone
final class Query {
    let number: UInt64
    let tenant: TenantName
    let ticket: Ticket
    /// Both ends of the conversation beside the stage: an answer is large.
    var exchange: AdminExchange
    var stage: Stage
    private var reply: Router.Reply<[AnswerRow]>?

    enum Stage {
        case awaitingInstance(WaiterID)
        /// For one of `Limits.queries`.
        case awaitingPlace(InstanceID)
        case connecting(InstanceID, Token)
        case running(InstanceID, Token)
        /// Answered; the lease stays until the backend has gone, so that the instance never holds more connections than
        /// the pool counts.
        case leaving(InstanceID, Token, deadline: Token)
    }

    init(
        number: UInt64, tenant: TenantName, ticket: Ticket, exchange: AdminExchange, stage: Stage,
        reply: @escaping Router.Reply<[AnswerRow]>
    ) {
        self.number = number
        self.tenant = tenant
        self.ticket = ticket
        self.exchange = exchange
        self.stage = stage
        self.reply = reply
    }

    /// The first answer counts.
    func answer(_ result: Result<[AnswerRow], InstanceError>) {
        let reply = reply
        self.reply = nil
        reply?(result)
    }

    /// What its lease is of, once it has one.
    var instance: InstanceID? {
        switch stage {
        case .awaitingInstance: nil
        case .awaitingPlace(let instance), .connecting(let instance, _), .running(let instance, _),
            .leaving(let instance, _, _):
            instance
        }
    }

    var connection: Token? {
        switch stage {
        case .awaitingInstance, .awaitingPlace: nil
        case .connecting(_, let connection), .running(_, let connection), .leaving(_, let connection, _): connection
        }
    }
}

/// The statements of the library's users.
struct Queries {
    var byNumber: [UInt64: Query] = [:]
    /// Those that await a place, in the order they came; some may have been given up since.
    var waiting: [UInt64] = []
    var connections = 0
    private var last: UInt64 = 0

    mutating func nextNumber() -> UInt64 {
        last += 1
        return last
    }
}
