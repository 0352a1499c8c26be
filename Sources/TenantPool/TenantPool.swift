/// Which instance may run, wait, hibernate: the machine of all tenants, without descriptors, processes or a clock.
///
/// Every method is something that happened, at `now`, and returns what to do about it. Times are counted from the
/// reactor's start and never go back.
public struct TenantPool: Sendable {
    /// An empty pool; `seed` decides the jitter of its pauses.
    public init(limits: PoolLimits, seed: UInt64) { fatalError("TODO") }

    // MARK: Clients

    /// A client wants a session; it is answered now or later by exactly one `.grant` or `.refuse`, unless it leaves.
    public mutating func leaseRequested(_ waiter: WaiterID, for tenant: TenantName, now: Duration) -> [PoolAction] {
        fatalError("TODO")
    }

    /// A client went away while it waited; its answer is no longer wanted. Ignored for a waiter that has its answer.
    public mutating func waiterLeft(_ waiter: WaiterID, now: Duration) -> [PoolAction] { fatalError("TODO") }

    /// A session ended. Ignored for an instance that is gone.
    public mutating func leaseReturned(_ instance: InstanceID, now: Duration) -> [PoolAction] { fatalError("TODO") }

    // MARK: Instances

    /// The directory is there and checked. Without a `.boot` in the answer the instance is gone.
    public mutating func prepared(_ instance: InstanceID, now: Duration) -> [PoolAction] { fatalError("TODO") }

    /// The directory is not there or not fit.
    public mutating func prepareFailed(
        _ instance: InstanceID, _ failure: PrepareFailure, now: Duration
    ) -> [PoolAction] { fatalError("TODO") }

    /// The postmaster accepts connections. Ignored once the instance shall stop.
    public mutating func ready(_ instance: InstanceID, now: Duration) -> [PoolAction] { fatalError("TODO") }

    /// The postmaster is gone, however it came to that.
    public mutating func exited(_ instance: InstanceID, now: Duration) -> [PoolAction] { fatalError("TODO") }

    // MARK: The operator

    /// The tenant's instance shall stop; its sessions end, and clients that wait or come meanwhile boot it anew.
    /// Ignored for a tenant that runs none.
    public mutating func stopRequested(_ tenant: TenantName, now: Duration) -> [PoolAction] { fatalError("TODO") }

    /// The router stops: waiters are refused, sessions end, instances stop. Done when `isEmpty`.
    public mutating func shutDown(now: Duration) -> [PoolAction] { fatalError("TODO") }

    // MARK: Time

    /// `nextDeadline` has come, or any other moment.
    public mutating func timePassed(now: Duration) -> [PoolAction] { fatalError("TODO") }

    /// When `timePassed` must be called at the latest; nil while nothing waits for time.
    public var nextDeadline: Duration? { fatalError("TODO") }

    // MARK: Queries

    /// True when there is neither an instance nor a waiter.
    public var isEmpty: Bool { fatalError("TODO") }

    /// What the tenant does now.
    public func state(of tenant: TenantName) -> TenantState { fatalError("TODO") }

    /// Every tenant the pool knows of, in no order.
    public var snapshot: [TenantSnapshot] { fatalError("TODO") }

    /// Instances that count towards `maxInstances`.
    public var instanceCount: Int { fatalError("TODO") }
}
