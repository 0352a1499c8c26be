/// Which instance may run, wait, hibernate: the machine of all tenants, without descriptors, processes or a clock.
///
/// Every method is something that happened, at `now`, and returns what to do about it. Times are counted from the
/// reactor's start and never go back. An event that can't happen in the order the actions imply is the executor's
/// mistake and traps.
///
///                          is new, a spare is ready
///                               ┌────────────→ claiming ───────┐
///             a slot is free    │  prepared            ready   ↓
///     cold → queued ─────→ provisioning ──→ booting ───────→ ready ⇄ leases
///       ↑       ↑               │              │               │ idle or to be evicted, asked and found idle; or
///       │       │               │              │               ↓ told to stop
///       │       └ somebody waits┴── failed ────┘            draining → hibernating
///       └──────────────────────────── exited ─────────────────────────────┘
///
///     any ── drop requested → dropping: sessions end, the instance stops, the directory goes → queued or cold
///
/// Beside the tenants stand the spares, which make use of slots that no tenant needs.
public struct TenantPool: Sendable {
    /// What may come due.
    enum Deadline: Hashable {
        case waiter(WaiterID)
        case tenant(TenantName)
        case startSlot(TenantName)
        case spares
    }

    var limits: PoolLimits
    /// Leases of instances that were made for another number of them than `maxConnections` is now.
    var ownConnections: [InstanceID: Int] = [:]
    var backoff: Backoff
    var tenants: [TenantName: Tenant] = [:]
    var tenantOfInstance: [InstanceID: TenantName] = [:]
    var tenantOfWaiter: [WaiterID: TenantName] = [:]
    /// Tenants in phase `queued`.
    var startQueue = LinkedQueue<TenantName>()
    /// Tenants in phase `idle`, the longest idle first.
    var idle = Agenda<TenantName>()
    var deadlines = Agenda<Deadline>()
    /// Tenants whose phase `isStarting`, and has not been so for long.
    var startSlots: Set<TenantName> = []
    /// Tenants whose phase `isLeaving`.
    var leavingCount = 0
    /// Tenants whose directory is being removed.
    var removalCount = 0
    /// Instances of tenants that were asked whether they are idle, and have not answered.
    var unanswered: Set<InstanceID> = []
    var spares: Spares { didSet { deadlines.set(.spares, at: spares.deadline) } }
    var lastInstance: UInt64 = 0
    var isShuttingDown = false

    /// An empty pool; `seed` decides the jitter of its pauses.
    public init(limits: PoolLimits, seed: UInt64) {
        limits.check()
        self.limits = limits
        self.backoff = Backoff(minimum: limits.backoffMinimum, maximum: limits.backoffMaximum, seed: seed)
        self.spares = Spares(
            wanted: limits.spares,
            backoff: Backoff(minimum: limits.backoffMinimum, maximum: limits.backoffMaximum, seed: ~seed))
        deadlines.set(.spares, at: spares.deadline)
    }
}

// MARK: - Clients

extension TenantPool {
    /// A client wants a session; it is answered now or later by exactly one `.grant` or `.refuse`, unless it leaves.
    ///
    /// - Parameter patience: how long it waits; nil is as long as the limits say.
    public mutating func leaseRequested(
        _ waiter: WaiterID, for tenant: TenantName, patience: Duration? = nil, now: Duration
    ) -> [PoolAction] {
        let until = now + (patience ?? limits.queueTimeout)
        if isShuttingDown { return [.refuse(waiter, .shuttingDown)] }
        guard let phase = tenants[tenant]?.phase else {
            return enqueue(waiter, startingTenant: tenant, until: until, now: now)
        }
        switch phase {
        case .queued, .provisioning, .creating, .claiming, .booting, .draining, .stopping, .dropping:
            return enqueue(waiter, for: tenant, until: until)
        case .idle(let instance, _), .asked(let instance, _, _), .occupied(let instance, _, _):
            enter(.busy(instance, leases: 1), tenant, now: now)
            // If somebody counted on the slot of one that was asked, another shall make room.
            return [.grant(waiter, instance)] + fillSlots(now: now)
        case .busy(let instance, let leases):
            guard leases < connections(of: instance) else { return enqueue(waiter, for: tenant, until: until) }
            enter(.busy(instance, leases: leases + 1), tenant, now: now)
            return [.grant(waiter, instance)]
        case .failed(let failure, let retryAt):
            if now < retryAt { return [.refuse(waiter, .startFailed(failure, retryAt: retryAt))] }
            return enqueue(waiter, startingTenant: tenant, until: until, now: now)
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
        case .dropping(.sessions(_, let leases, let until)):
            if leases == 1 { return stopToDrop(instance, of: tenant, now: now) }
            enter(.dropping(.sessions(instance, leases: leases - 1, until: until)), tenant, now: now)
            return []
        case .stopping, .dropping(.exit): return []
        case .queued, .provisioning, .creating, .claiming, .booting, .idle, .asked, .occupied, .failed,
            .dropping(.preparation), .dropping(.removal):
            illegal("leaseReturned", phase)
        }
    }
}

// MARK: - Instances

