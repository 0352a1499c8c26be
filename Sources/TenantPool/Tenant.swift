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
    case provisioning(InstanceID)
    case booting(InstanceID, until: Duration)
    /// Ready, without a lease; nobody is in the queue.
    case idle(InstanceID, since: Duration)
    /// Ready, with one lease at least; somebody is in the queue only when all leases are taken.
    case busy(InstanceID, leases: Int)
    case draining(InstanceID, leases: Int, until: Duration)
    case stopping(InstanceID, StopCause)
    /// Nobody is in the queue.
    case failed(StartFailure, retryAt: Duration)
}

/// Why an instance stops, which decides what its exit means.
enum StopCause: Sendable {
    /// It served, or nobody wants it to: its exit is as ordered.
    case ordered
    /// It did not become ready: its exit is a failed start.
    case bootTimeout
}

extension Phase {
    var instance: InstanceID? {
        switch self {
        case .queued, .failed: nil
        case .provisioning(let instance), .booting(let instance, _), .idle(let instance, _), .busy(let instance, _),
            .draining(let instance, _, _), .stopping(let instance, _):
            instance
        }
    }

    var leases: Int {
        switch self {
        case .busy(_, let leases), .draining(_, let leases, _): leases
        case .queued, .provisioning, .booting, .idle, .stopping, .failed: 0
        }
    }

    var state: TenantState {
        switch self {
        case .queued: .queued
        case .provisioning: .provisioning
        case .booting: .booting
        case .idle, .busy: .ready
        case .draining: .draining
        case .stopping: .hibernating
        case .failed: .failed
        }
    }

    var isStarting: Bool { state == .provisioning || state == .booting }
    var isStopping: Bool { state == .draining || state == .hibernating }

    /// Since when the instance could be evicted; nil where it could not.
    var idleSince: Duration? {
        switch self {
        case .idle(_, let since): since
        case .queued, .provisioning, .booting, .busy, .draining, .stopping, .failed: nil
        }
    }

    /// When the phase ends by itself; nil where only an event ends it.
    func deadline(_ limits: PoolLimits) -> Duration? {
        switch self {
        case .booting(_, let until), .draining(_, _, let until): until
        case .idle(_, let since): limits.idleTimeout == .zero ? nil : since + limits.idleTimeout
        // Then its failures are forgotten: it costs memory, and nobody came for so long.
        case .failed(_, let retryAt): retryAt + limits.backoffMaximum
        case .queued, .provisioning, .busy, .stopping: nil
        }
    }
}
