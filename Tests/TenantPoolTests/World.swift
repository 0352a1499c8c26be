import TestSupport

@testable import TenantPool

/// An executor that does what the pool says after a chance time, or fails, and clients that come and go by chance. It
/// keeps its own books and compares.
struct World {
    private struct Client {
        let tenant: TenantName
        let deadline: Duration
    }

    /// What the executor knows of an instance.
    private enum Life: Equatable {
        /// A worker looks for the directory.
        case looking
        /// A worker makes it.
        case creating
        /// The directory is renamed, then the database.
        case claiming
        /// A worker clones a spare.
        case cloning
        case booting
        case ready
        case stopping
    }

    private struct Instance {
        /// Nil for a spare.
        var tenant: TenantName?
        var startedAt: Duration
        var life: Life
        /// How many leases it has to give.
        var connections = 0
        var leases = 0
        var isTerminated = false
        /// A spare's, whose settings changed since it was begun.
        var isOutdated = false
        /// Since when it has been ready without a lease.
        var idleSince = Duration.zero
        /// Until when it must not be asked.
        var occupiedUntil: Duration?

        var isStarting: Bool {
            switch life {
            case .looking, .creating, .claiming, .booting: tenant != nil
            case .cloning, .ready, .stopping: false
            }
        }
        /// Whether its settings are written.
        var isPrepared: Bool {
            switch life {
            case .looking, .creating, .cloning: false
            case .claiming, .booting, .ready, .stopping: true
            }
        }
        var isSpareInTheMaking: Bool { tenant == nil && (life == .cloning || life == .booting) }
        var isSpareThatCanBeStopped: Bool { tenant == nil && (life == .ready || life == .booting) }
    }

    /// Whether the answer to a question still means something.
    private enum Question {
        case open
        /// A lease was granted since.
        case void
    }

    private var limits: PoolLimits
    private let tenants: [TenantName]
    private var pool: TenantPool
    private var chance: Chance
    private var now = Duration.zero
    private var clients: [WaiterID: Client] = [:]
    private var instances: [InstanceID: Instance] = [:]
    private var leases: [InstanceID] = []
    /// Tenants that have one.
    private var directories: Set<TenantName> = []
    private var removals: Set<TenantName> = []
    /// Tenants whose drop was requested and is not done.
    private var drops: Set<TenantName> = []
    private var questions: [InstanceID: Question] = [:]
    /// Ready instances that what just happened allows to stop.
    private var mayStop: Set<InstanceID> = []
    private var lastClient: UInt64 = 0
    private var lastInstance: UInt64 = 0
    private var isShuttingDown = false
    /// Which of the four failures that a run may see is common: chaos everywhere would rarely let anything be ready.
    private let trouble: Int
    private(set) var complaints: [String] = []
    private(set) var counts: [String: Int] = [:]

    init(seed: UInt64) {
        var chance = Chance(seed: seed)
        var limits = PoolLimits()
        limits.maxInstances = .random(in: 1...6, using: &chance)
        limits.spares = .random(in: 0...3, using: &chance)
        limits.sparePause = .seconds(.random(in: 0...2, using: &chance))
        limits.maxConnections = .random(in: 1...4, using: &chance)
        limits.maxWaitersPerTenant = .random(in: 1...8, using: &chance)
        limits.maxBooting = .random(in: 1...4, using: &chance)
        limits.queueTimeout = .seconds(.random(in: 1...30, using: &chance))
        limits.idleTimeout = .seconds(.random(in: 0...20, using: &chance))
        limits.occupiedPause = .seconds(.random(in: 1...10, using: &chance))
        limits.bootTimeout = .seconds(.random(in: 1...40, using: &chance))
        limits.startAttempts = .random(in: 1...3, using: &chance)
        self.limits = limits
        self.tenants = (0..<Int.random(in: 1...10, using: &chance)).map { name("t\($0)") }
        self.trouble = .random(in: 0..<5, using: &chance)
        self.pool = TenantPool(limits: limits, seed: seed)
        self.chance = chance
    }

