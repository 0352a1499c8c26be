import Logging
import TenantPool
import WireProtocol

// What the console's clients want done.

// MARK: - Commands

/// Whoever waits for a command's answer.
struct ConsoleClient: Sendable {
    let session: SessionID
    /// What every line about it carries.
    let metadata: Logger.Metadata
}

extension Router {
    mutating func perform(_ command: ConsoleCommand, for session: ConsoleClient) {
        switch command {
        case .show(.tenants):
            listTenants(.names) { router, tenants in
                router.answerConsole(session, .success(.rows(tenants.map { $0.row })))
            }
        case .show(.sizes):
            listTenants(.sizes) { router, tenants in
                router.answerConsole(session, .success(.rows(tenants.map { $0.sizedRow })))
            }
        case .show(let topic): show(topic, to: session)
        case .formality: answerConsole(session, .success(.done))
        case .drop(let tenant):
            note("drop", tenant, by: session)
            drop(tenant) { router, result in
                router.answerConsole(session, result.done(orElse: .noSuchTenant(tenant)))
            }
        case .hibernate(let tenant):
            note("hibernate", tenant, by: session)
            hibernate(tenant) { router, result in
                router.answerConsole(session, result.done(orElse: .notRunning(tenant)))
            }
        case .wake(let tenant):
            note("wake", tenant, by: session)
            wake(tenant) { router, result in router.answerConsole(session, result.map { .done }) }
        case .inspect(let tenant, let isOn):
            note(isOn ? "inspect on" : "inspect off", tenant, by: session)
            inspect(tenant, isOn: isOn)
            answerConsole(session, .success(.done))
        case .killClient(let number):
            note("kill client \(number)", by: session)
            killClient(number) { router, result in router.answerConsole(session, result) }
        case .shutdown(let inAHurry):
            note(inAHurry ? "shutdown in a hurry" : "shutdown", by: session)
            answerConsole(session, .success(.done))
            stop()
            if inAHurry, case .stopping = lifetime { stop() }
        }
    }

    private mutating func show(_ topic: ConsoleTopic, to session: ConsoleClient) {
        guard let detail = topic.detail else { return answerConsole(session, .success(.rows(rows(of: topic, [])))) }
        listSessions(detail) { router, sessions in
            router.answerConsole(session, .success(.rows(router.rows(of: topic, sessions))))
        }
    }

    /// What the console changes is worth a line in the log, with whoever wanted it.
    private func note(_ what: String, _ tenant: TenantName? = nil, by session: ConsoleClient) {
        var metadata = session.metadata
        metadata["tenant"] = tenant.map { "\($0)" }
        log.info("console: \(what)", metadata: metadata)
    }

    private mutating func killClient(_ number: UInt64, _ answer: @escaping Answer<ConsoleSession.Answer>) {
        listSessions { router, sessions in
            guard let victim = sessions.first(where: { $0.number == number }) else {
                return answer(&router, .failure(.noSuchClient(number)))
            }
            router.order(.kill(victim.session.token), lane: victim.session.lane)
            answer(&router, .success(.done))
        }
    }

    private mutating func answerConsole(
        _ client: ConsoleClient, _ result: Result<ConsoleSession.Answer, ErrorMessage>
    ) {
        order(.consoleAnswered(client.session.token, result), lane: client.session.lane)
    }
}

extension Result where Success == Bool, Failure == ErrorMessage {
    /// False means that there was nothing to do it to.
    fileprivate func done(orElse error: ErrorMessage) -> Result<ConsoleSession.Answer, ErrorMessage> {
        flatMap { $0 ? .success(.done) : .failure(error) }
    }
}

extension ErrorMessage {
    fileprivate static func noSuchClient(_ number: UInt64) -> ErrorMessage {
        ErrorMessage(
            severity: .error, .undefinedObject, "there is no client \(number)",
            hint: "SHOW CLIENTS has the numbers in column id.")
    }

    fileprivate static func noSuchTenant(_ tenant: TenantName) -> ErrorMessage {
        ErrorMessage(
            severity: .error, .invalidCatalogName, "database \"\(tenant)\" does not exist",
            hint: "SHOW TENANTS lists those that do; a name is taken as it is written.")
    }

    fileprivate static func notRunning(_ tenant: TenantName) -> ErrorMessage {
        ErrorMessage(
            severity: .error, .objectNotInPrerequisiteState, "no instance of database \"\(tenant)\" is running",
            hint: "SHOW INSTANCES lists those that are; a name is taken as it is written.")
    }

    static let killed = ErrorMessage(
        .adminShutdown, "terminating connection due to administrator command", detail: "It was ended from the console.")
}
