// Who waits for what, and the one way from phase to phase.

// MARK: - Waiters

extension TenantPool {
    mutating func enqueue(
        _ waiter: WaiterID, startingTenant tenant: TenantName, until: Duration, now: Duration
    ) -> [PoolAction] {
        enter(.queued, tenant, now: now)
        return enqueue(waiter, for: tenant, until: until) + fillSlots(now: now)
    }

    mutating func enqueue(_ waiter: WaiterID, for tenant: TenantName, until: Duration) -> [PoolAction] {
        if let count = tenants[tenant]?.queue.count, count >= limits.maxWaitersPerTenant {
            return [.refuse(waiter, .queueFull)]
        }
        precondition(tenantOfWaiter.updateValue(tenant, forKey: waiter) == nil, "waiter \(waiter.raw) waits already")
        tenants[tenant]?.queue.append(waiter)
        deadlines.set(.waiter(waiter), at: until)
        return []
    }

    mutating func nextWaiter(of tenant: TenantName) -> WaiterID? {
        guard let waiter = tenants[tenant]?.queue.first else { return nil }
        _ = forget(waiter)
        return waiter
    }

    mutating func refuseAll(of tenant: TenantName, _ refusal: PoolRefusal) -> [PoolAction] {
        var actions: [PoolAction] = []
        while let waiter = nextWaiter(of: tenant) { actions.append(.refuse(waiter, refusal)) }
        return actions
    }

    /// Takes a waiter out of everything; its tenant, or nil for one that does not wait.
    mutating func forget(_ waiter: WaiterID) -> TenantName? {
        guard let tenant = tenantOfWaiter.removeValue(forKey: waiter) else { return nil }
        tenants[tenant]?.queue.remove(waiter)
        deadlines.set(.waiter(waiter), at: nil)
        return tenant
    }
}

// MARK: - Transitions

extension TenantPool {
    /// The one place where a tenant changes its phase; nil is cold. Everything that follows from a phase follows here.
    mutating func enter(_ phase: Phase?, _ name: TenantName, now: Duration) {
        let old = tenants[name]?.phase
        if let phase {
            tenants[name, default: Tenant(phase: phase, since: now)].phase = phase
            if old?.state != phase.state { tenants[name]?.since = now }
        } else {
            precondition(tenants[name]?.queue.isEmpty != false, "a cold tenant has no waiters")
            tenants[name] = nil
        }
        if old?.instance != phase?.instance {
            if let instance = old?.instance {
                tenantOfInstance[instance] = nil
                unanswered.remove(instance)
                ownConnections[instance] = nil
            }
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
        leavingCount += (phase?.isLeaving == true ? 1 : 0) - (old?.isLeaving == true ? 1 : 0)
        removalCount += (phase == .dropping(.removal) ? 1 : 0) - (old == .dropping(.removal) ? 1 : 0)
        idle.set(name, at: phase?.idleSince)
        deadlines.set(.tenant(name), at: phase?.deadline(limits))
    }

    /// A tenant is queued only while somebody waits, and failures are not remembered beyond the router's stop.
    mutating func coolIfUnwanted(_ tenant: TenantName, now: Duration) {
        guard let phase = tenants[tenant]?.phase, tenants[tenant]?.queue.isEmpty == true else { return }
        switch phase {
        case .queued: enter(nil, tenant, now: now)
        case .failed: if isShuttingDown { enter(nil, tenant, now: now) }
        case .provisioning, .creating, .claiming, .booting, .idle, .asked, .occupied, .busy, .draining, .stopping,
            .dropping:
            break
        }
    }

    func standing(of instance: InstanceID) -> (tenant: TenantName, phase: Phase)? {
        guard let tenant = tenantOfInstance[instance], let phase = tenants[tenant]?.phase else { return nil }
        return (tenant, phase)
    }

    /// The tenant whose directory was being prepared, be it to be dropped.
    func preparingTenant(of instance: InstanceID, _ event: StaticString) -> TenantName {
        guard let (tenant, phase) = standing(of: instance) else { noInstance(event, instance) }
        switch phase {
        case .provisioning, .creating, .dropping(.preparation): return tenant
        case .queued, .claiming, .booting, .idle, .asked, .occupied, .busy, .draining, .stopping, .failed,
            .dropping(.sessions), .dropping(.exit), .dropping(.removal):
            illegal(event, phase)
        }
    }

    func noInstance(_ event: StaticString, _ instance: InstanceID) -> Never {
        preconditionFailure("\(event): no instance \(instance.raw)")
    }

    func illegal(_ event: StaticString, _ phase: Phase) -> Never {
        preconditionFailure("\(event) is impossible in \(phase)")
    }
}
