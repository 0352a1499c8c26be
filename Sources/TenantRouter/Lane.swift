import Logging
import Reactor
import TenantPool
import WireProtocol

/// One thread's reactor and the sessions that live on it, from accept to close.
///
/// What concerns more than one session is the centre's, which is `Router`: the pool, instances, commands of the console.
/// A lane tells it by `LaneReport` and is told by `LaneOrder`. The first lane lives on the centre's own thread, where
/// both are plain calls; the others have a mailbox.
///
///     lane 0 ──┐ calls
///     lane 1 ──┤ mail    ▶ centre: pool, instances
///     lane 2 ──┘ mail
///
/// `Lane+Frontends.swift`, `+Arrivals`, `+Backends` and `+Endings` do what sessions decide, `Lane+Console.swift` speaks for
/// the console.
struct Lane: ~Copyable {
    /// Its place among the lanes; 0 is the centre's.
    let index: Int
    let commons: Commons
    let greeter: Greeter
    var configuration: RouterConfiguration
    var log: Logger

    var reactor: Reactor
    var sessions: Slab<Session>
    var silent = SilentClients()
    var keptBackends = KeptBackends()
    /// What has passed in sessions that have ended.
    var ledger = TrafficLedger()
    /// What has happened to clients.
    var metrics = ClientMetrics()
    /// The console that is being advanced.
    var advancing: Token?
    /// Whose messages are printed.
    var inspections: Inspections
    /// The router is about to end.
    private(set) var isClosing = false
    private(set) var isDone = false
    private var reports: [LaneReport] = []

    /// What the console's greeting needs of the router.
    struct Greeter: Sendable {
        let postgresVersion: String
        /// The password of the control socket.
        let controlToken: String
    }

    init(
        _ index: Int, _ configuration: RouterConfiguration, greeter: Greeter, commons: Commons,
        reactor: consuming Reactor
    ) {
        self.index = index
        self.commons = commons
        self.greeter = greeter
        self.configuration = configuration
        self.log = configuration.logger
        self.inspections = Inspections(configuration)
        self.reactor = reactor
        self.sessions = Slab(capacity: commons.capacity)
    }
}

// MARK: - The tick

extension Lane {
    /// What happened to one of its sessions, or to a backend between two.
    mutating func dispatch(_ owner: Owner, _ token: Token, _ event: consuming Event) {
        switch owner.role {
        case .frontend:
            guard let session = sessions.token(at: owner.slot) else { return }
            frontend(session, event)
        case .backend:
            guard let session = sessions.token(at: owner.slot) else { return }
            backend(session, token, event)
        case .inspectedFrontend:
            guard let session = sessions.token(at: owner.slot) else { return }
            inspectedFrontend(session, event)
        case .inspectedBackend:
            guard let session = sessions.token(at: owner.slot) else { return }
            inspectedBackend(session, token, event)
        case .sessionDeadline:
            guard let session = sessions.token(at: owner.slot) else { return }
            sessionDeadlineExpired(session)
        case .keptBackend: keptBackend(owner.number, event)
        case .keptBackendDeadline: keptBackendDeadlineExpired(owner.number)
        case .doorbell, .listener, .acceptPause, .signals, .poolDeadline, .housekeeping, .closing, .process, .readiness,
            .instanceDeadline, .administration, .administrationDeadline, .query, .queryDeadline, .httpListener, .http,
            .httpDeadline:
            preconditionFailure("a completion that is the centre's")
        }
    }

    /// Ticks until the router has ended, on a thread of its own.
    mutating func run(_ orders: Mailbox<LaneOrder>, reportingTo centre: Mailbox<Message>) {
        while !isDone {
            tick { lane in
                for order in orders.drain() { lane.perform(order) }
            }
            let reports = takeReports()
            if !reports.isEmpty { centre.post(.reported(reports)) }
        }
        // Clients that were still on their way here.
        for order in orders.drain() { perform(order) }
    }

    /// - Parameter doorbellRang: reads the mail.
    mutating func tick(_ doorbellRang: (inout Lane) -> Void) {
        reactor.wait()
        while let completion = reactor.next() {
            let owner = Owner(raw: completion.owner)
            let token = completion.token
            if owner.role == .doorbell {
                doorbellRang(&self)
            } else {
                dispatch(owner, token, completion.takeEvent())
            }
        }
    }
}

// MARK: - The centre

extension Lane {
    /// Tells the centre, in the order of the reports.
    mutating func report(_ report: LaneReport) { reports.append(report) }