    mutating func run(steps: Int) {
        for _ in 0..<steps where complaints.isEmpty {
            let event = Int.random(in: 0..<100, using: &chance)
            switch event {
            case 0..<22: come()
            case 22..<30: leave()
            case 30..<44: endSession()
            case 44..<72: workOnInstance()
            case 72..<77: answer()
            case 77..<80: finishRemoval()
            case 80..<82: stopTenant()
            case 82..<84: dropTenant()
            case 84: Int.random(in: 0..<4, using: &chance) == 0 ? changeLimits() : outdateSpares()
            default: letTimePass()
            }
            check()
        }
        shutDown()
    }
}

// MARK: - Clients

extension World {
    private mutating func come() {
        lastClient += 1
        let waiter = WaiterID(lastClient)
        let tenant = someTenant()
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
        let id = leases.remove(at: .random(in: 0..<leases.count, using: &chance))
        instances[id]?.leases -= 1
        if instances[id]?.leases == 0 { instances[id]?.idleSince = now }
        perform(pool.leaseReturned(id, now: now))
    }

    private mutating func someTenant() -> TenantName { tenants.randomElement(using: &chance) ?? tenants[0] }
}

// MARK: - Work

extension World {
    private mutating func workOnInstance() {
        let known = instances.keys.sorted { $0.raw < $1.raw }
        guard let id = known.randomElement(using: &chance), let instance = instances[id] else { return }
        let isTrouble = Int.random(in: 0..<10, using: &chance) == 0
        switch instance.life {
        case .looking: look(id, fails: isTrouble || trouble == 1 && Bool.random(using: &chance))
        case .creating: create(id, fails: isTrouble || trouble == 1 && Bool.random(using: &chance))
        case .claiming: claim(id, fails: isTrouble || trouble == 2 && Bool.random(using: &chance))
        case .cloning: clone(id, fails: isTrouble || trouble == 4 && Bool.random(using: &chance))
        case .booting: boot(id, fails: isTrouble || trouble == 2 && Bool.random(using: &chance))
        case .ready: if isTrouble && (trouble == 3 || trouble == 4 && instance.tenant == nil) { exit(id) }
        case .stopping: exit(id)
        }
    }

    private mutating func look(_ id: InstanceID, fails: Bool) {
        guard let tenant = instances[id]?.tenant else { return }
        if fails {
            prepareFailed(id, [.absent, .retryable, .permanent].randomElement(using: &chance) ?? .absent)
        } else if directories.contains(tenant) {
            prepared(id, tenant)
        } else {
            let actions = pool.tenantIsNew(id, now: now)
            switch actions.first {
            case .create(id, tenant), .claim(_, tenant, insteadOf: id): break
            default:
                instances[id] = nil
                expect(isShuttingDown || drops.contains(tenant), "new \(tenant) is neither created nor claimed")
            }
            perform(actions)
        }
    }

    private mutating func create(_ id: InstanceID, fails: Bool) {
        guard let tenant = instances[id]?.tenant else { return }
        if fails { return prepareFailed(id, .retryable) }
        directories.insert(tenant)
        prepared(id, tenant)
    }

    private mutating func prepared(_ id: InstanceID, _ tenant: TenantName) {
        let actions = pool.prepared(id, now: now)
        if !actions.contains(.boot(id)) { instances[id] = nil }
        let isExpected =
            actions == [.boot(id)] || isShuttingDown && actions.isEmpty
            || drops.contains(tenant) && actions.first == .remove(tenant)
        expect(isExpected, "prepared \(id.raw): \(text(actions))")
        perform(actions)
    }

    private mutating func prepareFailed(_ id: InstanceID, _ failure: PrepareFailure) {
        instances[id] = nil
        perform(pool.prepareFailed(id, failure, now: now))
    }

