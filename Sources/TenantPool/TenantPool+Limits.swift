// What changes when somebody changes the limits.

extension TenantPool {
    /// Other limits from now on. Nobody loses anything: a client that waits keeps its deadline, an instance its leases
    /// and the number of them that it booted with. Where more run than may, spares and idle instances make room, and the
    /// others are not followed by new ones. Ignored while the router stops.
    public mutating func limitsChanged(_ changed: PoolLimits, now: Duration) -> [PoolAction] {
        guard !isShuttingDown else { return [] }
        changed.check()
        keepConnections(changed)
        limits = changed
        let unwanted = spares.wantedChanged(changed.spares)
        // In an order that a seeded run repeats, which a dictionary's is not.
        for tenant in tenants.keys.sorted(by: { $0.string < $1.string }) {
            deadlines.set(.tenant(tenant), at: tenants[tenant]?.phase.deadline(limits))
        }
        return unwanted.map { .stop($0) } + timePassed(now: now)
    }

    /// The next instances will boot with other settings, and the spares have not: others are made in their stead.
    public mutating func sparesOutdated(now: Duration) -> [PoolAction] {
        guard !isShuttingDown else { return [] }
        return spares.outdated().map { .stop($0) } + fillSlots(now: now)
    }

    func connections(of instance: InstanceID) -> Int { ownConnections[instance] ?? limits.maxConnections }

    /// What has booted keeps its number. What is still prepared may boot with either, and gets the smaller one.
    private mutating func keepConnections(_ changed: PoolLimits) {
        guard changed.maxConnections != limits.maxConnections else { return }
        var kept: [InstanceID: Int] = [:]
        for (instance, tenant) in tenantOfInstance {
            let isPrepared = tenants[tenant]?.phase.isPrepared ?? true
            let own = connections(of: instance)
            kept[instance] = isPrepared ? own : min(own, changed.maxConnections)
        }
        for spare in spares.ids {
            let own = connections(of: spare)
            kept[spare] = spares.isBeingPrepared(spare) ? min(own, changed.maxConnections) : own
        }
        ownConnections = kept
    }
}

extension Phase {
    /// Whether the instance's settings are written.
    fileprivate var isPrepared: Bool {
        switch self {
        case .provisioning, .creating, .dropping(.preparation): false
        case .queued, .claiming, .booting, .idle, .asked, .occupied, .busy, .draining, .stopping, .failed,
            .dropping(.sessions), .dropping(.exit), .dropping(.removal):
            true
        }
    }
}