extension TenantPool {
    /// There is no directory, and one may be made. Without a `.create` or `.claim` in the answer the instance is gone.
    public mutating func tenantIsNew(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        let tenant = preparingTenant(of: instance, "tenantIsNew")
        if state(of: tenant) == .dropping { return remove(tenant, now: now) + fillSlots(now: now) }
        precondition(tenants[tenant]?.phase == .provisioning(instance), "tenantIsNew: its directory was being made")
        if isShuttingDown {
            enter(nil, tenant, now: now)
            return []
        }
        guard let spare = spares.takeReady(nextAt: now + limits.sparePause, now: now) else {
            enter(.creating(instance), tenant, now: now)
            return [.create(instance, tenant)]
        }
        enter(.claiming(spare, until: now + limits.bootTimeout), tenant, now: now)
        return [.claim(spare: spare, tenant, insteadOf: instance)] + fillSlots(now: now)
    }

    /// The directory is there and checked. Without a `.boot` of it in the answer the instance is gone.
    public mutating func prepared(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        let tenant = preparingTenant(of: instance, "prepared")
        if state(of: tenant) == .dropping { return remove(tenant, now: now) + fillSlots(now: now) }
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
        let tenant = preparingTenant(of: instance, "prepareFailed")
        if state(of: tenant) == .dropping { return remove(tenant, now: now) + fillSlots(now: now) }
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

    /// The postmaster accepts connections, and a spare's has been warmed. Ignored once the instance shall stop or is
    /// gone.
    public mutating func ready(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        if spares.contains(instance) {
            spares.ready(instance)
            return fillSlots(now: now)
        }
        guard let (tenant, phase) = standing(of: instance) else { return [] }
        switch phase {
        case .claiming, .booting: break
        case .draining, .stopping, .dropping(.sessions), .dropping(.exit): return []
        case .queued, .provisioning, .creating, .idle, .asked, .occupied, .busy, .failed, .dropping(.preparation),
            .dropping(.removal):
            illegal("ready", phase)
        }
        tenants[tenant]?.failures = 0
        var grants: [PoolAction] = []
        while grants.count < connections(of: instance), let waiter = nextWaiter(of: tenant) {
            grants.append(.grant(waiter, instance))
        }
        enter(
            grants.isEmpty ? .idle(instance, since: now) : .busy(instance, leases: grants.count), tenant, now: now)
        return grants + fillSlots(now: now)
    }

    /// The postmaster is gone, however it came to that.
    public mutating func exited(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        if spares.contains(instance) {
            spares.exited(instance, now: now)
            return fillSlots(now: now)
        }
        guard let (tenant, phase) = standing(of: instance) else { noInstance("exited", instance) }
        var actions: [PoolAction] = []
        switch phase {
        case .claiming, .booting: actions = startFailed(tenant, .exit, now: now)
        case .stopping(_, .bootTimeout): actions = startFailed(tenant, .timeout, now: now)
        case .busy:
            actions = [.terminateSessions(instance)]
            enter(.queued, tenant, now: now)
        // A draining instance's sessions were told before.
        case .idle, .asked, .occupied, .draining, .stopping(_, .ordered): enter(.queued, tenant, now: now)
        case .dropping(.sessions), .dropping(.exit): actions = remove(tenant, now: now)
        case .queued, .provisioning, .creating, .failed, .dropping(.preparation), .dropping(.removal):
            illegal("exited", phase)
        }
        coolIfUnwanted(tenant, now: now)
        return actions + fillSlots(now: now)
    }
}

// MARK: - The operator

extension TenantPool {
    /// The tenant's instance shall stop; its sessions end, and clients that wait or come meanwhile boot it anew.
    /// Ignored for a tenant that runs none, is being provisioned, or is dropped.
    public mutating func stopRequested(_ tenant: TenantName, now: Duration) -> [PoolAction] {
        guard let phase = tenants[tenant]?.phase else { return [] }
        switch phase {
        case .claiming(let instance, _), .booting(let instance, _), .idle(let instance, _),
            .asked(let instance, _, _), .occupied(let instance, _, _):
            return stop(instance, of: tenant, .ordered, now: now) + fillSlots(now: now)
        case .busy(let instance, let leases):
            enter(.draining(instance, leases: leases, until: now + limits.drainTimeout), tenant, now: now)
            return [.terminateSessions(instance)]
        case .queued, .provisioning, .creating, .draining, .stopping, .failed, .dropping: return []
        }
    }

    /// The tenant shall be gone with all its data: its sessions end, its instance stops, its directory is removed.
    /// Clients that wait or come meanwhile get a new database. Ignored for one that is being dropped.
    public mutating func dropRequested(_ tenant: TenantName, now: Duration) -> [PoolAction] {
        switch tenants[tenant]?.phase {
        case nil, .queued, .failed: return remove(tenant, now: now)
        case .provisioning(let instance), .creating(let instance):
            enter(.dropping(.preparation(instance)), tenant, now: now)
            return []
        case .claiming(let instance, _), .booting(let instance, _), .idle(let instance, _),
            .asked(let instance, _, _), .occupied(let instance, _, _):
            return stopToDrop(instance, of: tenant, now: now) + fillSlots(now: now)
        case .busy(let instance, let leases):
            let until = now + limits.drainTimeout
            enter(.dropping(.sessions(instance, leases: leases, until: until)), tenant, now: now)
            return [.terminateSessions(instance)]
        case .draining(let instance, let leases, let until):
            enter(.dropping(.sessions(instance, leases: leases, until: until)), tenant, now: now)
            return []
        case .stopping(let instance, _):
            enter(.dropping(.exit(instance)), tenant, now: now)
            return []
        case .dropping: return []
        }
    }