    /// The claim may be cut short on both sides of the rename.
    private mutating func claim(_ id: InstanceID, fails: Bool) {
        guard let tenant = instances[id]?.tenant else { return }
        if fails {
            counts["a claim cut short", default: 0] += 1
            exit(id)
        } else if directories.insert(tenant).inserted {
            // The rest happens another time.
        } else {
            becomeReady(id)
        }
    }

    private mutating func clone(_ id: InstanceID, fails: Bool) {
        if fails {
            instances[id] = nil
            return perform(pool.spareFailed(id, now: now))
        }
        let isOutdated = instances[id]?.isOutdated == true
        let isSlotWanted = pool.snapshot.contains { $0.state == .queued }
        let actions = pool.sparePrepared(id, now: now)
        if !actions.contains(.boot(id)) {
            instances[id] = nil
            counts["a spare withdrawn", default: 0] += 1
            let spares = instances.values.count { $0.tenant == nil && $0.life != .stopping }
            let isTooMany = instances.count >= limits.maxInstances || spares >= limits.spares
            if isOutdated { counts["an outdated spare withdrawn", default: 0] += 1 }
            expect(
                isShuttingDown || isSlotWanted || isTooMany || isOutdated,
                "nobody wanted the slot of the spare \(id.raw)")
        }
        perform(actions)
    }

    private mutating func boot(_ id: InstanceID, fails: Bool) {
        if fails { exit(id) } else { becomeReady(id) }
    }

    private mutating func becomeReady(_ id: InstanceID) {
        instances[id]?.life = .ready
        instances[id]?.idleSince = now
        perform(pool.ready(id, now: now))
    }

    private mutating func exit(_ id: InstanceID) {
        let gone = instances.removeValue(forKey: id)
        let actions = pool.exited(id, now: now)
        expect(
            gone?.leases == 0 || gone?.isTerminated == true || actions.contains(.terminateSessions(id)),
            "the sessions of \(id.raw) outlive it")
        perform(actions)
    }

    /// An answer may come after a lease, after an exit, and after both.
    private mutating func answer() {
        let asked = questions.keys.sorted { $0.raw < $1.raw }
        guard let id = asked.randomElement(using: &chance), let question = questions.removeValue(forKey: id) else {
            return
        }
        let isOpen = question == .open && instances[id]?.life == .ready && instances[id]?.isTerminated == false
        if !isOpen { counts["an answer too late", default: 0] += 1 }
        if Bool.random(using: &chance) {
            if isOpen { mayStop = [id] }
            let actions = pool.isIdle(id, now: now)
            expect(!isOpen || actions == [.stop(id)], "\(id.raw) is idle: \(text(actions))")
            perform(actions)
        } else {
            if isOpen { instances[id]?.occupiedUntil = now + limits.occupiedPause }
            perform(pool.isOccupied(id, now: now))
        }
    }
}

// MARK: - The operator, time, the end

extension World {
    private mutating func stopTenant() {
        let tenant = someTenant()
        mayStop = Set(instances.filter { $0.value.tenant == tenant }.keys)
        perform(pool.stopRequested(tenant, now: now))
    }

    private mutating func dropTenant() {
        let tenant = someTenant()
        mayStop = Set(instances.filter { $0.value.tenant == tenant }.keys)
        if isShuttingDown { counts["a drop while shutting down", default: 0] += 1 }
        let isFirst = drops.insert(tenant).inserted
        let actions = pool.dropRequested(tenant, now: now)
        expect(isFirst || actions.isEmpty, "a second drop of \(tenant): \(text(actions))")
        perform(actions)
    }

    private mutating func finishRemoval() {
        let tenant = removals.sorted { $0.string < $1.string }.randomElement(using: &chance)
        guard let tenant else { return }
        removals.remove(tenant)
        drops.remove(tenant)
        directories.remove(tenant)
        perform(pool.removed(tenant, now: now))
    }

