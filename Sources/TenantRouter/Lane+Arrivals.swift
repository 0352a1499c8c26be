import Logging
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// From a startup packet to a backend: the lease, the connection, the role; and the other way in, a cancel request.

extension Lane {
    /// The startup packet is in: it names the tenant, and from here on the pool knows the client.
    mutating func admit(_ session: Token, _ packet: StartupPacket, pipelined: [UInt8]) {
        disarmDeadline(session)
        sessions[session].label.address = address(of: session)
        sessions[session].label.application = packet["application_name"] ?? ""
        sessions[session].label.user = packet.user
        sessions[session].label.tenant = String((packet.database ?? packet.user).prefix(Limits.labelLength))
        if sessions[session].entrance == .control || packet.meansConsole {
            return admitConsole(session, packet, pipelined: pipelined)
        }
        guard packet.user != RouterSQL.role else { return reject(session, .reservedRole(packet.user)) }
        let name: TenantName
        do throws(ErrorMessage) {
            name = try TenantName(chosenBy: packet)
        } catch {
            return reject(session, error)
        }
        guard !commons.isDisabled(name) else { return reject(session, .disabled(name)) }
        if let limit = commons.admit() { return reject(session, .tooManyClients(limit: limit)) }
        sessions[session].label.tenant = name.string
        sessions[session].label.waitsSince = reactor.now
        let arrival = Arrival(packet: packet, tenant: name, user: packet.user, pipelined: pipelined)
        sessions[session].admitted(arrival)
        considerInspection(session, arrival)
        arm(session, after: Limits.waitNoticeDelay)
        report(.leaseRequested(id(session), name, user: packet.user))
    }

    /// Of a client that has not said what it wants, for the line about its end: then the kernel does not know any more.
    mutating func noteAddress(of session: Token) {
        guard log.logLevel <= .debug, sessions[session].label.address.isEmpty else { return }
        sessions[session].label.address = address(of: session)
    }

    /// Where a client sits; on a Unix socket, who it is.
    func address(of session: Token) -> String {
        let frontend = sessions[session].frontend
        guard let peer = reactor.peer(of: frontend) else { return "" }
        guard case .unix = peer else { return "\(peer)" }
        return reactor.credentials(of: frontend).map { "unix:uid=\($0.userID),pid=\($0.processID)" } ?? ""
    }

    /// A client that waits for long is told what for. libpq takes no NoticeResponse before AuthenticationOk, so that
    /// comes first.
    mutating func explainWait(_ session: Token, _ tenant: TenantName) {
        tellEarly(session, Backend.authenticationOk)
        report(.waitsLong(id(session), tenant))
    }

    mutating func tellEarly(_ session: Token, _ bytes: [UInt8]) {
        sessions[session].toldEarly()
        tell(session, bytes)
    }

    /// The centre knows what is waited for.
    mutating func waitExplained(_ session: Token, _ notice: ErrorMessage) {
        guard isQueued(session) else { return }
        tellEarly(session, notice.noticeResponse())
    }

    /// The pool's answer is yes.
    mutating func granted(_ session: Token, _ instance: InstanceID) {
        guard isQueued(session) else { return returnLease(of: instance) }
        if let since = sessions[session].label.waitsSince { metrics.granted(after: reactor.now - since) }
        let lease = Lease(instance: instance, giveUpAt: reactor.now + Limits.backendConnectDeadline)
        sessions[session].granted(lease)
        if !reuseBackend(session, lease) { connect(session, lease) }
    }

    /// The pool's answer is no.
    mutating func refused(_ session: Token, _ error: ErrorMessage) {
        guard isQueued(session) else { return }
        reject(session, error)
    }

    /// Connects a backend under a lease that is held already.
    mutating func connect(_ session: Token, _ lease: Lease) {
        guard let socket = commons.instance(lease.instance)?.socket else {
            return instanceStopped(session, lease.instance)
        }
        guard reactor.now < lease.giveUpAt else {
            returnLease(of: lease.instance)
            return reject(session, .notAnswering(after: Limits.backendConnectDeadline))
        }
        guard makeRoom(in: lease.instance) else {
            return arm(session, at: min(reactor.now + Limits.keptBackendExitPause, lease.giveUpAt))
        }
        do throws(ReactorError) {
            // Read first: what happens while it connects makes it older.
            let epoch = commons.epoch(of: lease.instance)
            let backend = try reactor.connect(
                to: .unix(path: socket.path), owner: Owner(.backend, slot: session.slot).raw)
            sessions[session].connecting(Attempt(lease: lease, backend: backend, epoch: epoch))
            sessions[session].way = socket
            arm(session, at: lease.giveUpAt)
        } catch {
            returnLease(of: lease.instance)
            reject(session, .outOfDescriptors(error.description))
        }
    }

    /// The role that a client needs has been looked after, for better or worse.
    mutating func roleSettled(_ session: Token, _ outcome: RoleOutcome) {
        guard sessions.contains(session) else { return }
        switch outcome {
        case .created: reconnect(session)
        case .failed(let error): roleFailed(session, error)
        case .instanceStopped:
            guard let (_, lease) = sessions[session].roleFailed() else { return }
            instanceStopped(session, lease.instance)
        }
    }

    private mutating func reconnect(_ session: Token) {
        guard let lease = sessions[session].roleSettled() else { return }
        connect(session, lease)
    }

    /// PostgreSQL's answer to the client stands where the name cannot be a role's; what kept the router from making it
    /// one is said otherwise.
    private mutating func roleFailed(_ session: Token, _ error: ErrorMessage) {
        guard let (answer, lease) = sessions[session].roleFailed() else { return }
        returnLease(of: lease.instance)
        switch error.sqlState {
        case .tooManyConnections, .cannotConnectNow: reject(session, error)
        case .reservedName: dismiss(session, with: answer)
        default: reject(session, .roleNotCreated(sessions[session].label.user, because: error))
        }
    }

    /// A right key is carried to its backend; a wrong one vanishes, as in PostgreSQL, and nobody learns which it was.
    mutating func cancel(_ session: Token, _ key: CancelKey) {
        guard let target = commons.use(key), let instance = commons.instance(target.instance) else {
            sessions[session].closed()
            return close(session)
        }
        do throws(ReactorError) {
            let backend = try reactor.connect(
                to: .unix(path: instance.socket.path), owner: Owner(.backend, slot: session.slot).raw)
            sessions[session].cancelStarted(Cancellation(backend: backend, key: target.key))
            sessions[session].way = instance.socket
            considerInspection(session, cancelling: key, of: instance.tenant)
            arm(session, after: Limits.cancelDeadline)
        } catch {
            sessions[session].closed()
            close(session)
        }
    }
}