    /// The tenant's directory is removed, or the executor gave that up.
    public mutating func removed(_ tenant: TenantName, now: Duration) -> [PoolAction] {
        guard tenants[tenant]?.phase == .dropping(.removal) else {
            preconditionFailure("removed: \(tenant) is not being removed")
        }
        // What failed was the database that is gone.
        tenants[tenant]?.failures = 0
        enter(.queued, tenant, now: now)
        coolIfUnwanted(tenant, now: now)
        return fillSlots(now: now)
    }

    /// The router stops: waiters are refused, sessions end, instances and spares stop; a drop that was requested goes
    /// on. Done when `isEmpty`; clients that come later are refused.
    public mutating func shutDown(now: Duration) -> [PoolAction] {
        isShuttingDown = true
        var actions: [PoolAction] = []
        // In an order that a seeded run repeats, which a dictionary's is not.
        for tenant in tenants.keys.sorted(by: { $0.string < $1.string }) {
            actions += refuseAll(of: tenant, .shuttingDown)
            actions += stopRequested(tenant, now: now)
            coolIfUnwanted(tenant, now: now)
        }
        return actions + spares.shutDown().map { .stop($0) }
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
            case .spares: actions += spares.timePassed(now: now).map { .stop($0) }
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
        case .claiming(let instance, _), .booting(let instance, _):
            return stop(instance, of: tenant, .bootTimeout, now: now)
        case .idle(let instance, let since): return ask(instance, of: tenant, idleSince: since, now: now)
        case .occupied(let instance, let since, _):
            enter(.idle(instance, since: since), tenant, now: now)
            return []
        case .draining(let instance, _, _): return stop(instance, of: tenant, .ordered, now: now)
        case .dropping(.sessions(let instance, _, _)): return stopToDrop(instance, of: tenant, now: now)
        case .failed:
            enter(nil, tenant, now: now)
            return []
        case .queued, .provisioning, .creating, .asked, .busy, .stopping, .dropping(.preparation), .dropping(.exit),
            .dropping(.removal):
            illegal("timePassed", phase)
        }
    }
}

// MARK: - Queries

extension TenantPool {
    /// True when there is neither an instance nor a spare, nothing is being removed, and nobody waits.
    public var isEmpty: Bool {
        tenantOfInstance.isEmpty && spares.count == 0 && removalCount == 0 && tenantOfWaiter.isEmpty
    }

    /// What the tenant does now.
    public func state(of tenant: TenantName) -> TenantState { tenants[tenant]?.phase.state ?? .cold }

    /// What the tenant's waiters wait for; nil where nobody has to wait.
    public func limit(holding tenant: TenantName) -> PoolLimit? {
        switch tenants[tenant]?.phase {
        case .queued: instanceCount + spareCount >= limits.maxInstances ? .instances : .starts
        case .provisioning, .creating, .claiming, .booting, .draining, .stopping, .dropping: .startup
        case .busy(let instance, let leases): leases < connections(of: instance) ? nil : .connections
        case nil, .idle, .asked, .occupied, .failed: nil
        }
    }

    /// How many leases the tenant's instance has to give: `maxConnections` as it was when it booted.
    public func connections(of tenant: TenantName) -> Int {
        tenants[tenant]?.phase.instance.map { connections(of: $0) } ?? limits.maxConnections
    }

    /// How many leases the tenant's instance has given out.
    public func leases(of tenant: TenantName) -> Int { tenants[tenant]?.phase.leases ?? 0 }

    /// Whether a tenant waits for another's instance to make room.
    public var lacksRoom: Bool { !startQueue.isEmpty && instanceCount + spareCount >= limits.maxInstances }

    /// Every tenant the pool knows of, in no order.
    public var snapshot: [TenantSnapshot] {
        tenants.map { TenantSnapshot($0, $1) }
    }

    /// One of them; nil where the pool knows nothing of it.
    public func snapshot(of tenant: TenantName) -> TenantSnapshot? {
        tenants[tenant].map { TenantSnapshot(tenant, $0) }
    }

    /// Instances of tenants, which count towards `maxInstances`: all from their preparation to their exit.
    public var instanceCount: Int { tenantOfInstance.count }

    /// Spares that count towards `maxInstances` too: all from their preparation to their exit.
    public var spareCount: Int { spares.count }

    /// Spares that a new name can have at once.
    public var readySpareCount: Int { spares.readyCount }

    /// Clients that wait, of all tenants.
    public var waiterCount: Int { tenantOfWaiter.count }
}
