import Testing

@testable import TenantPool

/// Actions in one line, so that a table of them can be read: `prepare 1 a, refuse 7 doesNotExist`.
func text(_ actions: [PoolAction]) -> String {
    actions.map { action in
        switch action {
        case .grant(let waiter, let instance): "grant \(waiter.raw) \(instance.raw)"
        case .refuse(let waiter, let refusal): "refuse \(waiter.raw) \(text(refusal))"
        case .prepare(let instance, let tenant): "prepare \(instance.raw) \(tenant)"
        case .create(let instance, let tenant): "create \(instance.raw) \(tenant)"
        case .claim(let spare, let tenant, let instance): "claim \(spare.raw) \(tenant) insteadOf \(instance.raw)"
        case .prepareSpare(let spare): "prepareSpare \(spare.raw)"
        case .boot(let instance): "boot \(instance.raw)"
        case .ask(let instance): "ask \(instance.raw)"
        case .stop(let instance): "stop \(instance.raw)"
        case .remove(let tenant): "remove \(tenant)"
        case .terminateSessions(let instance): "terminate \(instance.raw)"
        }
    }.joined(separator: ", ")
}

private func text(_ refusal: PoolRefusal) -> String {
    switch refusal {
    case .doesNotExist: "doesNotExist"
    case .queueTimeout(let limit): "timeout:\(limit)"
    case .queueFull: "queueFull"
    case .startFailed(let failure, _): "failed:\(failure)"
    case .shuttingDown: "shuttingDown"
    }
}

func name(_ string: String) -> TenantName {
    do { return try TenantName(string) } catch { fatalError("\(error)") }
}

/// Small enough that every limit is met with a handful of clients.
let smallLimits: PoolLimits = {
    var limits = PoolLimits()
    limits.maxInstances = 2
    limits.maxConnections = 2
    limits.maxWaitersPerTenant = 3
    limits.maxBooting = 2
    return limits
}()

/// A pool that is driven in seconds and small numbers, and answers in text.
struct Driver {
    var pool: TenantPool
    var now = Duration.seconds(100)

    init(_ limits: PoolLimits = smallLimits, spares: Int = 0) {
        var limits = limits
        limits.spares = spares
        pool = TenantPool(limits: limits, seed: 1)
    }

    mutating func request(_ waiter: UInt64, _ tenant: String) -> String {
        text(pool.leaseRequested(WaiterID(waiter), for: name(tenant), now: now))
    }
    mutating func leave(_ waiter: UInt64) -> String { text(pool.waiterLeft(WaiterID(waiter), now: now)) }
    mutating func giveBack(_ instance: UInt64) -> String { text(pool.leaseReturned(InstanceID(instance), now: now)) }
    mutating func isNew(_ instance: UInt64) -> String { text(pool.tenantIsNew(InstanceID(instance), now: now)) }
    mutating func prepared(_ instance: UInt64) -> String { text(pool.prepared(InstanceID(instance), now: now)) }
    mutating func prepareFailed(_ instance: UInt64, _ failure: PrepareFailure) -> String {
        text(pool.prepareFailed(InstanceID(instance), failure, now: now))
    }
    mutating func ready(_ instance: UInt64) -> String { text(pool.ready(InstanceID(instance), now: now)) }
    mutating func exited(_ instance: UInt64) -> String { text(pool.exited(InstanceID(instance), now: now)) }
    mutating func isIdle(_ instance: UInt64) -> String { text(pool.isIdle(InstanceID(instance), now: now)) }
    mutating func isOccupied(_ instance: UInt64) -> String { text(pool.isOccupied(InstanceID(instance), now: now)) }
    mutating func sparePrepared(_ spare: UInt64) -> String { text(pool.sparePrepared(InstanceID(spare), now: now)) }
    mutating func spareFailed(_ spare: UInt64) -> String { text(pool.spareFailed(InstanceID(spare), now: now)) }
    mutating func drop(_ tenant: String) -> String { text(pool.dropRequested(name(tenant), now: now)) }
    mutating func removed(_ tenant: String) -> String { text(pool.removed(name(tenant), now: now)) }
    mutating func stop(_ tenant: String) -> String { text(pool.stopRequested(name(tenant), now: now)) }
    mutating func change(_ change: (inout PoolLimits) -> Void) -> String {
        var limits = pool.limits
        change(&limits)
        return text(pool.limitsChanged(limits, now: now))
    }
    mutating func outdateSpares() -> String { text(pool.sparesOutdated(now: now)) }
    mutating func shutDown() -> String { text(pool.shutDown(now: now)) }

    /// Lets time pass to the next deadline, or not at all where there is none.
    mutating func wait() -> String {
        now = max(now, pool.nextDeadline ?? now)
        return text(pool.timePassed(now: now))
    }

    /// Lets a time pass, deadline by deadline.
    mutating func wait(_ seconds: Double) -> String {
        let end = now + .seconds(seconds)
        var said: [String] = []
        while let next = pool.nextDeadline, next <= end { said.append(wait()) }
        now = end
        return said.filter { !$0.isEmpty }.joined(separator: ", ")
    }

    /// A spare that is ready from the start.
    mutating func makeSpare(_ spare: UInt64) -> String {
        [wait(), sparePrepared(spare), ready(spare)].joined(separator: ", ")
    }

    /// A client that makes its tenant ready: the instance's number is the caller's to know.
    mutating func open(_ waiter: UInt64, _ tenant: String, _ instance: UInt64) -> String {
        [request(waiter, tenant), prepared(instance), ready(instance)].joined(separator: ", ")
    }
}
