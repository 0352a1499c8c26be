/// One tenant as statistics show it.
public struct TenantSnapshot: Sendable, Equatable {
    /// The tenant.
    public let tenant: TenantName
    /// Its instance; nil while it waits for one or its start has failed.
    public let instance: InstanceID?
    /// What it does.
    public let state: TenantState
    /// Sessions that hold a lease.
    public let leases: Int
    /// Clients in the queue.
    public let waiters: Int
    /// When it entered this state.
    public let since: Duration
}

extension TenantSnapshot {
    init(_ name: TenantName, _ tenant: Tenant) {
        self.init(
            tenant: name, instance: tenant.phase.instance, state: tenant.phase.state, leases: tenant.phase.leases,
            waiters: tenant.queue.count, since: tenant.since)
    }
}

/// The states of a tenant, as logs and statistics name them.
public enum TenantState: String, Sendable, CaseIterable {
    /// No instance, nobody waits: the pool knows nothing of it.
    case cold
    /// Clients wait, but others come first.
    case queued
    /// Its directory is made or checked.
    case provisioning
    /// A spare becomes its instance.
    case claiming
    /// Its postmaster starts.
    case booting
    /// It serves.
    case ready
    /// Its sessions are asked to end; no new ones.
    case draining
    /// Its postmaster stops.
    case hibernating
    /// Its last start failed.
    case failed
    /// Its instance stops for good, and its directory is removed.
    case dropping
}
