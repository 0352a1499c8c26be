/// What the executor shall do, in the order given.
public enum PoolAction: Sendable, Equatable {
    /// The waiter holds a lease of the ready instance; `leaseReturned` ends it.
    case grant(WaiterID, InstanceID)
    /// The waiter's answer is no; it holds nothing.
    case refuse(WaiterID, PoolRefusal)
    /// Look for the tenant's directory and check it, blocking work. Answered by `prepared`, `prepareFailed`, or
    /// `tenantIsNew` where there is none and one may be made.
    case prepare(InstanceID, TenantName)
    /// Clone the tenant's directory, blocking work. Answered by `prepared` or `prepareFailed`.
    case create(InstanceID, TenantName)
    /// Give the ready spare to the tenant, whose instance it is from now on; the instance that looked for the directory
    /// is gone. Answered by `ready` or `exited`: the executor stops a spare whose claim fails.
    case claim(spare: InstanceID, TenantName, insteadOf: InstanceID)
    /// Clone a cluster that nobody owns yet, blocking work. Answered by `sparePrepared` or `spareFailed`.
    case prepareSpare(InstanceID)
    /// Spawn the postmaster. Answered by `ready` or `exited`; a spawn that fails is an exit.
    case boot(InstanceID)
    /// Find out whether anything but a lease keeps the instance busy: a subscription, an active walsender, an
    /// autovacuum worker. Answered by `isIdle` or `isOccupied`, in bounded time; of an instance that is told to stop
    /// meanwhile the answer is no longer wanted.
    case ask(InstanceID)
    /// Run the stop ladder. Answered by `exited`.
    case stop(InstanceID)
    /// Remove the tenant's directory, which nothing runs in and nothing is prepared in, blocking work. Answered by
    /// `removed`.
    case remove(TenantName)
    /// End this instance's sessions with `57P01`; each still returns its lease.
    case terminateSessions(InstanceID)
}

/// Why a client gets no lease.
public enum PoolRefusal: Sendable, Equatable {
    /// There is no such tenant, and none may be made (`3D000`).
    case doesNotExist
    /// It waited as long as it may; what it waited for (`53300`, or `57P03` for `.startup`).
    case queueTimeout(PoolLimit)
    /// As many clients as may already wait for this tenant (`53300`).
    case queueFull
    /// The instance can't be started; a connect at `retryAt` or later tries again (`57P03`).
    case startFailed(StartFailure, retryAt: Duration)
    /// The router stops (`57P03`).
    case shuttingDown
}

/// What a client waits for.
public enum PoolLimit: Sendable, Hashable {
    /// `maxInstances`: every instance is in use.
    case instances
    /// `maxConnections`: every connection of the instance is in use.
    case connections
    /// `maxBooting`: others start first.
    case starts
    /// No limit: the tenant's own instance starts, or still stops.
    case startup
}

/// How a start failed.
public enum StartFailure: Sendable, Hashable {
    /// The directory could not be made or checked; a later attempt may succeed: a full disk.
    case preparation
    /// The directory can't be served until somebody changes it: another major version.
    case unusable
    /// The instance exited before it was ready.
    case exit
    /// The instance was not ready within `bootTimeout` and was stopped.
    case timeout
}

/// What the executor reports of a `prepare` that failed.
public enum PrepareFailure: Sendable, Hashable {
    /// There is no directory and none may be made.
    case absent
    /// Trying again may succeed.
    case retryable
    /// Trying again is useless until somebody changes the directory.
    case permanent
}
