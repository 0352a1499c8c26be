import Glibc
import Logging
import PostgresEmbed
import Reactor
import Synchronization
import TenantPool
import WireProtocol

/// The centre: the pool, its instances, and the tick that moves them; sessions live on lanes, the first of which ticks
/// here.
///
/// `Router+Lanes.swift` does what lanes ask for, `Router+Instances.swift` what the pool decides, with
/// `Router+Preparation.swift` and `Router+Spares.swift`.
struct Router: ~Copyable {
    var configuration: RouterConfiguration
    var limits: PoolLimits
    /// What a reload cannot exceed.
    let capacity: Capacity
    let premises: Premises
    let workers: WorkerPool
    let mailbox: Mailbox<Message>
    var log: Logger
    let port: UInt16
    /// When it started, in microseconds since 1970: read once, or every step of the clock would look like a start.
    let startedAt = WallClock.now
    /// Where it listens, for people.
    let address: String
    /// Where the Unix socket is, to be removed at the end.
    let socketPath: String?

    /// The sessions of this thread.
    var lane: Lane
    /// Those of other threads, from the second on.
    var distantLanes: [DistantLane] = []
    var laneThreads = Threads(capacity: Limits.workers)
    let commons: Commons
    /// What its own lane reports is being heard: what comes of that is heard after it.
    var isHearing = false
    var pool: TenantPool
    /// Clients that wait for a lease.
    var applicants: [WaiterID: Applicant] = [:]
    var inquiries: [UInt64: Inquiry] = [:]
    var lastInquiry: UInt64 = 0
    var instances: [InstanceID: Instance] = [:]
    /// Tenants whose last instance is being tidied up after, each with what waits for that.
    var retiring: [TenantName: AfterRetirement] = [:]
    /// Who waits for a tenant to be removed, for its instance to stop, for a lease that is no session's.
    var operations = Operations()
    var queries = Queries()
    /// What other threads of this program have asked for and may take back.
    var requests: [Ticket: Request] = [:]
    var tenantListings: [TenantListing.Detail: TenantListing] = [:]
    /// What went wrong with a tenant's last start, for the clients that are refused because of it.
    var startFailures: [TenantName: ErrorMessage] = [:]
    var lifetime: Lifetime = .serving
    var stopQueue = StopQueue(limit: Limits.simultaneousStops)
    /// The same for workers, who look at it before they begin something long.
    let isStopping = Flag()
    var isDone = false
    /// A worker that hangs must not be given the same work again every second.
    var isTrimmingLogs = false
    var acceptPause: Token?
    var lastAcceptWarning: Duration?
    var metrics = Metrics()
    var http = HTTPServer()
    /// Instances since it started.
    var instancesEver: UInt64 = 0
    var averages = Averages()
    var pauses = Pauses()
    /// Reads the configuration again for a client of the console; `reloaded` is its answer.
    var reloader: (@Sendable (ConsoleClient) -> Void)?

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

    init(
        _ configuration: RouterConfiguration, commons: Commons, premises: Premises, lane: consuming Lane,
        workers: WorkerPool, port: UInt16, address: String, socketPath: String?
    ) {
        self.configuration = configuration
        self.limits = PoolLimits(configuration)
        self.commons = commons
        self.capacity = Capacity(configuration, maxClients: commons.maxClients)
        self.premises = premises
        self.workers = workers
        self.port = port
        self.address = address
        self.socketPath = socketPath
        self.log = configuration.logger
        self.mailbox = Mailbox(doorbell: lane.reactor.doorbell)
        self.lane = lane
        self.pool = TenantPool(limits: limits, seed: UInt64.random(in: .min ... .max))
    }
}

// MARK: - The tick

extension Router {
    var store: ClusterStore { premises.store }

    /// The lane's, which both share.
    var reactor: Reactor {
        _read { yield lane.reactor }
        _modify { yield &lane.reactor }
    }

    /// How many clients may be admitted at once.
    var maxClients: Int {
        get { commons.maxClients }
        nonmutating set { commons.maxClients = newValue }
    }

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
        case .frontend, .backend, .inspectedFrontend, .inspectedBackend, .sessionDeadline, .keptBackend,
            .keptBackendDeadline:
            lane.dispatch(owner, token, completion.takeEvent())
            hearLane()
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
