// Who runs next, and who makes room for whom.

// MARK: - Slots

extension TenantPool {
    /// Starts queued tenants while both limits leave a slot, then makes room for those that are still queued, or else a
    /// spare. Called after every event that may have freed a slot, queued a tenant or left an instance idle.
    mutating func fillSlots(now: Duration) -> [PoolAction] {
        guard !isShuttingDown else { return [] }
        var actions: [PoolAction] = []
        while hasFreeSlot, startSlots.count < limits.maxBooting, let tenant = startQueue.first {
            let instance = nextInstance()
            enter(.provisioning(instance), tenant, now: now)
            actions.append(.prepare(instance, tenant))
        }
        return actions + makeRoom(now: now) + makeSpare()
    }

    private var hasFreeSlot: Bool { instanceCount + spareCount < limits.maxInstances }

    /// True while fewer slots are free or about to be than queued tenants could use at once.
    private var lacksSlots: Bool {
        let coming = limits.maxInstances - instanceCount - spareCount + leavingCount + spares.leavingCount
        return coming < min(startQueue.count, limits.maxBooting)
    }

    /// Spares go before any tenant's instance does, then the longest idle.
    private mutating func makeRoom(now: Duration) -> [PoolAction] {
        var actions: [PoolAction] = []
        while lacksSlots {
            if let spare = spares.giveUpOne() {
                actions.append(.stop(spare))
            } else if let tenant = idle.first?.key, case .idle(let instance, let since) = tenants[tenant]?.phase {
                actions += ask(instance, of: tenant, idleSince: since, now: now)
            } else {
                break
            }
        }
        return actions
    }

    private mutating func nextInstance() -> InstanceID {
        lastInstance += 1
        return InstanceID(lastInstance)
    }

    mutating func giveUpStartSlot(of tenant: TenantName) {
        startSlots.remove(tenant)
        deadlines.set(.startSlot(tenant), at: nil)
    }
}

// MARK: - Spares

extension TenantPool {
    /// The spare's directory is there. Without a `.boot` of it in the answer the spare is gone.
    public mutating func sparePrepared(_ spare: InstanceID, now: Duration) -> [PoolAction] {
        let isOfUse = spares.prepared(spare, bootingUntil: now + limits.bootTimeout)
        // Now that it no longer counts as leaving.
        if !isOfUse || isShuttingDown || lacksSlots || spares.exceedWanted {
            spares.withdraw(spare)
            return fillSlots(now: now)
        }
        return [.boot(spare)]
    }

    /// The spare's directory could not be made; the spare is gone.
    public mutating func spareFailed(_ spare: InstanceID, now: Duration) -> [PoolAction] {
        spares.failed(spare, now: now)
        return fillSlots(now: now)
    }

    /// While a tenant starts, or waits for that, the cores and the disk are its own.
    private mutating func makeSpare() -> [PoolAction] {
        guard startQueue.isEmpty, startSlots.isEmpty, hasFreeSlot, spares.lacksOne else { return [] }
        let spare = nextInstance()
        spares.begin(spare)
        return [.prepareSpare(spare)]
    }
}

// MARK: - Asking

extension TenantPool {
    /// Nothing but its postmaster lives in the instance that was asked. Ignored once it has a lease, stops or is gone.
    public mutating func isIdle(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        answered(instance, now: now) { pool, tenant, _ in pool.stop(instance, of: tenant, .ordered, now: now) }
    }

    /// Something without a lease keeps the instance that was asked busy. Ignored once it has a lease, stops or is gone.
    public mutating func isOccupied(_ instance: InstanceID, now: Duration) -> [PoolAction] {
        answered(instance, now: now) { pool, tenant, since in
            pool.enter(.occupied(instance, since: since, until: now + pool.limits.occupiedPause), tenant, now: now)
            return pool.fillSlots(now: now)
        }
    }

    private mutating func answered(
        _ instance: InstanceID, now: Duration, then: (inout Self, TenantName, Duration) -> [PoolAction]
    ) -> [PoolAction] {
        guard unanswered.remove(instance) != nil, let (tenant, phase) = standing(of: instance),
            case .asked(_, let since, let question) = phase
        else { return [] }
        switch question {
        case .posed: return then(&self, tenant, since)
        case .held:
            // Time and the others decide anew whether it is to be asked.
            enter(.idle(instance, since: since), tenant, now: now)
            return timePassed(now: now)
        }
    }

    /// One question at a time is on its way to an instance, so that no answer is taken for another's.
    mutating func ask(
        _ instance: InstanceID, of tenant: TenantName, idleSince since: Duration, now: Duration
    ) -> [PoolAction] {
        let isFirst = unanswered.insert(instance).inserted
        enter(.asked(instance, since: since, isFirst ? .posed : .held), tenant, now: now)
        return isFirst ? [.ask(instance)] : []
    }
}

// MARK: - Ends

extension TenantPool {
    mutating func stop(
        _ instance: InstanceID, of tenant: TenantName, _ cause: StopCause, now: Duration
    ) -> [PoolAction] {
        enter(.stopping(instance, cause), tenant, now: now)
        return [.stop(instance)]
    }

    mutating func stopToDrop(_ instance: InstanceID, of tenant: TenantName, now: Duration) -> [PoolAction] {
        enter(.dropping(.exit(instance)), tenant, now: now)
        return [.stop(instance)]
    }

    mutating func remove(_ tenant: TenantName, now: Duration) -> [PoolAction] {
        enter(.dropping(.removal), tenant, now: now)
        return [.remove(tenant)]
    }

    mutating func startFailed(_ tenant: TenantName, _ failure: StartFailure, now: Duration) -> [PoolAction] {
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