    private mutating func changeLimits() {
        let old = limits
        limits.maxInstances = .random(in: 1...6, using: &chance)
        limits.spares = .random(in: 0...3, using: &chance)
        limits.maxConnections = .random(in: 1...4, using: &chance)
        limits.queueTimeout = .seconds(.random(in: 1...30, using: &chance))
        limits.idleTimeout = .seconds(.random(in: 0...20, using: &chance))
        for (id, instance) in instances where !instance.isPrepared {
            instances[id]?.connections = min(instance.connections, limits.maxConnections)
        }
        if limits.maxInstances < instances.count { counts["more instances than may be", default: 0] += 1 }
        if limits.maxConnections < old.maxConnections { counts["fewer connections", default: 0] += 1 }
        perform(pool.limitsChanged(limits, now: now))
    }

    private mutating func outdateSpares() {
        for (id, instance) in instances where instance.tenant == nil { instances[id]?.isOutdated = true }
        perform(pool.sparesOutdated(now: now))
        let left = instances.values.count(where: \.isSpareThatCanBeStopped)
        expect(left == 0, "\(left) spares are kept though they are outdated")
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
        mayStop = Set(instances.keys)
        perform(pool.shutDown(now: now))
        expect(clients.isEmpty, "clients were not answered at the end")
        for step in 0..<10_000 where complaints.isEmpty && !pool.isEmpty {
            switch Int.random(in: 0..<6, using: &chance) {
            case 0: come()
            case 1: endSession()
            case 2: workOnInstance()
            case 3: answer()
            case 4: finishRemoval()
            default: if step < 10 { dropTenant() } else { letTimePass() }
            }
            check()
        }
        expect(pool.isEmpty && pool.nextDeadline == nil && instances.isEmpty, "something is left at the end")
        expect(removals.isEmpty && drops.isEmpty, "a drop was forgotten")
    }
}

// MARK: - What the pool says

extension World {
    private mutating func perform(_ actions: [PoolAction]) {
        for action in actions {
            counts[kind(action), default: 0] += 1
            switch action {
            case .grant(let waiter, let id): granted(waiter, id)
            case .refuse(let waiter, let refusal): refused(waiter, refusal)
            case .prepare(let id, let tenant): preparationAsked(id, tenant)
            case .create(let id, let tenant): creationAsked(id, tenant)
            case .claim(let spare, let tenant, let id): claimAsked(spare, tenant, insteadOf: id)
            case .prepareSpare(let id): spareAsked(id)
            case .boot(let id): bootAsked(id)
            case .ask(let id): asked(id)
            case .stop(let id): stopAsked(id)
            case .remove(let tenant): removalAsked(tenant)
            case .terminateSessions(let id):
                expect(instances[id]?.isTerminated != true, "the sessions of \(id.raw) are ended twice")
                instances[id]?.isTerminated = true
            }
        }
        mayStop = []
    }

    private mutating func granted(_ waiter: WaiterID, _ id: InstanceID) {
        let client = clients.removeValue(forKey: waiter)
        expect(client != nil, "\(waiter.raw) is answered twice, or after it left")
        let instance = instances[id]
        expect(instance?.tenant == client?.tenant, "\(waiter.raw) got another tenant's instance")
        expect(instance?.life == .ready && instance?.isTerminated == false, "a lease of \(id.raw), which is not ready")
        expect(client.map { drops.contains($0.tenant) } == false, "a lease of \(id.raw), which is dropped")
        instances[id]?.leases += 1
        instances[id]?.occupiedUntil = nil
        if questions[id] != nil { questions[id] = .void }
        leases.append(id)
        expect((instances[id]?.leases ?? 0) <= (instances[id]?.connections ?? 0), "too many leases of \(id.raw)")
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
        checkNobodyUses(tenant, butFor: nil)
        expect(clients.values.contains { $0.tenant == tenant }, "a start of \(tenant), which nobody wants")
        begin(id, Instance(tenant: tenant, startedAt: now, life: .looking))
        let starting = starting
        expect(starting <= limits.maxBooting, "\(starting) start at once")
    }

