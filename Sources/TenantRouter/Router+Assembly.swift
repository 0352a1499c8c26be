import Glibc
import Logging
import PostgresEmbed
import Reactor
import TenantPool

// How a router is put together, and taken apart.

extension Router {
    /// Opens everything that a router needs, in the order in which a user can understand what is wrong. Blocking: it
    /// runs on the thread that then serves, because the reactor and every postmaster belong to that thread.
    static func assemble(
        _ configuration: RouterConfiguration, _ listeners: RouterListeners, progress: (String) -> Void
    ) throws(RouterError) -> Router {
        try configuration.validate()
        let maxClients = try maxClients(of: configuration)
        let premises = try Premises.open(configuration, progress: progress)
        do throws(RouterError) {
            try listeners.bindPrivateSocket(in: premises)
            return try assemble(configuration, listeners, premises, maxClients: maxClients)
        } catch {
            premises.close()
            throw error
        }
    }

    private static func assemble(
        _ configuration: RouterConfiguration, _ listeners: RouterListeners, _ premises: Premises, maxClients: Int
    ) throws(RouterError) -> Router {
        do throws(ReactorError) {
            let plan = LanePlan(
                configuration: configuration,
                greeter: .init(
                    postgresVersion: premises.store.installation.version, controlToken: premises.control.token),
                commons: Commons(lanes: configuration.workers, maxClients: maxClients),
                limits: reactorLimits(configuration, maxClients: maxClients))
            let lane = try plan.open(0)
            configuration.logger.info("bytes are moved by \(lane.reactor.engine.rawValue)")
            let workers = try WorkerPool(threads: Limits.workerThreads)
            var router = Router(
                configuration, commons: plan.commons, premises: premises, lane: lane, workers: workers,
                port: listeners.port, address: listeners.address, socketPath: listeners.unixPath)
            do throws(ReactorError) {
                try router.startLanes(plan)
                try router.open(listeners)
            } catch {
                router.endLanes()
                throw error
            }
            return router
        } catch {
            throw RouterError(error)
        }
    }

    private mutating func startLanes(_ plan: LanePlan) throws(ReactorError) {
        for index in 1..<configuration.workers {
            distantLanes.append(try .start(index, plan, reportingTo: mailbox, in: &laneThreads))
        }
    }

    /// Their sessions end with them.
    private mutating func endLanes() {
        for distant in distantLanes { distant.orders.post(.end) }
        laneThreads.joinAll()
    }

    /// As many clients as were asked for, or as many as the descriptor limit leaves.
    static func maxClients(of configuration: RouterConfiguration) throws(RouterError) -> Int {
        let descriptors = Limits.descriptors
        let fitting = Limits.clientsThatFit(
            maxInstances: configuration.maxInstances, workers: configuration.workers, descriptors: descriptors)
        guard fitting > 0 else {
            throw RouterError(
                .environment,
                "the descriptor limit of \(descriptors) does not allow \(configuration.maxInstances) instances, which take "
                    + "\(Limits.descriptorsPerInstance) each; raise it (ulimit -n) or lower --max-instances")
        }
        guard let wanted = configuration.maxClients else { return min(fitting, Limits.mostClients) }
        if wanted > fitting {
            configuration.logger.warning(
                "--max-clients lowered from \(wanted) to \(fitting): the descriptor limit is \(descriptors) (ulimit -n)"
            )
        }
        return min(wanted, fitting)
    }

    private static func reactorLimits(_ configuration: RouterConfiguration, maxClients: Int) -> ReactorLimits {
        var limits = ReactorLimits()
        let sessions = maxClients + Limits.refusedClients + 2 * Limits.consoles
        let instances = Capacity(configuration, maxClients: maxClients).instances
        limits.sources =
            Limits.descriptorsOfTheRouter + sessions * Limits.descriptorsPerSession
            + instances * Limits.descriptorsPerInstance
        // One for each session and one for each instance, and as many again of the reactor's own: a connect to a socket
        // whose backlog is full is tried again after a pause.
        limits.deadlines =
            2 * sessions + 3 * instances + 2 * Limits.queries + Limits.httpConnections + Limits.httpPlacesKeptFree + 16
        return limits
    }

    private mutating func open(_ listeners: RouterListeners) throws(ReactorError) {
        for listener in listeners.takeAll() {
            self.listeners.append(try reactor.accept(on: Descriptor(owning: listener), owner: Owner(.listener).raw))
        }
        controlListener = try reactor.accept(on: try premises.control.listen(), owner: Owner(.listener).raw)
        try listenForHTTP(listeners.takeHTTP(), at: listeners.httpAddress)
        if !configuration.stopSignals.isEmpty {
            _ = try reactor.watch(signals: configuration.stopSignals, owner: Owner(.signals).raw)
        }
        scheduleHousekeeping()
        sweep()
        // The first spares are made before anybody asks.
        poolActions += pool.timePassed(now: reactor.now)
        performPoolActions()
    }

    /// After the last tick: nothing runs any more.
    mutating func tearDown() {
        endLanes()
        workers.stop()
        if let socketPath { unsafe unlink(socketPath) }
        premises.close()
        log.info("stopped", metadata: ["sessions": "\(commons.counts.sessionsEver)", "instances": "\(instancesEver)"])
    }
}

extension PoolLimits {
    /// What the configuration says, beside the pool's own defaults.
    init(_ configuration: RouterConfiguration) {
        self.init()
        maxInstances = configuration.maxInstances
        maxConnections = configuration.maxConnections
        queueTimeout = configuration.queueTimeout
        idleTimeout = configuration.idleTimeout
        spares = configuration.effectiveSpares
        sparePause = Limits.sparePause
        // Sessions are told the end by PostgreSQL itself, which knows where a message ends: nothing is gained by
        // waiting for them before it is told.
        drainTimeout = .zero
    }
}
