import TestSupport
import Testing

@testable import TenantPool

/// An executor that does what the pool says after a chance time, or fails, and clients that come and go by chance. It
/// keeps its own books and compares.
private struct World {
    private struct Client {
        let tenant: TenantName
        let deadline: Duration
    }

    /// What the executor knows of an instance.
    private enum Life: Equatable {
        case preparing
        case booting
        case ready
        case stopping
    }

    private struct Instance {
        let tenant: TenantName
        let startedAt: Duration
        var life = Life.preparing
        var leases = 0
        var isTerminated = false
    }

    private let limits: PoolLimits
    private let tenants: [TenantName]
    private var pool: TenantPool
    private var chance: Chance
    private var now = Duration.zero
    private var clients: [WaiterID: Client] = [:]
    private var instances: [InstanceID: Instance] = [:]
    private var leases: [InstanceID] = []
    private var lastClient: UInt64 = 0
    private var lastInstance: UInt64 = 0
    private var isShuttingDown = false
    /// Which of the three failures that a run may see is common: chaos everywhere would rarely let anything be ready.
    private let trouble: Int
    private(set) var complaints: [String] = []
    private(set) var counts: [String: Int] = [:]

    init(seed: UInt64) {
        var chance = Chance(seed: seed)
        var limits = PoolLimits()
        limits.maxInstances = .random(in: 1...6, using: &chance)
        limits.maxConnections = .random(in: 1...4, using: &chance)
        limits.maxWaitersPerTenant = .random(in: 1...8, using: &chance)
        limits.maxBooting = .random(in: 1...4, using: &chance)
        limits.queueTimeout = .seconds(.random(in: 1...30, using: &chance))
        limits.idleTimeout = .seconds(.random(in: 0...20, using: &chance))
        limits.bootTimeout = .seconds(.random(in: 1...40, using: &chance))
        limits.startAttempts = .random(in: 1...3, using: &chance)
        self.limits = limits
        self.tenants = (0..<Int.random(in: 1...10, using: &chance)).map { name("t\($0)") }
        self.trouble = .random(in: 0..<4, using: &chance)
        self.pool = TenantPool(limits: limits, seed: seed)
        self.chance = chance
    }

    mutating func run(steps: Int) {
        for _ in 0..<steps where complaints.isEmpty {
            let event = Int.random(in: 0..<100, using: &chance)
            switch event {
            case 0..<30: come()
            case 30..<38: leave()
            case 38..<55: endSession()
            case 55..<80: workOnInstance()
            case 80..<82: stopTenant()
            default: letTimePass()
            }
            check()
        }
        shutDown()
    }

    // MARK: What happens

    private mutating func come() {
        lastClient += 1
        let waiter = WaiterID(lastClient)
        let tenant = tenants.randomElement(using: &chance) ?? tenants[0]
        clients[waiter] = Client(tenant: tenant, deadline: now + limits.queueTimeout)
        perform(pool.leaseRequested(waiter, for: tenant, now: now))
    }

    private mutating func leave() {
        guard let waiter = clients.keys.sorted(by: { $0.raw < $1.raw }).randomElement(using: &chance) else { return }
        clients[waiter] = nil
        perform(pool.waiterLeft(waiter, now: now))
    }

    private mutating func endSession() {
        guard !leases.isEmpty else { return }
        let instance = leases.remove(at: .random(in: 0..<leases.count, using: &chance))
        instances[instance]?.leases -= 1
        perform(pool.leaseReturned(instance, now: now))
    }

    private mutating func workOnInstance() {
        let known = instances.keys.sorted { $0.raw < $1.raw }
        guard let id = known.randomElement(using: &chance), let life = instances[id]?.life else { return }
        let isTrouble = Int.random(in: 0..<10, using: &chance) == 0
        switch life {
        case .preparing: prepare(id, fails: isTrouble || trouble == 1 && Bool.random(using: &chance))
        case .booting:
            if isTrouble || trouble == 2 && Bool.random(using: &chance) {
                exit(id)
            } else {
                instances[id]?.life = .ready
                perform(pool.ready(id, now: now))
            }
        case .ready: if isTrouble && trouble == 3 { exit(id) }
        case .stopping: exit(id)
        }
    }

