import Glibc
import Logging
import Reactor
import TenantPool
import WireProtocol

// Clients that connect to the router instead of to a tenant: let in, their commands done, their answers sent.

extension StartupPacket {
    /// Whether it names the router's console, or that of the pooler whose tools expect one.
    var meansConsole: Bool {
        !isPhysicalReplication && TenantName.console.contains(database ?? user)
    }

    /// What it asks for beyond protocol 3.0, which the console speaks.
    fileprivate var unknownOptions: [[UInt8]] {
        parameters.map(\.name).filter { $0.starts(with: "_pq_.".utf8) }
    }
}

// MARK: - Arriving

extension Router {
    /// The startup packet is in, and names the console or came by the control socket.
    mutating func admitConsole(_ session: Token, _ packet: StartupPacket, pipelined: [UInt8]) {
        sessions[session].label.tenant = packet.database ?? packet.user
        sessions[session].label.user = packet.user
        guard packet.meansConsole else { return reject(session, .noTenantsHere) }
        guard isLocal(session) else { return reject(session, .consoleIsLocal) }
        // Whoever looks takes no place from whoever steers.
        guard consoles[sessions[session].entrance, default: 0] < Limits.consoles else {
            return reject(session, .tooManyConsoles)
        }
        consoles[sessions[session].entrance, default: 0] += 1
        totals.consoles += 1
        var console: ConsoleSession
        switch sessions[session].entrance {
        case .clients:
            console = ConsoleSession(.looking, token: nil, greeting: greeting(packet))
        case .control:
            console = ConsoleSession(.everything, token: premises.control.token, greeting: greeting(packet))
            arm(session, after: configuration.startupTimeout)
        }
        if packet.version != .v3_0 || !packet.unknownOptions.isEmpty {
            reactor.send(
                copying: Backend.negotiateProtocolVersion(unknownOptions: packet.unknownOptions),
                to: sessions[session].frontend)
        }
        console.received(pipelined)
        sessions[session].consoleOpened(console)
        advanceConsole(session)
    }

    private func isLocal(_ session: Token) -> Bool {
        reactor.peer(of: sessions[session].frontend)?.isLoopback ?? false
    }

    /// What drivers want to know of a server.
    private func greeting(_ packet: StartupPacket) -> [UInt8] {
        let parameters = [
            ("server_version", "\(store.installation.version) (routerd \(RouterVersion.current))"),
            ("server_encoding", "UTF8"), ("client_encoding", "UTF8"), ("DateStyle", "ISO, MDY"),
            ("IntervalStyle", "postgres"), ("TimeZone", "UTC"), ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"), ("is_superuser", "off"), ("session_authorization", packet.user),
            ("application_name", packet["application_name"] ?? ""),
        ]
        // No command runs long enough to be cancelled, but some drivers insist on a key.
        let key = CancelKey(processID: getpid(), secret: (0..<4).map { _ in .random(in: .min ... .max) })
        return parameters.flatMap { Backend.parameterStatus($0, $1) } + Backend.backendKeyData(key)
    }
}

// MARK: - Going on

extension Router {
    /// Lets the console do all that it can.
    mutating func advanceConsole(_ session: Token) {
        guard advancing != session else { return }
        // One console's command may end what another waits for.
        let before = advancing
        advancing = session
        defer { advancing = before }
        while true {
            switch sessions[session].nextConsoleAction() {
            case .wait: return awaitConsole(session)
            case .send(let bytes): reactor.send(copying: bytes, to: sessions[session].frontend)
            case .perform(let command): perform(command, for: session)
            case .end(let bytes): return dismiss(session, with: bytes)
            }
        }
    }

    /// A client is not read while nothing could be done with what it says.
    private mutating func awaitConsole(_ session: Token) {
        guard case .console(let console) = sessions[session].stage else { return }
        if console.isBusy {
            reactor.disarm(sessions[session].frontend)
        } else {
            reactor.receive(sessions[session].frontend)
        }
        if !console.isAwaitingPassword { disarmDeadline(session) }
    }

