/// Which instance may run, wait, hibernate: the machine of all tenants, without descriptors, processes or a clock.
///
/// Every method is something that happened, at `now`, and returns what to do about it. Times are counted from the
/// reactor's start and never go back. An event that can't happen in the order the actions imply is the executor's
/// mistake and traps.
///
///                    a slot is free      prepared            ready
///     cold → queued ───────────────→ provisioning → booting ───────→ ready ⇄ leases
///       ↑       ↑                          │           │               │ idle, evicted, asked to stop
///       │       └── somebody waits ────────┴─ failed ──┘               ↓
///       └──────────── exited ──────────────────────────── hibernating ← draining
public struct TenantPool: Sendable {
    /// What may come due.
    private enum Deadline: Hashable {
        case waiter(WaiterID)
        case tenant(TenantName)
        case startSlot(TenantName)
    }

    private let limits: PoolLimits
    private var backoff: Backoff
    private var tenants: [TenantName: Tenant] = [:]
    private var tenantOfInstance: [InstanceID: TenantName] = [:]
    private var tenantOfWaiter: [WaiterID: TenantName] = [:]
    /// Tenants in phase `queued`.
    private var startQueue = LinkedQueue<TenantName>()
    /// Tenants in phase `idle`, the longest idle first.
    private var idle = Agenda<TenantName>()
    private var deadlines = Agenda<Deadline>()
    /// Tenants that provision or boot, and have not done so for long.
    private var startSlots: Set<TenantName> = []
    private var stoppingCount = 0
    private var lastInstance: UInt64 = 0
    private var isShuttingDown = false

    /// An empty pool; `seed` decides the jitter of its pauses.
    public init(limits: PoolLimits, seed: UInt64) {
        precondition(
            min(limits.maxInstances, limits.maxConnections, limits.maxBooting, limits.startAttempts) >= 1,
            "each count is at least 1")
        self.limits = limits
        self.backoff = Backoff(minimum: limits.backoffMinimum, maximum: limits.backoffMaximum, seed: seed)
    }
}

// MARK: - Clients

extension TenantPool {
    /// A client wants a session; it is answered now or later by exactly one `.grant` or `.refuse`, unless it leaves.
    public mutating func leaseRequested(_ waiter: WaiterID, for tenant: TenantName, now: Duration) -> [PoolAction] {
        if isShuttingDown { return [.refuse(waiter, .shuttingDown)] }
        guard let phase = tenants[tenant]?.phase else { return enqueue(waiter, startingTenant: tenant, now: now) }
        switch phase {
        case .queued, .provisioning, .booting, .draining, .stopping:
            return enqueue(waiter, for: tenant, now: now)
        case .idle(let instance, _):
            enter(.busy(instance, leases: 1), tenant, now: now)
            return [.grant(waiter, instance)]
        case .busy(let instance, let leases):
            guard leases < limits.maxConnections else { return enqueue(waiter, for: tenant, now: now) }
            enter(.busy(instance, leases: leases + 1), tenant, now: now)
            return [.grant(waiter, instance)]
        case .failed(let failure, let retryAt):
            if now < retryAt { return [.refuse(waiter, .startFailed(failure, retryAt: retryAt))] }
            return enqueue(waiter, startingTenant: tenant, now: now)
        }
    }

    /// A client went away while it waited; its answer is no longer wanted. Ignored for a waiter that has its answer.
    public mutating func waiterLeft(_ waiter: WaiterID, now: Duration) -> [PoolAction] {
        guard let tenant = forget(waiter) else { return [] }
        coolIfUnwanted(tenant, now: now)
        return []
    }

    /// A session ended. Ignored for an instance that is gone or stops.
    public mutating func leaseReturned(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        guard let (tenant, phase) = standing(of: instance) else { return [] }
        switch phase {
        case .busy(_, let leases):
            if let waiter = nextWaiter(of: tenant) { return [.grant(waiter, instance)] }
            enter(
                leases == 1 ? .idle(instance, since: now) : .busy(instance, leases: leases - 1), tenant, now: now)
            return fillSlots(now: now)
        case .draining(_, let leases, let until):
            if leases == 1 { return stop(instance, of: tenant, .ordered, now: now) }
            enter(.draining(instance, leases: leases - 1, until: until), tenant, now: now)
            return []
        case .stopping: return []
        case .queued, .provisioning, .booting, .idle, .failed: illegal("leaseReturned", phase)
        }
    }
}