    private mutating func prepare(_ id: InstanceID, fails: Bool) {
        if fails {
            instances[id] = nil
            let failure = [PrepareFailure.absent, .retryable, .permanent].randomElement(using: &chance) ?? .absent
            perform(pool.prepareFailed(id, failure, now: now))
            return
        }
        let actions = pool.prepared(id, now: now)
        if actions.isEmpty { instances[id] = nil }
        expect(actions == [.boot(id)] || isShuttingDown && actions.isEmpty, "prepared \(id.raw): \(text(actions))")
        perform(actions)
    }

    private mutating func exit(_ id: InstanceID) {
        let gone = instances.removeValue(forKey: id)
        let actions = pool.exited(id, now: now)
        expect(
            gone?.leases == 0 || gone?.isTerminated == true || actions.contains(.terminateSessions(id)),
            "the sessions of \(id.raw) outlive it")
        perform(actions)
    }

    private mutating func stopTenant() {
        perform(pool.stopRequested(tenants.randomElement(using: &chance) ?? tenants[0], now: now))
    }

    private mutating func letTimePass() {
        let some = Duration.milliseconds(.random(in: 0...3_000, using: &chance))
        // The reactor never sleeps past a deadline.
        now = min(now + some, pool.nextDeadline ?? .seconds(1_000_000))
        perform(pool.timePassed(now: now))
        expect(pool.nextDeadline.map { $0 > now } != false, "a deadline that passed is still the next")
        let late = clients.filter { $0.value.deadline <= now }
        expect(late.isEmpty, "\(late.count) clients wait past their deadline")
    }

    private mutating func shutDown() {
        isShuttingDown = true
        perform(pool.shutDown(now: now))
        expect(clients.isEmpty, "clients were not answered at the end")
        for _ in 0..<10_000 where complaints.isEmpty && !pool.isEmpty {
            switch Int.random(in: 0..<4, using: &chance) {
            case 0: come()
            case 1: endSession()
            case 2: workOnInstance()
            default: letTimePass()
            }
            check()
        }
        expect(pool.isEmpty && pool.nextDeadline == nil && instances.isEmpty, "something is left at the end")
    }

    // MARK: What the pool says

    private mutating func perform(_ actions: [PoolAction]) {
        for action in actions {
            counts[kind(action), default: 0] += 1
            switch action {
            case .grant(let waiter, let id): granted(waiter, id)
            case .refuse(let waiter, let refusal): refused(waiter, refusal)
            case .prepare(let id, let tenant): preparationAsked(id, tenant)
            case .boot(let id):
                expect(instances[id]?.life == .preparing, "boot of \(id.raw), which was not prepared")
                instances[id]?.life = .booting
            case .stop(let id): stopAsked(id)
            case .terminateSessions(let id):
                expect(instances[id]?.isTerminated != true, "the sessions of \(id.raw) are ended twice")
                instances[id]?.isTerminated = true
            case .create, .claim, .prepareSpare, .ask, .remove: expect(false, "not simulated")
            }
        }
    }

    private mutating func granted(_ waiter: WaiterID, _ id: InstanceID) {
        let client = clients.removeValue(forKey: waiter)
        expect(client != nil, "\(waiter.raw) is answered twice, or after it left")
        let instance = instances[id]
        expect(instance?.tenant == client?.tenant, "\(waiter.raw) got another tenant's instance")
        expect(instance?.life == .ready && instance?.isTerminated == false, "a lease of \(id.raw), which is not ready")
        instances[id]?.leases += 1
        leases.append(id)
        expect((instances[id]?.leases ?? 0) <= limits.maxConnections, "too many leases of \(id.raw)")
    }

    private mutating func refused(_ waiter: WaiterID, _ refusal: PoolRefusal) {
        let client = clients.removeValue(forKey: waiter)
        expect(client != nil, "\(waiter.raw) is answered twice, or after it left")
        switch refusal {
        case .queueTimeout: expect(client?.deadline == now, "\(waiter.raw) was refused before its time")
        case .queueFull:
            let waiting = clients.values.count { $0.tenant == client?.tenant }
            expect(waiting == limits.maxWaitersPerTenant, "\(waiter.raw) met a queue of \(waiting)")
        case .startFailed(_, let retryAt):
            expect(retryAt >= now && retryAt <= now + limits.backoffMaximum, "retry at \(retryAt)")
        case .shuttingDown: expect(isShuttingDown, "refused before the end")
        case .doesNotExist: break
        }
    }