    var hasReports: Bool { !reports.isEmpty }

    /// What the centre has not heard yet.
    mutating func takeReports() -> [LaneReport] {
        guard !reports.isEmpty else { return [] }
        var taken: [LaneReport] = []
        swap(&taken, &reports)
        return taken
    }

    mutating func perform(_ order: LaneOrder) {
        switch order {
        case .accepted(let number, let entrance, number: let session):
            accepted(Descriptor(owning: number), by: entrance, number: session)
        case .dropSilentClient: dropLongestSilent()
        case .discardCrowdingBackend: discardCrowdingBackend()
        case .discardBackends(of: let id): discardKeptBackends(of: id)
        case .dismissOutdatedBackends(of: let id): dismissOutdated(of: id)
        case .dismissExcessBackends(of: let id): dismissExcess(commons.excess(of: id), of: id)
        case .granted(let session, let instance): granted(session, instance)
        case .refused(let session, let error): refused(session, error)
        case .roleSettled(let session, let outcome): roleSettled(session, outcome)
        case .waitExplained(let session, let notice): waitExplained(session, notice)
        case .instanceStopped(let id): forEachSession { lane, session in lane.instanceStopped(session, id) }
        case .consoleAnswered(let session, let result): consoleAnswered(session, result)
        case .ask(let number, let question): report(.answered(number, answer(to: question)))
        case .forgetTraffic(of: let database): forgetTraffic(of: database)
        case .inspect(let tenant, let isOn): inspect(tenant, isOn: isOn)
        case .kill(let session): if sessions.contains(session) { killSession(session) }
        case .killAll(of: let tenant): killAll(of: tenant)
        case .reconfigured(let configuration): take(configuration)
        case .close:
            isClosing = true
            forEachSession { lane, session in lane.routerStopped(session) }
            if sessions.count == 0 { report(.emptied) }
        case .end: isDone = true
        }
    }

    private func answer(to question: LaneQuestion) -> LaneView {
        switch question {
        case .sessions(let detail): LaneView(sessions: entries(detail), kept: keptEntries)
        case .traffic(let scope):
            LaneView(traffic: traffic(scope), metrics: metrics, keptBackends: keptBackends.count)
        case .memory: LaneView(buffers: reactor.buffers, places: sessions.allocatedCount)
        }
    }

    private mutating func killAll(of tenant: TenantName) {
        forEachSession { lane, session in
            guard lane.sessions[session].isAdmitted, tenant.isWritten(lane.sessions[session].label.tenant) else {
                return
            }
            lane.killSession(session)
        }
    }

    private mutating func take(_ configuration: RouterConfiguration) {
        self.configuration = configuration
        log = configuration.logger
    }
}

// MARK: - Arriving

extension Lane {
    private mutating func accepted(
        _ descriptor: consuming Descriptor, by entrance: Session.Entrance, number: UInt64
    ) {
        let newcomer = Session(number: number, entrance: entrance)
        guard let session = sessions.insert(newcomer) else { return commons.left(newcomer, lane: index) }
        remember(silent: session)
        do throws(ReactorError) {
            let frontend = try reactor.adopt(accepted: descriptor, owner: Owner(.frontend, slot: session.slot).raw)
            sessions[session].accepted(frontend)
            sessions[session].label.connectedAt = reactor.now
            reactor.configure(frontend, Limits.clientSockets)
            arm(session, after: configuration.startupTimeout)
            reactor.receive(frontend)
        } catch {
            log.warning("client dropped: \(error)", metadata: metadata(session))
            _ = sessions.remove(session)
            commons.left(newcomer, lane: index)
        }
    }

    private mutating func remember(silent session: Token) {
        var silent = silent
        self.silent = SilentClients()
        silent.append(session)
        silent.tidy(live: sessions.count) { isSilent($0) }
        self.silent = silent
    }

    /// The last places are kept for clients that say what they want.
    private mutating func dropLongestSilent() {
        var silent = silent
        self.silent = SilentClients()
        let session = silent.popFirst { isSilent($0) }
        self.silent = silent
        guard let session else { return }
        log.warning("too many clients that say nothing: the longest silent one is dropped", metadata: metadata(session))
        sessions[session].closed()
        close(session)
    }

    private func isSilent(_ session: Token) -> Bool {
        guard sessions.contains(session), case .awaitingStartup = sessions[session].stage else { return false }
        return true
    }
}