// MARK: - Instances

extension TenantPool {
    /// The directory is there and checked. Without a `.boot` of it in the answer the instance is gone.
    public mutating func prepared(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        let tenant = provisioningTenant(of: instance, "prepared")
        if isShuttingDown {
            enter(nil, tenant, now: now)
            return []
        }
        enter(.booting(instance, until: now + limits.bootTimeout), tenant, now: now)
        return [.boot(instance)]
    }

    /// The directory is not there or not fit; the instance is gone.
    public mutating func prepareFailed(
        _ instance: InstanceID, _ failure: PrepareFailure, now: Duration
    ) -> [PoolAction] {
        let tenant = provisioningTenant(of: instance, "prepareFailed")
        var actions: [PoolAction] = []
        switch failure {
        case .absent:
            actions = refuseAll(of: tenant, .doesNotExist)
            enter(nil, tenant, now: now)
        case .permanent:
            actions = refuseAll(of: tenant, .startFailed(.unusable, retryAt: now))
            enter(nil, tenant, now: now)
        case .retryable: actions = startFailed(tenant, .preparation, now: now)
        }
        coolIfUnwanted(tenant, now: now)
        return actions + fillSlots(now: now)
    }

    /// The postmaster accepts connections. Ignored once the instance shall stop or is gone.
    public mutating func ready(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        guard let (tenant, phase) = standing(of: instance) else { return [] }
        switch phase {
        case .booting: break
        case .draining, .stopping: return []
        case .queued, .provisioning, .idle, .busy, .failed: illegal("ready", phase)
        }
        tenants[tenant]?.failures = 0
        var grants: [PoolAction] = []
        while grants.count < limits.maxConnections, let waiter = nextWaiter(of: tenant) {
            grants.append(.grant(waiter, instance))
        }
        enter(
            grants.isEmpty ? .idle(instance, since: now) : .busy(instance, leases: grants.count), tenant, now: now)
        return grants + fillSlots(now: now)
    }

    /// The postmaster is gone, however it came to that.
    public mutating func exited(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        guard let (tenant, phase) = standing(of: instance) else {
            preconditionFailure("exited: no instance \(instance.raw)")
        }
        var actions: [PoolAction] = []
        switch phase {
        case .booting: actions = startFailed(tenant, .exit, now: now)
        case .stopping(_, .bootTimeout): actions = startFailed(tenant, .timeout, now: now)
        case .busy:
            actions = [.terminateSessions(instance)]
            enter(.queued, tenant, now: now)
        // A draining instance's sessions were told before.
        case .idle, .draining, .stopping(_, .ordered): enter(.queued, tenant, now: now)
        case .queued, .provisioning, .failed: illegal("exited", phase)
        }
        coolIfUnwanted(tenant, now: now)
        return actions + fillSlots(now: now)
    }
}

// MARK: - New tenants, spares, asking

extension TenantPool {
    /// There is no directory, and one may be made. Without a `.create` or `.claim` in the answer the instance is gone.
    public mutating func tenantIsNew(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        preconditionFailure("not yet")
    }

    /// The spare's directory is there. Without a `.boot` of it in the answer the spare is gone.
    public mutating func sparePrepared(_ spare: InstanceID, now: Duration) -> [PoolAction] {
        preconditionFailure("not yet")
    }

    /// The spare's directory could not be made; the spare is gone.
    public mutating func spareFailed(_ spare: InstanceID, now: Duration) -> [PoolAction] {
        preconditionFailure("not yet")
    }

    /// Nothing but its postmaster lives in the instance that was asked. Ignored once it has a lease, stops or is gone.
    public mutating func isIdle(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        preconditionFailure("not yet")
    }

