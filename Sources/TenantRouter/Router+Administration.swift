import Logging
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// The router's own statements: run one at a time for each instance, on the one connection that is kept for it.

extension Router {
    /// Creates a role that a client needs, for all its sessions that ask at once.
    mutating func createRole(_ user: String, for session: SessionID, of id: InstanceID) {
        guard let instance = instances[id] else { return roleSettled(session, .failure(.shuttingDown), of: id) }
        for index in instance.statements.indices {
            guard case .role(let other, sessions: let waiting) = instance.statements[index].purpose,
                other.utf8.elementsEqual(user.utf8)
            else { continue }
            instance.statements[index].purpose = .role(user, sessions: waiting + [session])
            return
        }
        let text = RouterSQL.createRole(user, privileges: store.privileges)
        run(Statement(purpose: .role(user, sessions: [session]), text: text), on: instance)
    }

    /// One at a time: a single connection is kept for the router.
    mutating func run(_ statement: Statement, on instance: Instance) {
        instance.statements.append(statement)
        runNextStatement(of: instance)
    }

    private mutating func runNextStatement(of instance: Instance) {
        while instance.isFreeForStatements, let socket = instance.socket, !instance.statements.isEmpty {
            let statement = instance.statements.removeFirst()
            if let kept = instance.administration, kept.database == statement.database, kept.exchange.isIdle {
                resume(kept, of: instance, statement)
                continue
            }
            closeAdministration(of: instance)
            do throws(ReactorError) {
                instance.administration = try administer(instance, statement, socket)
            } catch {
                finished(statement, of: instance, .failure(.outOfDescriptors(error.description)))
            }
        }
    }

    private mutating func administer(
        _ instance: Instance, _ statement: Statement, _ socket: InstanceSocket
    ) throws(ReactorError) -> Administration {
        let exchange = AdminExchange(
            user: RouterSQL.role, database: statement.database, statement: statement.text, then: statement.future)
        let connection = try reactor.connect(
            to: .unix(path: socket.path), owner: Owner(.administration, instance.id).raw)
        return Administration(
            exchange: exchange, connection: connection, database: statement.database,
            work: .statement(statement, deadline: administrationDeadline(instance)))
    }

    /// On the connection that has stayed.
    private mutating func resume(_ kept: Administration, of instance: Instance, _ statement: Statement) {
        var kept = kept
        let actions = kept.exchange.run(statement.text, then: statement.future)
        kept.work = .statement(statement, deadline: administrationDeadline(instance))
        instance.administration = kept
        for action in actions { perform(action, of: instance, kept.connection) }
    }

    private mutating func administrationDeadline(_ instance: Instance) -> Token {
        reactor.deadline(
            at: reactor.now + Limits.administrationDeadline, owner: Owner(.administrationDeadline, instance.id).raw)
    }

    mutating func administration(_ id: InstanceID, _ token: Token, _ event: consuming Event) {
        guard let instance = instances[id], let administration = instance.administration,
            administration.connection == token
        else { return }
        switch consume event {
        case .connected:
            reactor.send(copying: administration.exchange.opening, to: token)
            reactor.receive(token)
        case .received(let buffer):
            var exchange = administration.exchange
            let actions = buffer.withBytes { exchange.received($0) }
            instance.administration?.exchange = exchange
            for action in actions { perform(action, of: instance, token) }
        case .endOfStream: administrationEnded(instance, administration)
        case .failed: administrationEnded(instance, administration)
        // What happens to other kinds of sources only, and what asks for nothing.
        default: break
        }
    }

    private mutating func administrationEnded(_ instance: Instance, _ administration: Administration) {
        var exchange = administration.exchange
        if exchange.isDone { return finish(instance, .success([])) }
        for action in exchange.endOfStream() { perform(action, of: instance, administration.connection) }
    }

    private mutating func perform(_ action: AdminExchange.Action, of instance: Instance, _ connection: Token) {
        switch action {
        case .send(let bytes): reactor.send(copying: bytes, to: connection)
        case .finished(let rows):
            guard case .statement(let statement, _) = instance.administration?.work else { return }
            switch statement.purpose {
            // Its backend has been told to go; the end of the stream says that it has.
            case .warming: break
            case .rehearsal: pause(instance, .success(rows))
            case .naming, .occupancy, .role: finish(instance, .success(rows))
            }
        case .failed(let error): statementFailed(instance, error)
        }
    }

    private mutating func statementFailed(_ instance: Instance, _ error: ErrorMessage) {
        if case .statement(let statement, let deadline) = instance.administration?.work,
            let otherwise = statement.otherwise
        {
            log.debug("a statement of the router's own is tried anew: \(error.message)", metadata: metadata(instance))
            reactor.cancel(deadline: deadline)
            closeAdministration(of: instance)
            instance.statements.insert(Statement(purpose: statement.purpose, text: otherwise), at: 0)
            return runNextStatement(of: instance)
        }
        finish(instance, .failure(error))
    }

    mutating func administrationDeadlineExpired(_ id: InstanceID) {
        guard let instance = instances[id], instance.administration != nil else { return }
        // Those behind it would wait as long, one after the other.
        failStatements(of: instance, because: .notAnswering(after: Limits.administrationDeadline))
    }

    /// The statement is done, and the connection with it.
    private mutating func finish(_ instance: Instance, _ result: Result<[AnswerRow], ErrorMessage>) {
        let work = instance.administration?.work
        closeAdministration(of: instance)
        statementEnded(work, of: instance, result)
    }

    /// The statement is done, and the connection waits for the next one.
    private mutating func pause(_ instance: Instance, _ result: Result<[AnswerRow], ErrorMessage>) {
        let work = instance.administration?.work
        instance.administration?.work = .none
        statementEnded(work, of: instance, result)
    }

    private mutating func statementEnded(
        _ work: Administration.Work?, of instance: Instance, _ result: Result<[AnswerRow], ErrorMessage>
    ) {
        guard case .statement(let statement, let deadline) = work else { return }
        reactor.cancel(deadline: deadline)
        finished(statement, of: instance, result)
        runNextStatement(of: instance)
    }

    private mutating func closeAdministration(of instance: Instance) {
        guard let administration = instance.administration else { return }
        reactor.close(administration.connection)
        instance.administration = nil
    }

    private mutating func finished(
        _ statement: Statement, of instance: Instance, _ result: Result<[AnswerRow], ErrorMessage>
    ) {
        if case .failure(let error) = result {
            log.warning("a statement of the router's own failed: \(error.message)", metadata: metadata(instance))
        }
        switch statement.purpose {
        case .naming: named(instance, result.map { _ in })
        case .warming: warmed(instance, result.map { _ in })
        case .rehearsal: rehearsed(instance, result.map { _ in })
        case .occupancy: occupancyTold(instance, result)
        case .role(_, let waiting):
            for session in waiting { roleSettled(session, result.map { _ in }, of: instance.id) }
        }
    }

    /// The instance stops or has stopped: what runs on it and what waits to run has failed.
    mutating func failStatements(of instance: Instance, because error: ErrorMessage) {
        let waiting = instance.statements
        instance.statements = []
        finish(instance, .failure(error))
        for statement in waiting { finished(statement, of: instance, .failure(error)) }
    }
}