    /// The answer to a console's command, at once or later: the client may have gone meanwhile.
    private mutating func answerConsole(_ session: Token, _ result: Result<ConsoleSession.Answer, ErrorMessage>) {
        guard sessions.contains(session), sessions[session].consoleAnswered(result) else { return }
        advanceConsole(session)
    }
}

// MARK: - Commands

extension Router {
    private mutating func perform(_ command: ConsoleCommand, for session: Token) {
        switch command {
        case .show(.tenants):
            listTenants(.names) { router, tenants in
                router.answerConsole(session, .success(.rows(tenants.map { $0.row })))
            }
        case .show(.sizes):
            listTenants(.sizes) { router, tenants in
                router.answerConsole(session, .success(.rows(tenants.map { $0.sizedRow })))
            }
        case .show(let topic): answerConsole(session, .success(.rows(rows(of: topic))))
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
            answerConsole(session, killClient(number))
        case .pause, .resume, .kill, .disable, .enable, .reconnect, .waitClose, .reload, .set:
            performAsBouncer(command, for: session)
        case .shutdown(let inAHurry):
            note(inAHurry ? "shutdown in a hurry" : "shutdown", by: session)
            answerConsole(session, .success(.done))
            stop()
            if inAHurry, case .stopping = lifetime { stop() }
        }
    }

    /// What PgBouncer's console knows too.
    private mutating func performAsBouncer(_ command: ConsoleCommand, for session: Token) {
        let answer: Answer<Void> = { $0.answerConsole(session, $1.map { .done }) }
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
                router.pauses.disabled.insert(tenant)
                answer(&router, .success(()))
            }
        case .enable(let tenant):
            ifExists(tenant, for: session, "enable") { router in
                router.pauses.disabled.remove(tenant)
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
        _ tenant: TenantName?, for session: Token, _ what: String, _ body: @escaping (inout Router) -> Void
    ) {
        note(what, tenant, by: session)
        guard let tenant else { return body(&self) }
        listTenants(.names) { router, tenants in
            guard tenants.contains(where: { $0.dbName == tenant.string }) else {
                return router.answerConsole(session, .failure(.noSuchTenant(tenant)))
            }
            body(&router)
        }
    }

    /// Whoever reads the configuration reads it again; where nobody does there is nothing to be done.
    private mutating func askForReload(for session: Token) {
        if let reloader { reloader(session) } else { reloaded(for: session, failure: nil) }
    }

    /// Somebody has, or says why not.
    mutating func reloaded(for session: Token, failure: String?) {
        answerConsole(session, failure.map { .failure(.notReloaded($0)) } ?? .success(.done))
    }

    /// What the console changes is worth a line in the log, with whoever wanted it.
    private func note(_ what: String, _ tenant: TenantName? = nil, by session: Token) {
        var metadata = metadata(session)
        metadata["tenant"] = tenant.map { "\($0)" }
        log.info("console: \(what)", metadata: metadata)
    }

    private mutating func killClient(_ number: UInt64) -> Result<ConsoleSession.Answer, ErrorMessage> {
        var slot: UInt32 = 0
        while let session = sessions.first(from: slot) {
            if sessions[session].number == number {
                killSession(session)
                return .success(.done)
            }
            slot = session.slot + 1
        }
        return .failure(.noSuchClient(number))
    }
}

extension Result where Success == Bool, Failure == ErrorMessage {
    /// False means that there was nothing to do it to.
    fileprivate func done(orElse error: ErrorMessage) -> Result<ConsoleSession.Answer, ErrorMessage> {
        flatMap { $0 ? .success(.done) : .failure(error) }
    }
}

extension ErrorMessage {
    fileprivate static let noTenantsHere = ErrorMessage(
        .invalidCatalogName, "the control socket leads to the console only",
        hint: "Connect to the database routerd here, and to tenants through the router's port.")

    fileprivate static let consoleIsLocal = ErrorMessage(
        .insufficientPrivilege, "the console answers to clients on this machine only",
        hint: "Connect from where routerd runs.")

    fileprivate static let tooManyConsoles = ErrorMessage(
        .tooManyConnections, "too many clients use the console",
        detail: "It has \(Limits.consoles) places on each of its ways in.", hint: "Close those that are not needed.")

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