    private mutating func creationAsked(_ id: InstanceID, _ tenant: TenantName) {
        checkNobodyUses(tenant, butFor: id)
        expect(instances[id]?.life == .looking, "\(id.raw) creates without having looked")
        expect(!directories.contains(tenant), "\(tenant) would be created twice")
        expect(
            !instances.values.contains { $0.tenant == nil && $0.life == .ready }, "a spare is ready, and not claimed")
        instances[id]?.life = .creating
    }

    private mutating func claimAsked(_ spare: InstanceID, _ tenant: TenantName, insteadOf id: InstanceID) {
        checkNobodyUses(tenant, butFor: id)
        expect(!directories.contains(tenant), "\(tenant) would be created twice")
        let looking = instances.removeValue(forKey: id)
        expect(looking?.life == .looking && looking?.tenant == tenant, "\(id.raw) claims without having looked")
        expect(instances[spare]?.life == .ready && instances[spare]?.tenant == nil, "\(spare.raw) is no ready spare")
        expect(instances[spare]?.isOutdated == false, "\(spare.raw) is claimed with settings that have changed")
        instances[spare]?.tenant = tenant
        instances[spare]?.life = .claiming
        if let looking { instances[spare]?.startedAt = looking.startedAt }
    }

    private mutating func spareAsked(_ id: InstanceID) {
        let starting = starting
        expect(starting == 0, "a spare is made while \(starting) tenants start")
        expect(!pool.snapshot.contains { $0.state == .queued }, "a spare is made while a tenant is queued")
        expect(!instances.values.contains(where: \.isSpareInTheMaking), "two spares are made at once")
        begin(id, Instance(tenant: nil, startedAt: now, life: .cloning))
        let spares = instances.values.count { $0.tenant == nil }
        expect(spares <= limits.spares, "\(spares) spares")
    }

    private mutating func begin(_ id: InstanceID, _ instance: Instance) {
        expect(!isShuttingDown, "a start after the end")
        expect(id.raw > lastInstance, "\(id.raw) was used before")
        lastInstance = id.raw
        instances[id] = instance
        instances[id]?.connections = limits.maxConnections
        expect(instances.count <= limits.maxInstances, "too many instances")
    }

    private mutating func bootAsked(_ id: InstanceID) {
        let life = instances[id]?.life
        expect(life == .looking || life == .creating || life == .cloning, "boot of \(id.raw), which was not prepared")
        expect(instances[id]?.isOutdated == false, "boot of the spare \(id.raw) with settings that have changed")
        instances[id]?.life = .booting
    }

    private mutating func asked(_ id: InstanceID) {
        guard let instance = instances[id] else { return expect(false, "\(id.raw) is gone, and asked") }
        expect(instance.tenant != nil && instance.life == .ready, "\(id.raw) is not ready, and asked")
        expect(instance.leases == 0 && !instance.isTerminated, "\(id.raw) has leases, and is asked")
        expect(questions.updateValue(.open, forKey: id) == nil, "\(id.raw) is asked twice at once")
        expect(instance.occupiedUntil.map { $0 <= now } != false, "\(id.raw) is asked again too soon")
        let isIdleForLong = limits.idleTimeout != .zero && now >= instance.idleSince + limits.idleTimeout
        let spares = instances.values.count(where: \.isSpareThatCanBeStopped)
        expect(isIdleForLong || spares == 0, "\(id.raw) shall make room before \(spares) spares do")
    }

    private mutating func stopAsked(_ id: InstanceID) {
        let instance = instances[id]
        let runs = instance?.life == .booting || instance?.life == .claiming || instance?.life == .ready
        expect(runs, "stop of \(id.raw), which does not run")
        expect(instance?.leases == 0 || instance?.isTerminated == true, "stop of \(id.raw) with sessions on it")
        if instance?.tenant == nil {
            if instance?.life == .ready, !isShuttingDown { counts["a ready spare given up", default: 0] += 1 }
        } else if instance?.life == .ready {
            expect(mayStop.contains(id) || instance?.isTerminated == true, "\(id.raw) stops without being asked")
        }
        instances[id]?.life = .stopping
    }

