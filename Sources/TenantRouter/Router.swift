import Glibc
import Logging
import PostgresEmbed
import Reactor
import Synchronization
import TenantPool
import WireProtocol

/// Everything that lives on the reactor's thread: sessions, instances, the pool, and the tick that moves them.
///
/// `Router+Sessions.swift` does what sessions decide, `Router+Instances.swift` what the pool decides, with
/// `Router+Preparation.swift` and `Router+Spares.swift`.
struct Router: ~Copyable {
    var configuration: RouterConfiguration
    var limits: PoolLimits
    var maxClients: Int
    /// What a reload cannot exceed.
    let capacity: Capacity
    let premises: Premises
    let workers: WorkerPool
    let mailbox: Mailbox<Message>
    var log: Logger
    let port: UInt16
    /// Where it listens, for people.
    let address: String
    /// Where the Unix socket is, to be removed at the end.
    let socketPath: String?

    var reactor: Reactor
    var pool: TenantPool
    var sessions: Slab<Session>
    var instances: [InstanceID: Instance] = [:]
    /// Tenants whose last instance is being tidied up after, each with what waits for that.
    var retiring: [TenantName: AfterRetirement] = [:]
    /// Who waits for a tenant to be removed, for its instance to stop, for a lease that is no session's.
    var operations = Operations()
    var queries = Queries()
    /// What other threads of this program have asked for and may take back.
    var requests: [Ticket: Request] = [:]
    var cancelKeys = CancelKeys()
    var keptBackends = KeptBackends()
    var silent = SilentClients()
    /// Clients that have named their tenant: what `maxClients` limits.
    var admittedClients = 0
    /// Clients of the console, by the way they came: what `Limits.consoles` limits.
    var consoles: [Session.Entrance: Int] = [:]
    /// The console that is being advanced: an answer that comes at once does not begin that anew.
    var advancing: Token?
    var tenantListings: [TenantListing.Detail: TenantListing] = [:]
    /// Whose messages are printed.
    var inspections: Inspections
    /// Databases whose first session is still to be told that they are new.
    var unannounced: Set<TenantName> = []
    /// What went wrong with a tenant's last start, for the clients that are refused because of it.
    var startFailures: [TenantName: ErrorMessage] = [:]
    var lifetime: Lifetime = .serving
    /// The same for workers, who look at it before they begin something long.
    let isStopping = Flag()
    var isDone = false
    /// A worker that hangs must not be given the same work again every second.
    var isTrimmingLogs = false
    var acceptPause: Token?
    var lastAcceptWarning: Duration?
    var totals = Totals()
    var metrics = Metrics()
    var http = HTTPServer()
    var ledger = TrafficLedger()
    var averages = Averages()
    var pauses = Pauses()
    /// Reads the configuration again for a client of the console; `reloaded` is its answer.
    var reloader: (@Sendable (Token) -> Void)?

    var listeners: [Token] = []
    var controlListener: Token?
    /// What the pool has decided in this tick and is not done yet.
    var poolActions: [PoolAction] = []
    private var poolDeadline: (at: Duration, token: Token)?

    /// Raised once, by one thread, and seen by all.
    final class Flag: Sendable {
        private let raised = Atomic(false)
        private let waiting = Mutex<[@Sendable () -> Void]>([])

        var isRaised: Bool { raised.load(ordering: .acquiring) }

        func raise() {
            let calls = waiting.withLock { calls in
                raised.store(true, ordering: .releasing)
                defer { calls = [] }
                return calls
            }
            for call in calls { call() }
        }

        /// Calls back when it is raised, at once if it was before.
        func onRaise(_ call: @escaping @Sendable () -> Void) {
            let isWaiting = waiting.withLock { calls in
                guard !isRaised else { return false }
                calls.append(call)
                return true
            }
            if !isWaiting { call() }
        }
    }

    /// What is next for a directory that nobody uses any more.
    enum AfterRetirement {
        case rest
        case prepare(InstanceID)
        case remove
    }

