/// What the pool keeps of a tenant that is not cold.
struct Tenant: Sendable {
    var phase: Phase
    /// When `phase.state` last changed.
    var since: Duration
    /// Clients without an answer, in the order they came. It lives through all phases, so it stands beside them.
    var queue = LinkedQueue<WaiterID>()
    /// Starts in a row that failed.
    var failures = 0
}

/// Where a tenant stands.
enum Phase: Sendable, Equatable {
    /// Waits for one of the slots that `maxInstances` and `maxBooting` leave; somebody is in the queue.
    case queued
    /// Its directory is looked for and checked.
    case provisioning(InstanceID)
    /// It has none, which is made.
    case creating(InstanceID)
    /// It has none, and a spare becomes it: the instance is what was the spare.
    case claiming(InstanceID, until: Duration)
    case booting(InstanceID, until: Duration)
    /// Ready, without a lease; nobody is in the queue.
    case idle(InstanceID, since: Duration)
    /// As idle, and shall stop unless something else than a lease keeps it busy.
    case asked(InstanceID, since: Duration, Question)
    /// As idle, and something else than a lease kept it busy when it was asked.
    case occupied(InstanceID, since: Duration, until: Duration)
    /// Ready, with one lease at least; somebody is in the queue only when all leases are taken.
    case busy(InstanceID, leases: Int)
    case draining(InstanceID, leases: Int, until: Duration)
    case stopping(InstanceID, StopCause)
    /// Nobody is in the queue.
    case failed(StartFailure, retryAt: Duration)
    case dropping(DropStep)
}

/// Why an instance stops, which decides what its exit means.
enum StopCause: Sendable {
    /// It served, or nobody wants it to: its exit is as ordered.
    case ordered
    /// It did not become ready: its exit is a failed start.
    case bootTimeout
}

/// How far the asking of an idle instance has come.
enum Question: Sendable {
    /// The next answer counts.
    case posed
    /// The next answer is to an earlier question that a lease has made void: the question is posed once it is here.
    case held
}

/// What a tenant that shall be gone still waits for.
enum DropStep: Sendable, Equatable {
    /// Its directory is being prepared, in which nothing will boot.
    case preparation(InstanceID)
    case sessions(InstanceID, leases: Int, until: Duration)
    case exit(InstanceID)
    /// The directory.
    case removal
}

extension Phase {
    var instance: InstanceID? {
        switch self {
        case .queued, .failed, .dropping(.removal): nil
        case .provisioning(let instance), .creating(let instance), .claiming(let instance, _),
            .booting(let instance, _), .idle(let instance, _), .asked(let instance, _, _),
            .occupied(let instance, _, _), .busy(let instance, _), .draining(let instance, _, _),
            .stopping(let instance, _), .dropping(.preparation(let instance)),
            .dropping(.sessions(let instance, _, _)), .dropping(.exit(let instance)):
            instance
        }
    }

    var leases: Int {
        switch self {
        case .busy(_, let leases), .draining(_, let leases, _), .dropping(.sessions(_, let leases, _)): leases
        case .queued, .provisioning, .creating, .claiming, .booting, .idle, .asked, .occupied, .stopping, .failed,
            .dropping(.preparation), .dropping(.exit), .dropping(.removal):
            0
        }
    }

    var state: TenantState {
        switch self {
        case .queued: .queued
        case .provisioning, .creating: .provisioning
        case .claiming: .claiming
        case .booting: .booting
        case .idle, .asked, .occupied, .busy: .ready
        case .draining: .draining
        case .stopping: .hibernating
        case .failed: .failed
        case .dropping: .dropping
        }
    }

    /// Whether it keeps cores and the disk as busy as a start does.
    var isStarting: Bool {
        switch self {
        case .provisioning, .creating, .claiming, .booting, .dropping(.preparation): true
        case .queued, .idle, .asked, .occupied, .busy, .draining, .stopping, .failed, .dropping(.sessions),
            .dropping(.exit), .dropping(.removal):
            false
        }
    }

    /// Whether its slot is about to come free, as far as anybody knows.
    var isLeaving: Bool {
        switch self {
        case .asked, .draining, .stopping, .dropping(.preparation), .dropping(.sessions), .dropping(.exit): true
        case .queued, .provisioning, .creating, .claiming, .booting, .idle, .occupied, .busy, .failed,
            .dropping(.removal):
            false
        }
    }

    /// Since when the instance could be evicted; nil where it could not.
    var idleSince: Duration? {
        switch self {
        case .idle(_, let since): since
        case .queued, .provisioning, .creating, .claiming, .booting, .asked, .occupied, .busy, .draining, .stopping,
            .failed, .dropping:
            nil
        }
    }

    /// When the phase ends by itself; nil where only an event ends it.
    func deadline(_ limits: PoolLimits) -> Duration? {
        switch self {
        case .claiming(_, let until), .booting(_, let until), .occupied(_, _, let until), .draining(_, _, let until),
            .dropping(.sessions(_, _, let until)):
            until
        case .idle(_, let since): limits.idleTimeout == .zero ? nil : since + limits.idleTimeout
        // Then its failures are forgotten: it costs memory, and nobody came for so long.
        case .failed(_, let retryAt): retryAt + limits.backoffMaximum
        case .queued, .provisioning, .creating, .asked, .busy, .stopping, .dropping(.preparation), .dropping(.exit),
            .dropping(.removal):
            nil
        }
    }
}