    /// Something without a lease keeps the instance that was asked busy. Ignored once it has a lease, stops or is gone.
    public mutating func isOccupied(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        preconditionFailure("not yet")
    }
}

// MARK: - The operator

extension TenantPool {
    /// The tenant's instance shall stop; its sessions end, and clients that wait or come meanwhile boot it anew.
    /// Ignored for a tenant that runs none or is being provisioned.
    public mutating func stopRequested(_ tenant: TenantName, now: Duration) -> [PoolAction] {
        guard let phase = tenants[tenant]?.phase else { return [] }
        switch phase {
        case .booting(let instance, _), .idle(let instance, _):
            return stop(instance, of: tenant, .ordered, now: now) + fillSlots(now: now)
        case .busy(let instance, let leases):
            enter(.draining(instance, leases: leases, until: now + limits.drainTimeout), tenant, now: now)
            return [.terminateSessions(instance)]
        case .queued, .provisioning, .draining, .stopping, .failed: return []
        }
    }

    /// The tenant shall be gone with all its data: its sessions end, its instance stops, its directory is removed.
    /// Clients that wait or come meanwhile get a new database.
    public mutating func dropRequested(_ tenant: TenantName, now: Duration) -> [PoolAction] {
        preconditionFailure("not yet")
    }

    /// The tenant's directory is removed, or the executor gave that up.
    public mutating func removed(_ tenant: TenantName, now: Duration) -> [PoolAction] {
        preconditionFailure("not yet")
    }

    /// The router stops: waiters are refused, sessions end, instances stop. Done when `isEmpty`; clients that come
    /// later are refused.
    public mutating func shutDown(now: Duration) -> [PoolAction] {
        isShuttingDown = true
        var actions: [PoolAction] = []
        // In an order that a seeded run repeats, which a dictionary's is not.
        for tenant in tenants.keys.sorted(by: { $0.string < $1.string }) {
            actions += refuseAll(of: tenant, .shuttingDown)
            actions += stopRequested(tenant, now: now)
            coolIfUnwanted(tenant, now: now)
        }
        return actions
    }
}

// MARK: - Time

extension TenantPool {
    /// `nextDeadline` has come, or any other moment.
    public mutating func timePassed(now: Duration) -> [PoolAction] {
        var actions: [PoolAction] = []
        while let due = deadlines.first, due.instant <= now {
            switch due.key {
            case .waiter(let waiter): actions += waitedTooLong(waiter, now: now)
            case .tenant(let tenant): actions += phaseEnded(of: tenant, now: now)
            case .startSlot(let tenant): giveUpStartSlot(of: tenant)
            }
        }
        return actions + fillSlots(now: now)
    }

    /// When `timePassed` must be called at the latest; nil while nothing waits for time.
    public var nextDeadline: Duration? { deadlines.first?.instant }

    private mutating func waitedTooLong(_ waiter: WaiterID, now: Duration) -> [PoolAction] {
        guard let tenant = tenantOfWaiter[waiter], let limit = limit(holding: tenant) else { return [] }
        _ = forget(waiter)
        coolIfUnwanted(tenant, now: now)
        return [.refuse(waiter, .queueTimeout(limit))]
    }

    private mutating func phaseEnded(of tenant: TenantName, now: Duration) -> [PoolAction] {
        guard let phase = tenants[tenant]?.phase else { preconditionFailure("a deadline of a cold tenant") }
        switch phase {
        case .booting(let instance, _): return stop(instance, of: tenant, .bootTimeout, now: now)
        case .idle(let instance, _), .draining(let instance, _, _):
            return stop(instance, of: tenant, .ordered, now: now)
        case .failed:
            enter(nil, tenant, now: now)
            return []
        case .queued, .provisioning, .busy, .stopping: illegal("timePassed", phase)
        }
    }
}

// MARK: - Queries

extension TenantPool {
    /// True when there is neither an instance nor a waiter.
    public var isEmpty: Bool { tenantOfInstance.isEmpty && tenantOfWaiter.isEmpty }

