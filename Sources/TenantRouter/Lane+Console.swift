import Glibc
import Logging
import Reactor
import TenantPool
import WireProtocol

// Clients that connect to the router instead of to a tenant: let in, their commands told to the centre, the answers
// sent.

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

extension Lane {
    /// The startup packet is in, and names the console or came by the control socket.
    mutating func admitConsole(_ session: Token, _ packet: StartupPacket, pipelined: [UInt8]) {
        sessions[session].label.tenant = packet.database ?? packet.user
        sessions[session].label.user = packet.user
        guard packet.meansConsole else { return reject(session, .noTenantsHere) }
        guard isLocal(session) else { return reject(session, .consoleIsLocal) }
        // Whoever looks takes no place from whoever steers.
        guard commons.admitConsole(by: sessions[session].entrance) else { return reject(session, .tooManyConsoles) }
        var console: ConsoleSession
        switch sessions[session].entrance {
        case .clients:
            console = ConsoleSession(.looking, token: nil, greeting: greeting(packet))
        case .control:
            console = ConsoleSession(.everything, token: greeter.controlToken, greeting: greeting(packet))
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
            ("server_version", "\(greeter.postgresVersion) (routerd \(RouterVersion.current))"),
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

extension Lane {
    /// Lets the console do all that it can.
    mutating func advanceConsole(_ session: Token) {
        guard advancing != session else { return }
        advancing = session
        defer { advancing = nil }
        while true {
            switch sessions[session].nextConsoleAction() {
            case .wait: return awaitConsole(session)
            case .send(let bytes): reactor.send(copying: bytes, to: sessions[session].frontend)
            case .perform(let command):
                report(.command(command, ConsoleClient(session: id(session), metadata: metadata(session))))
            case .end(let bytes): return dismiss(session, with: bytes)
            }
        }
    }

    /// A client is not read while nothing could be done with what it says, but that it has gone is noticed while it would
    /// wait for long.
    private mutating func awaitConsole(_ session: Token) {
        guard case .console(let console) = sessions[session].stage else { return }
        if console.isBusy && !console.mayWaitLong {
            reactor.disarm(sessions[session].frontend)
        } else {
            reactor.receive(sessions[session].frontend)
        }
        if !console.isAwaitingPassword { disarmDeadline(session) }
    }

    /// The answer to a console's command, at once or later: the client may have gone meanwhile.
    mutating func consoleAnswered(_ session: Token, _ result: Result<ConsoleSession.Answer, ErrorMessage>) {
        guard sessions.contains(session), sessions[session].consoleAnswered(result) else { return }
        advanceConsole(session)
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
}