    /// What the router has done since it started.
    struct Totals {
        var sessions: UInt64 = 0
        /// Those of the sessions that talked to the console.
        var consoles: UInt64 = 0
        var instances: UInt64 = 0
    }

    init(
        _ configuration: RouterConfiguration, maxClients: Int, premises: Premises, reactor: consuming Reactor,
        workers: WorkerPool, port: UInt16, address: String, socketPath: String?
    ) {
        self.configuration = configuration
        self.limits = PoolLimits(configuration)
        self.maxClients = maxClients
        self.capacity = Capacity(configuration, maxClients: maxClients)
        self.premises = premises
        self.workers = workers
        self.port = port
        self.address = address
        self.socketPath = socketPath
        self.log = configuration.logger
        self.inspections = Inspections(configuration)
        self.mailbox = Mailbox(doorbell: reactor.doorbell)
        self.reactor = reactor
        self.pool = TenantPool(limits: limits, seed: UInt64.random(in: .min ... .max))
        self.sessions = Slab(capacity: maxClients + Limits.refusedClients + 2 * Limits.consoles)
    }
}

// MARK: - The tick

extension Router {
    var store: ClusterStore { premises.store }

    /// Ticks until the router has stopped: wait, dispatch what happened, tell those who waited for sessions to leave, do
    /// what the pool decided, arm its next deadline.
    mutating func run() {
        while !isDone {
            reactor.wait()
            while let completion = reactor.next() { dispatch(completion) }
            considerPauses()
            performPoolActions()
            schedulePool()
            considerClosing()
        }
    }

    private mutating func dispatch(_ completion: consuming Completion) {
        let owner = Owner(raw: completion.owner)
        let token = completion.token
        switch owner.role {
        case .frontend:
            guard let session = sessions.token(at: owner.slot) else { return }
            frontend(session, completion.takeEvent())
        case .backend:
            guard let session = sessions.token(at: owner.slot) else { return }
            backend(session, token, completion.takeEvent())
        case .inspectedFrontend:
            guard let session = sessions.token(at: owner.slot) else { return }
            inspectedFrontend(session, completion.takeEvent())
        case .inspectedBackend:
            guard let session = sessions.token(at: owner.slot) else { return }
            inspectedBackend(session, token, completion.takeEvent())
        case .sessionDeadline:
            guard let session = sessions.token(at: owner.slot) else { return }
            sessionDeadlineExpired(session)
        case .doorbell: readMail()
        case .listener: listener(token, completion.takeEvent())
        case .acceptPause: resumeAccepting()
        case .process: process(owner.instance, completion.takeEvent())
        case .readiness: readiness(owner.instance, completion.takeEvent())
        case .instanceDeadline: instanceDeadlineExpired(owner.instance)
        case .administration: administration(owner.instance, token, completion.takeEvent())
        case .administrationDeadline: administrationDeadlineExpired(owner.instance)
        case .query: query(owner.number, token, completion.takeEvent())
        case .queryDeadline: queryDeadlineExpired(owner.number)
        case .httpListener: httpListener(completion.takeEvent())
        case .http: http(owner.slot, completion.takeEvent())
        case .httpDeadline: httpDeadlineExpired(owner.slot)
        case .keptBackend: keptBackend(owner.number, completion.takeEvent())
        case .keptBackendDeadline: keptBackendDeadlineExpired(owner.number)
        case .poolDeadline: poolDeadlineExpired()
        case .housekeeping: keepHouse()
        case .signals: signalled(completion.takeEvent())
        case .closing: isDone = true
        }
    }

    private mutating func schedulePool() {
        let next = pool.nextDeadline
        guard next != poolDeadline?.at else { return }
        if let armed = poolDeadline { reactor.cancel(deadline: armed.token) }
        poolDeadline = next.map { ($0, reactor.deadline(at: $0, owner: Owner(.poolDeadline).raw)) }
    }

    private mutating func poolDeadlineExpired() {
        poolDeadline = nil
        poolActions += pool.timePassed(now: reactor.now)
    }
}