    private mutating func removalAsked(_ tenant: TenantName) {
        checkNobodyUses(tenant, butFor: nil)
        expect(drops.contains(tenant), "\(tenant) is removed, which nobody asked for")
        removals.insert(tenant)
    }

    /// Never two postmasters on one directory, nor one on a directory that is removed.
    private mutating func checkNobodyUses(_ tenant: TenantName, butFor id: InstanceID?) {
        expect(!instances.contains { $0.value.tenant == tenant && $0.key != id }, "two instances of \(tenant)")
        expect(!removals.contains(tenant), "\(tenant) is being removed")
    }
}

// MARK: - What must always hold

extension World {
    private mutating func check() {
        let spares = instances.values.filter { $0.tenant == nil }
        let (instanceCount, waiterCount) = (pool.instanceCount, pool.waiterCount)
        let (spareCount, readySpareCount) = (pool.spareCount, pool.readySpareCount)
        expect(instanceCount == instances.count - spares.count, "the pool counts \(instanceCount) instances")
        expect(spareCount == spares.count, "the pool counts \(spareCount) spares")
        expect(readySpareCount == spares.count { $0.life == .ready }, "\(readySpareCount) ready spares")
        expect(waiterCount == clients.count, "the pool counts \(waiterCount) waiters")
        let snapshot = pool.snapshot
        expect(snapshot.reduce(0) { $0 + $1.waiters } == clients.count, "the snapshot's waiters")
        for tenant in snapshot {
            expect((tenant.state == .dropping) == drops.contains(tenant.tenant), "the snapshot's drops")
            guard let id = tenant.instance else { continue }
            expect(instances[id]?.tenant == tenant.tenant, "the snapshot's instance \(id.raw)")
            expect(tenant.state != .ready || instances[id]?.leases == tenant.leases, "the snapshot's leases")
        }
        checkNobodyWaitsForNothing(snapshot)
    }

    /// A client waits only while something is full, starts or stops.
    private mutating func checkNobodyWaitsForNothing(_ snapshot: [TenantSnapshot]) {
        let ready = instances.filter { $0.value.tenant != nil && $0.value.life == .ready && $0.value.leases == 0 }
        let evictable = ready.filter { $0.value.occupiedUntil.map { $0 <= now } != false }
        let leaving =
            instances.values.count { $0.life == .stopping || $0.isTerminated || $0.life == .cloning }
            + ready.keys.count { questions[$0] != nil } + snapshot.count { $0.state == .dropping && $0.instance != nil }
        let spares = instances.values.count(where: \.isSpareThatCanBeStopped)
        let isFull = instances.count >= limits.maxInstances
        for tenant in snapshot where tenant.state == .queued {
            expect(tenant.waiters > 0, "\(tenant.tenant) is queued for nobody")
            expect(isFull || starting >= limits.maxBooting, "\(tenant.tenant) is queued though slots are free")
            expect(!isFull || leaving > 0 || evictable.isEmpty, "\(tenant.tenant) is queued though another idles")
            expect(!isFull || leaving > 0 || spares == 0, "\(tenant.tenant) is queued though there are spares")
        }
        for tenant in snapshot where tenant.state == .ready && tenant.waiters > 0 {
            let connections = tenant.instance.flatMap { instances[$0]?.connections }
            expect(tenant.leases == connections, "\(tenant.tenant) has leases left")
            expect(pool.connections(of: tenant.tenant) == connections, "\(tenant.tenant) has other leases to give")
        }
    }

    private var starting: Int {
        instances.values.count { $0.isStarting && now - $0.startedAt < limits.startSlotTime }
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
