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
            ifExists(tenant, for: session, "wake") { router in
                router.wake(tenant) { $0.answerConsole(session, $1.map { .done }) }
            }
        case .inspect(let tenant, isOn: true):
            ifExists(tenant, for: session, "inspect on") { router in
                router.inspect(tenant, isOn: true)
                router.answerConsole(session, .success(.done))
            }
        case .inspect(let tenant, isOn: false):
            // Of one that has been dropped too.
            note("inspect off", tenant, by: session)
            inspect(tenant, isOn: false)
            answerConsole(session, .success(.done))
        case .killClient(let number):
            note("kill client \(number)", by: session)
            killClient(number) { router, result in router.answerConsole(session, result) }
        case .pause, .resume, .kill, .disable, .enable, .reconnect, .waitClose, .reload, .set:
            performAsBouncer(command, for: session)
        case .shutdown(let inAHurry):
            note(inAHurry ? "shutdown in a hurry" : "shutdown", by: session)
            answerConsole(session, .success(.done))
            stop()
            if inAHurry, case .stopping = lifetime { stop() }
        }
    }

    private mutating func show(_ topic: ConsoleTopic, to session: ConsoleClient) {
        guard let question = topic.question else {
            return answerConsole(session, .success(.rows(rows(of: topic, LaneView()))))
        }
        ask(question) { router, view in
            router.answerConsole(session, .success(.rows(router.rows(of: topic, view))))
        }
    }

    /// What PgBouncer's console knows too.
    private mutating func performAsBouncer(_ command: ConsoleCommand, for session: ConsoleClient) {
        let answer: @Sendable (inout Router, Result<Void, ErrorMessage>) -> Void = {
            $0.answerConsole(session, $1.map { .done })
        }
        switch command {
        case .pause(nil):
            note("pause", by: session)
            pause(nil, answer)
        case .pause(let tenant?): ifExists(tenant, for: session, "pause") { $0.pause(tenant, answer) }
        case .resume(let tenant):
            note("resume", tenant, by: session)
            answer(&self, resume(tenant) ? .success(()) : .failure(.notPaused(tenant)))
        case .kill(let tenant): ifExists(tenant, for: session, "kill") { $0.kill(tenant, answer) }
        case .disable(let tenant):
            ifExists(tenant, for: session, "disable") { router in
                router.commons.disable(tenant)
                answer(&router, .success(()))
            }
        case .enable(let tenant):
            ifExists(tenant, for: session, "enable") { router in
                router.commons.enable(tenant)
                answer(&router, .success(()))
            }
        case .reconnect(let tenant):
            ifExists(tenant, for: session, "reconnect") { router in
                router.reconnect(tenant)
                answer(&router, .success(()))
            }
        case .waitClose(let tenant): ifExists(tenant, for: session, "wait close") { $0.waitClosed(tenant, answer) }
        case .reload:
            note("reload", by: session)
            askForReload(for: session)
        case .set(let name, let value):
            note("set \(name)", by: session)
            answer(&self, Result { () throws(ErrorMessage) in try set(name, to: value) })
        case .show, .drop, .hibernate, .wake, .inspect, .killClient, .shutdown, .formality:
            preconditionFailure("\(command.tag) is none of these")
        }
    }

    /// Does it to a tenant that there is, running or not; to all where none is named.
    private mutating func ifExists(
        _ tenant: TenantName?, for session: ConsoleClient, _ what: String,
        _ body: @escaping @Sendable (inout Router) -> Void
    ) {
        note(what, tenant, by: session)
        guard let tenant else { return body(&self) }
        findTenant(tenant) { router, status in
            guard status != nil else { return router.answerConsole(session, .failure(.noSuchTenant(tenant))) }
            body(&router)
        }
    }

    /// Whoever reads the configuration reads it again; where nobody does there is nothing to be done.
    private mutating func askForReload(for session: ConsoleClient) {
        if let reloader { reloader(session) } else { reloaded(for: session, failure: nil) }
    }

    /// Somebody has, or says why not.
    mutating func reloaded(for session: ConsoleClient, failure: String?) {
        answerConsole(session, failure.map { .failure(.notReloaded($0)) } ?? .success(.done))
    }

    /// What the console changes is worth a line in the log, with whoever wanted it.
    private func note(_ what: String, _ tenant: TenantName? = nil, by session: ConsoleClient) {
        var metadata = session.metadata
        metadata["tenant"] = tenant.map { "\($0)" }
        log.info("console: \(what)", metadata: metadata)
    }

    private mutating func killClient(_ number: UInt64, _ answer: @escaping Answer<ConsoleSession.Answer>) {
        ask(.sessions(.plain)) { router, view in
            guard let victim = view.sessions.first(where: { $0.number == number }) else {
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

    fileprivate static func notReloaded(_ reason: String) -> ErrorMessage {
        ErrorMessage(severity: .error, .configFileError, "the configuration stays as it is: \(reason)")
    }

    fileprivate static func notRunning(_ tenant: TenantName) -> ErrorMessage {
        ErrorMessage(
            severity: .error, .objectNotInPrerequisiteState, "no instance of database \"\(tenant)\" is running",
            hint: "SHOW INSTANCES lists those that are; a name is taken as it is written.")
    }

    static let killed = ErrorMessage(
        .adminShutdown, "terminating connection due to administrator command", detail: "It was ended from the console.")
}
