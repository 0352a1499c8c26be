import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// Statements of the library's users.

extension Router {
    /// Runs a statement in the tenant's database as soon as its instance and one of `Limits.queries` places are there.
    mutating func query(
        _ text: String, in tenant: TenantName, patience: Duration, for ticket: Ticket,
        _ reply: @escaping Reply<[AnswerRow]>
    ) {
        let number = queries.nextNumber()
        let waiter = lease(tenant, patience: patience) { router, result in
            switch result {
            case .success(let instance): router.leaseGranted(toQuery: number, instance)
            case .failure(let error): router.end(number, .failure(InstanceError(error)))
            }
        }
        queries.byNumber[number] = Query(
            number: number, tenant: tenant, ticket: ticket,
            exchange: AdminExchange(user: RouterSQL.role, database: tenant.string, statement: text),
            stage: .awaitingInstance(waiter), reply: reply)
        requests[ticket] = .query(number)
    }

    private mutating func leaseGranted(toQuery number: UInt64, _ instance: InstanceID) {
        guard let query = queries.byNumber[number] else { return returnLease(of: instance) }
        query.stage = .awaitingPlace(instance)
        queries.waiting.append(number)
        connectQueries()
    }

    mutating func connectQueries() {
        var held: [UInt64] = []
        while queries.connections < Limits.queries, !queries.waiting.isEmpty {
            guard let query = queries.byNumber[queries.waiting.removeFirst()],
                case .awaitingPlace(let instance) = query.stage
            else { continue }
            if makeRoom(in: instance) { connect(query, instance) } else { held.append(query.number) }
        }
        queries.waiting = held + queries.waiting
    }

    private mutating func connect(_ query: Query, _ instance: InstanceID) {
        guard let socket = instances[instance]?.socket else {
            return end(query, .failure(InstanceError(.instanceStopped(query.tenant.string))))
        }
        do throws(ReactorError) {
            let connection = try reactor.connect(
                to: .unix(path: socket.path), owner: Owner(.query, query.number).raw)
            queries.connections += 1
            query.stage = .connecting(instance, connection)
        } catch {
            end(query, .failure(InstanceError(.outOfDescriptors(error.description))))
        }
    }
}

// MARK: - What happens to its connection

extension Router {
    mutating func query(_ number: UInt64, _ token: Token, _ event: consuming Event) {
        guard let query = queries.byNumber[number], query.connection == token else { return }
        switch consume event {
        case .connected: connected(query)
        case .received(let buffer): received(query, buffer)
        case .endOfStream: connectionEnded(query)
        case .failed: connectionEnded(query)
        // What happens to other kinds of sources only, and what asks for nothing.
        default: break
        }
    }

    private mutating func connected(_ query: Query) {
        guard case .connecting(let instance, let connection) = query.stage else { return }
        query.stage = .running(instance, connection)
        reactor.send(copying: query.exchange.opening, to: connection)
        reactor.receive(connection)
    }

    private mutating func received(_ query: Query, _ buffer: borrowing Buffer) {
        guard case .running(_, let connection) = query.stage else { return }
        let actions = buffer.withBytes { query.exchange.received($0) }
        for action in actions {
            switch action {
            case .send(let bytes): reactor.send(copying: bytes, to: connection)
            case .finished(let rows): leave(query, .success(rows))
            case .failed(let error): leave(query, .failure(InstanceError(error)))
            }
        }
    }

    /// A backend that has not begun a session says nothing when its instance stops.
    private mutating func connectionEnded(_ query: Query) {
        var failure = ErrorMessage.instanceStopped(query.tenant.string)
        let isServing = query.instance.flatMap { instances[$0]?.socket } != nil
        if isServing, case .failed(let error) = query.exchange.endOfStream().first { failure = error }
        end(query, .failure(InstanceError(failure)))
    }

    /// It is answered, and its backend has a while to go.
    private mutating func leave(_ query: Query, _ result: Result<[AnswerRow], InstanceError>) {
        guard case .running(let instance, let connection) = query.stage else { return }
        settle(query, result)
        reactor.finish(connection)
        let deadline = reactor.deadline(
            at: reactor.now + Limits.abandonDeadline, owner: Owner(.queryDeadline, query.number).raw)
        query.stage = .leaving(instance, connection, deadline: deadline)
    }

    mutating func queryDeadlineExpired(_ number: UInt64) {
        guard let query = queries.byNumber[number] else { return }
        end(query, .failure(.cancelled))
    }
}

// MARK: - The end

extension Router {
    /// Nobody waits for it any more, or nobody should.
    mutating func giveUpQuery(_ number: UInt64, _ error: InstanceError) {
        guard let query = queries.byNumber[number] else { return }
        switch query.stage {
        case .awaitingInstance(let waiter):
            withdraw(waiter)
            end(query, .failure(error))
        case .awaitingPlace, .connecting: end(query, .failure(error))
        case .running: leave(query, .failure(error))
        case .leaving: break
        }
    }

    /// The instance is gone, and the leases of it with it.
    mutating func failQueries(of instance: Instance) {
        for query in queries.byNumber.values where query.instance == instance.id {
            end(query, .failure(InstanceError(.instanceStopped(instance.name))))
        }
    }

    private mutating func end(_ number: UInt64, _ result: Result<[AnswerRow], InstanceError>) {
        if let query = queries.byNumber[number] { end(query, result) }
    }

    private mutating func settle(_ query: Query, _ result: Result<[AnswerRow], InstanceError>) {
        requests[query.ticket] = nil
        query.answer(result)
    }

    /// The one place where a query ends; it may have been answered before.
    private mutating func end(_ query: Query, _ result: Result<[AnswerRow], InstanceError>) {
        guard queries.byNumber.removeValue(forKey: query.number) != nil else { return }
        settle(query, result)
        if let connection = query.connection {
            reactor.close(connection)
            queries.connections -= 1
        }
        if case .leaving(_, _, let deadline) = query.stage { reactor.cancel(deadline: deadline) }
        if let instance = query.instance { returnLease(of: instance) }
        connectQueries()
    }
}

extension ErrorMessage {
    static func queryTimeout(_ timeout: Duration) -> ErrorMessage {
        ErrorMessage(
            severity: .error, .queryCanceled, "canceling statement due to timeout",
            detail: "It was given \(timeout.inSeconds) s, the wait for its instance included.")
    }
}
