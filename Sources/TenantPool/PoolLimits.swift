/// How much of everything, and for how long. Counts are at least 1 unless said otherwise.
public struct PoolLimits: Sendable, Equatable {
    /// Instances that run, start or stop at once: each costs 8 to 11 MB of memory and five processes.
    public var maxInstances = 100
    /// Booted clusters that nobody owns yet, kept for new names in slots of `maxInstances` that no tenant needs; may be
    /// zero. Each saves one new name a clone and a boot, and costs an idle instance's memory.
    public var spares = 0
    /// How long after a spare was taken the next one is begun: the session that it was taken for has the cores and the
    /// disk to itself.
    public var sparePause = Duration.zero
    /// Leases of one instance: PostgreSQL reserves memory for each connection it may ever have.
    public var maxConnections = 40
    /// Clients of one tenant in its queue; above the 1,000 that may meet a new name at once, below what would let one
    /// tenant hold every session of the router.
    public var maxWaitersPerTenant = 4_000
    /// Instances provisioning and booting at once: a boot keeps a core busy for 30 ms and a clone the disk for 60;
    /// more at once end later, not sooner.
    public var maxBooting = 8
    /// After how long a start no longer counts towards `maxBooting`: it then waits for something else than a core, and
    /// a few instances that hang must not keep all others from starting.
    public var startSlotTime = Duration.seconds(3)
    /// How long a client waits before it is refused.
    public var queueTimeout = Duration.seconds(30)
    /// How long an instance stays without a lease before it hibernates; zero is for ever.
    public var idleTimeout = Duration.seconds(300)
    /// How long an instance that was found occupied without a lease is left alone: asking costs a query, and what
    /// occupies it (a subscription, a base backup, a vacuum) lasts for seconds at least.
    public var occupiedPause = Duration.seconds(10)
    /// How long a boot may take before the instance is stopped: crash recovery replays up to a gigabyte of WAL, and
    /// one cut short begins anew.
    public var bootTimeout = Duration.seconds(300)
    /// How long the sessions of an instance that shall stop have to end by themselves.
    public var drainTimeout = Duration.seconds(3)
    /// Starts in a row that may fail before the clients are told: the first after a crash can meet what the crash left.
    public var startAttempts = 2
    /// The pause after the first failure that clients were told of; each further one doubles it.
    public var backoffMinimum = Duration.milliseconds(250)
    /// The longest pause: a cause that is gone is noticed at most this much later.
    public var backoffMaximum = Duration.seconds(15)

    /// The defaults.
    public init() {}

    func check() {
        precondition(
            min(maxInstances, maxConnections, maxBooting, startAttempts) >= 1 && spares >= 0,
            "each count is at least 1, and spares at least none")
    }
}