    private mutating func preparationAsked(_ id: InstanceID, _ tenant: TenantName) {
        expect(!isShuttingDown, "a start after the end")
        expect(id.raw > lastInstance, "\(id.raw) was used before")
        lastInstance = id.raw
        expect(!instances.values.contains { $0.tenant == tenant }, "two instances of \(tenant)")
        expect(clients.values.contains { $0.tenant == tenant }, "a start of \(tenant), which nobody wants")
        instances[id] = Instance(tenant: tenant, startedAt: now)
        expect(instances.count <= limits.maxInstances, "too many instances")
        let starting = instances.values.count { instance in
            (instance.life == .preparing || instance.life == .booting)
                && now - instance.startedAt < limits.startSlotTime
        }
        expect(starting <= limits.maxBooting, "\(starting) start at once")
    }

    private mutating func stopAsked(_ id: InstanceID) {
        let instance = instances[id]
        expect(instance?.life == .booting || instance?.life == .ready, "stop of \(id.raw), which does not run")
        expect(instance?.leases == 0 || instance?.isTerminated == true, "stop of \(id.raw) with sessions on it")
        instances[id]?.life = .stopping
    }

    // MARK: What must always hold

    private mutating func check() {
        let (instanceCount, waiterCount) = (pool.instanceCount, pool.waiterCount)
        expect(instanceCount == instances.count, "the pool counts \(instanceCount) instances")
        expect(waiterCount == clients.count, "the pool counts \(waiterCount) waiters")
        let snapshot = pool.snapshot
        expect(snapshot.reduce(0) { $0 + $1.waiters } == clients.count, "the snapshot's waiters")
        for tenant in snapshot {
            guard let id = tenant.instance else { continue }
            expect(instances[id]?.tenant == tenant.tenant, "the snapshot's instance \(id.raw)")
            expect(tenant.state != .ready || instances[id]?.leases == tenant.leases, "the snapshot's leases")
        }
        checkNobodyWaitsForNothing(snapshot)
    }

    /// A client waits only while something is full, starts or stops.
    private mutating func checkNobodyWaitsForNothing(_ snapshot: [TenantSnapshot]) {
        let starting = instances.values.count { instance in
            (instance.life == .preparing || instance.life == .booting)
                && now - instance.startedAt < limits.startSlotTime
        }
        let stopping = snapshot.count { $0.state == .hibernating || $0.state == .draining }
        let idle = snapshot.count { $0.state == .ready && $0.leases == 0 }
        for tenant in snapshot where tenant.state == .queued {
            expect(tenant.waiters > 0, "\(tenant.tenant) is queued for nobody")
            let isFull = instances.count == limits.maxInstances
            expect(isFull || starting >= limits.maxBooting, "\(tenant.tenant) is queued though slots are free")
            expect(!isFull || idle == 0 || stopping > 0, "\(tenant.tenant) is queued though another idles")
        }
        for tenant in snapshot where tenant.state == .ready && tenant.waiters > 0 {
            expect(tenant.leases == limits.maxConnections, "\(tenant.tenant) has leases left")
        }
    }

    private mutating func expect(_ holds: Bool, _ complaint: @autoclosure () -> String) {
        if !holds { complaints.append("at \(now): \(complaint())") }
    }

    /// An action without its numbers.
    private func kind(_ action: PoolAction) -> String {
        let words = text([action]).split(separator: " ")
        switch action {
        case .refuse: return "refuse \(words[2])"
        case .grant, .prepare, .create, .claim, .prepareSpare, .boot, .ask, .stop, .remove, .terminateSessions:
            return String(words[0])
        }
    }
}

@Suite struct SimulationTests {
    /// Eviction, crashes, failing starts, leaving and coming clients never race: all are events of one machine.
    @Test func whateverHappensTheBooksAgree() {
        let given = Chance().seed
        print("TenantPool: seed \(given)")
        var counts: [String: Int] = [:]
        for run in 0..<300 {
            var world = World(seed: given &+ UInt64(run))
            world.run(steps: 400)
            #expect(world.complaints.isEmpty, "seed \(given &+ UInt64(run))")
            counts.merge(world.counts, uniquingKeysWith: +)
        }
        // A simulation that never meets a case proves nothing of it.
        for kind in [
            "grant", "prepare", "boot", "stop", "terminate", "refuse doesNotExist", "refuse queueFull",
            "refuse shuttingDown", "refuse timeout:instances", "refuse timeout:connections", "refuse timeout:starts",
            "refuse timeout:startup", "refuse failed:preparation", "refuse failed:unusable", "refuse failed:exit",
            "refuse failed:timeout",
        ] {
            #expect((counts[kind] ?? 0) > 0, "\(kind): \(counts)")
        }
    }
}