    /// What the tenant does now.
    public func state(of tenant: TenantName) -> TenantState { tenants[tenant]?.phase.state ?? .cold }

    /// What the tenant's waiters wait for; nil where nobody has to wait.
    public func limit(holding tenant: TenantName) -> PoolLimit? {
        switch tenants[tenant]?.phase {
        case .queued: instanceCount >= limits.maxInstances ? .instances : .starts
        case .provisioning, .booting, .draining, .stopping: .startup
        case .busy(_, let leases): leases < limits.maxConnections ? nil : .connections
        case nil, .idle, .failed: nil
        }
    }

    /// Every tenant the pool knows of, in no order.
    public var snapshot: [TenantSnapshot] {
        tenants.map { name, tenant in
            TenantSnapshot(
                tenant: name, instance: tenant.phase.instance, state: tenant.phase.state,
                leases: tenant.phase.leases, waiters: tenant.queue.count, since: tenant.since)
        }
    }

    /// Instances that count towards `maxInstances`: all from their preparation to their exit.
    public var instanceCount: Int { tenantOfInstance.count }

    /// Spares that count towards `maxInstances` too: all from their preparation to their exit.
    public var spareCount: Int { 0 }

    /// Spares that a new name can have at once.
    public var readySpareCount: Int { 0 }

    /// Clients that wait, of all tenants.
    public var waiterCount: Int { tenantOfWaiter.count }
}

// MARK: - Slots

extension TenantPool {
    /// Starts queued tenants while both limits leave a slot, then evicts the longest idle instances for those that are
    /// still queued. Called after every event that may have freed a slot, queued a tenant or left an instance idle.
    private mutating func fillSlots(now: Duration) -> [PoolAction] {
        guard !isShuttingDown else { return [] }
        var actions: [PoolAction] = []
        while instanceCount < limits.maxInstances, startSlots.count < limits.maxBooting, let tenant = startQueue.first {
            lastInstance += 1
            let instance = InstanceID(lastInstance)
            enter(.provisioning(instance), tenant, now: now)
            actions.append(.prepare(instance, tenant))
        }
        while lacksInstances, let longestIdle = idle.first?.key, let instance = tenants[longestIdle]?.phase.instance {
            actions += stop(instance, of: longestIdle, .ordered, now: now)
        }
        return actions
    }

    /// True while fewer slots are free or about to be than queued tenants could use at once.
    private var lacksInstances: Bool {
        let coming = limits.maxInstances - instanceCount + stoppingCount
        return coming < min(startQueue.count, limits.maxBooting)
    }

    private mutating func giveUpStartSlot(of tenant: TenantName) {
        startSlots.remove(tenant)
        deadlines.set(.startSlot(tenant), at: nil)
    }

    private mutating func stop(
        _ instance: InstanceID, of tenant: TenantName, _ cause: StopCause, now: Duration
    ) -> [PoolAction] {
        enter(.stopping(instance, cause), tenant, now: now)
        return [.stop(instance)]
    }

    private mutating func startFailed(_ tenant: TenantName, _ failure: StartFailure, now: Duration) -> [PoolAction] {
        let failures = (tenants[tenant]?.failures ?? 0) + 1
        tenants[tenant]?.failures = failures
        let isTold = failures >= limits.startAttempts
        if !isTold, tenants[tenant]?.queue.isEmpty == false {
            enter(.queued, tenant, now: now)
            return []
        }
        let retryAt = isTold ? now + backoff.pause(doublings: failures - limits.startAttempts) : now
        let refusals = refuseAll(of: tenant, .startFailed(failure, retryAt: retryAt))
        enter(.failed(failure, retryAt: retryAt), tenant, now: now)
        return refusals
    }
}

// MARK: - Waiters

extension TenantPool {
    private mutating func enqueue(_ waiter: WaiterID, startingTenant tenant: TenantName, now: Duration) -> [PoolAction]
    {
        enter(.queued, tenant, now: now)
        return enqueue(waiter, for: tenant, now: now) + fillSlots(now: now)
    }

