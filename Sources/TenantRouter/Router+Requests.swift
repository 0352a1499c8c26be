import TenantPool
import WireProtocol

// What the library's users ask of the router from other threads, and may take back.

/// One thing that was asked.
final class Ticket: Sendable, Hashable {
    private let withdrawn = Router.Flag()

    /// Whether it was taken back, which may be before the router has read it.
    var isWithdrawn: Bool { withdrawn.isRaised }
    func withdraw() { withdrawn.raise() }

    static func == (left: Ticket, right: Ticket) -> Bool { left === right }
    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

extension Router {
    /// Called once.
    typealias Reply<Value> = (Result<Value, InstanceError>) -> Void

    /// What is asked and not answered yet.
    enum Request {
        case lease(WaiterID, Reply<InstanceID>)
        /// By its number.
        case query(UInt64)
    }

    /// The tenant's instance runs until whoever holds the ticket returns the lease.
    mutating func lease(
        _ tenant: TenantName, patience: Duration, to ticket: Ticket, _ reply: @escaping Reply<InstanceID>
    ) {
        let waiter = lease(tenant, patience: patience) { router, result in
            router.requests[ticket] = nil
            reply(result.mapError { InstanceError($0) })
        }
        requests[ticket] = .lease(waiter, reply)
    }

    /// Nobody waits for the answer any more. Too late is not an error.
    mutating func withdraw(_ ticket: Ticket) {
        switch requests[ticket] {
        case .lease(let waiter, let reply):
            requests[ticket] = nil
            withdraw(waiter)
            reply(.failure(.cancelled))
        case .query(let number): giveUpQuery(number, .cancelled)
        case nil: break
        }
    }

    /// It took too long. A lease has the pool's own deadline.
    mutating func expire(_ ticket: Ticket, after timeout: Duration) {
        switch requests[ticket] {
        case .query(let number): giveUpQuery(number, InstanceError(.queryTimeout(timeout)))
        case .lease, nil: break
        }
    }
}