    private mutating func enqueue(_ waiter: WaiterID, for tenant: TenantName, now: Duration) -> [PoolAction] {
        if let count = tenants[tenant]?.queue.count, count >= limits.maxWaitersPerTenant {
            return [.refuse(waiter, .queueFull)]
        }
        precondition(tenantOfWaiter.updateValue(tenant, forKey: waiter) == nil, "waiter \(waiter.raw) waits already")
        tenants[tenant]?.queue.append(waiter)
        deadlines.set(.waiter(waiter), at: now + limits.queueTimeout)
        return []
    }

    private mutating func nextWaiter(of tenant: TenantName) -> WaiterID? {
        guard let waiter = tenants[tenant]?.queue.first else { return nil }
        _ = forget(waiter)
        return waiter
    }

    private mutating func refuseAll(of tenant: TenantName, _ refusal: PoolRefusal) -> [PoolAction] {
        var actions: [PoolAction] = []
        while let waiter = nextWaiter(of: tenant) { actions.append(.refuse(waiter, refusal)) }
        return actions
    }

    /// Takes a waiter out of everything; its tenant, or nil for one that does not wait.
    private mutating func forget(_ waiter: WaiterID) -> TenantName? {
        guard let tenant = tenantOfWaiter.removeValue(forKey: waiter) else { return nil }
        tenants[tenant]?.queue.remove(waiter)
        deadlines.set(.waiter(waiter), at: nil)
        return tenant
    }
}

// MARK: - Transitions

extension TenantPool {
    /// The one place where a tenant changes its phase; nil is cold. Everything that follows from a phase follows here.
    private mutating func enter(_ phase: Phase?, _ name: TenantName, now: Duration) {
        let old = tenants[name]?.phase
        if let phase {
            tenants[name, default: Tenant(phase: phase, since: now)].phase = phase
            if old?.state != phase.state { tenants[name]?.since = now }
        } else {
            precondition(tenants[name]?.queue.isEmpty != false, "a cold tenant has no waiters")
            tenants[name] = nil
        }
        if old?.instance != phase?.instance {
            if let instance = old?.instance { tenantOfInstance[instance] = nil }
            if let instance = phase?.instance { tenantOfInstance[instance] = name }
        }
        if (old == .queued) != (phase == .queued) {
            if phase == .queued { startQueue.append(name) } else { startQueue.remove(name) }
        }
        switch (old?.isStarting == true, phase?.isStarting == true) {
        case (false, true):
            startSlots.insert(name)
            deadlines.set(.startSlot(name), at: now + limits.startSlotTime)
        case (true, false): giveUpStartSlot(of: name)
        case (false, false), (true, true): break
        }
        stoppingCount += (phase?.isStopping == true ? 1 : 0) - (old?.isStopping == true ? 1 : 0)
        idle.set(name, at: phase?.idleSince)
        deadlines.set(.tenant(name), at: phase?.deadline(limits))
    }

    /// A tenant is queued only while somebody waits, and failures are not remembered beyond the router's stop.
    private mutating func coolIfUnwanted(_ tenant: TenantName, now: Duration) {
        guard let phase = tenants[tenant]?.phase, tenants[tenant]?.queue.isEmpty == true else { return }
        switch phase {
        case .queued: enter(nil, tenant, now: now)
        case .failed: if isShuttingDown { enter(nil, tenant, now: now) }
        case .provisioning, .booting, .idle, .busy, .draining, .stopping: break
        }
    }

    private func standing(of instance: InstanceID) -> (tenant: TenantName, phase: Phase)? {
        guard let tenant = tenantOfInstance[instance], let phase = tenants[tenant]?.phase else { return nil }
        return (tenant, phase)
    }

    private func provisioningTenant(of instance: InstanceID, _ event: StaticString) -> TenantName {
        guard let (tenant, phase) = standing(of: instance), phase == .provisioning(instance) else {
            preconditionFailure("\(event): instance \(instance.raw) is not being provisioned")
        }
        return tenant
    }

    private func illegal(_ event: StaticString, _ phase: Phase) -> Never {
        preconditionFailure("\(event) is impossible in \(phase)")
    }
}
