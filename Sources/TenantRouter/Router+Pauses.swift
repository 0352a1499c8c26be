import Logging
import Reactor
import TenantPool
import WireProtocol

// Tenants that an operator keeps clients away from: paused ones let them wait, disabled ones refuse them.

/// What is kept from whom.
struct Pauses {
    /// A client, or somebody else who wants a lease, that waits for the end of a pause.
    struct Held {
        let waiter: WaiterID
        let tenant: TenantName
        let since: Duration
        let until: Duration
    }

    /// Somebody who waits until nothing of a tenant's, or nobody's, stands in the way any more.
    struct Pending {
        /// Nil means every tenant.
        let tenant: TenantName?
        let answer: Router.Answer<Void>
    }

    /// Whether every tenant is paused, beside those that are by name.
    fileprivate(set) var coversAll = false
    fileprivate(set) var tenants: Set<TenantName> = []
    /// Whether somebody waits for the answer to the question whose backends are left.
    fileprivate var isAsking = false
    /// By the order in which they came.
    private var held: [UInt64: Held] = [:]
    private var turns: [WaiterID: UInt64] = [:]
    private var lastTurn: UInt64 = 0
    /// Who waits for the last sessions to leave.
    fileprivate var pausing: [Pending] = []
    /// Who waits for the backends to go that a reconnect meant.
    fileprivate var closing: [Pending] = []
    /// Backends of an instance that are older than this epoch of it were there when they were to be replaced.
    private var reconnected: [InstanceID: UInt64] = [:]
    /// Whether somebody may have reason to wait no longer.
    fileprivate(set) var isDue = false

    /// A session has left.
    mutating func leaseReturned() { isDue = isDue || !pausing.isEmpty || !closing.isEmpty }

    func holds(_ tenant: TenantName) -> Bool { coversAll || tenants.contains(tenant) }

    /// The backends that an instance has now are to be replaced.
    ///
    /// - Parameter epoch: the instance's next one; nil where it is not open.
    mutating func reconnect(_ instance: InstanceID, _ state: TenantState, before epoch: UInt64?) {
        if let epoch {
            reconnected[instance] = epoch
            return
        }
        switch state {
        // It lets nobody in any more: whoever is left is meant.
        case .ready, .draining, .hibernating, .dropping: reconnected[instance] = .max
        // It has nobody yet.
        case .cold, .queued, .provisioning, .claiming, .booting, .failed: break
        }
    }

    /// Whether a backend of that epoch was there when a reconnect meant its instance's.
    func isToReconnect(_ instance: InstanceID, epoch: UInt64) -> Bool {
        reconnected[instance].map { epoch < $0 } ?? false
    }

    fileprivate var remembersReconnect: Bool { !reconnected.isEmpty }

    fileprivate mutating func forgetReconnects() { reconnected = [:] }

    /// How many wait for the end of a pause.
    var heldCount: Int { held.count }

    fileprivate mutating func hold(_ waiter: WaiterID, of tenant: TenantName, since: Duration, patience: Duration) {
        lastTurn += 1
        turns[waiter] = lastTurn
        held[lastTurn] = Held(waiter: waiter, tenant: tenant, since: since, until: since + patience)
    }

    /// Takes one out; false where it was not held.
    fileprivate mutating func release(_ waiter: WaiterID) -> Bool {
        guard let turn = turns.removeValue(forKey: waiter) else { return false }
        held[turn] = nil
        return true
    }

    /// Takes out all that are meant, in the order in which they came.
    fileprivate mutating func release(where isMeant: (Held) -> Bool) -> [Held] {
        guard !held.isEmpty else { return [] }
        let released = held.filter { isMeant($0.value) }.sorted { $0.key < $1.key }.map(\.value)
        for one in released { _ = release(one.waiter) }
        return released
    }
}

// MARK: - Leases

extension Router {
    /// A lease is wanted: now, or when the tenant is paused no longer.
    mutating func requestLease(_ waiter: WaiterID, for tenant: TenantName, patience: Duration? = nil) {
        guard case .serving = lifetime, pauses.holds(tenant) else {
            poolActions += pool.leaseRequested(waiter, for: tenant, patience: patience, now: reactor.now)
            return
        }
        pauses.hold(waiter, of: tenant, since: reactor.now, patience: patience ?? limits.queueTimeout)
    }

    /// It is wanted no longer.
    mutating func withdrawLease(_ waiter: WaiterID) {
        if !pauses.release(waiter) { poolActions += pool.waiterLeft(waiter, now: reactor.now) }
    }

    /// The pause is over, or the router is about to stop and refuses them.
    mutating func releaseHeld() {
        let (pauses, isServing) = (pauses, lifetime.isServing)
        for held in self.pauses.release(where: { !isServing || !pauses.holds($0.tenant) }) {
            requestLease(held.waiter, for: held.tenant, patience: max(.zero, held.until - reactor.now))
        }
    }

    /// Nobody waits for a pause for longer than for anything else.
    private mutating func refuseImpatient() {
        let now = reactor.now
        for held in pauses.release(where: { $0.until <= now }) {
            refused(held.waiter, because: .paused(held.tenant, waited: now - held.since))
        }
    }
}

extension Router.Lifetime {
    fileprivate var isServing: Bool {
        switch self {
        case .serving: true
        case .stopping, .hurrying, .closing: false
        }
    }
}

// MARK: - Commands

extension Router {
    /// New clients of the tenant, or of all, wait from now on. Answered when those that have a session have left and the
    /// instance has stopped.
    mutating func pause(_ tenant: TenantName?, _ answer: @escaping Answer<Void>) {
        guard case .serving = lifetime else { return answer(&self, .failure(.shuttingDown)) }
        if let tenant { pauses.tenants.insert(tenant) } else { pauses.coversAll = true }
        pauses.pausing.append(.init(tenant: tenant, answer: answer))
        pauses.isDue = true
    }

    /// The tenant is gone, and its name is as good as new.
    mutating func forgetPause(of tenant: TenantName) {
        if pauses.tenants.contains(tenant) { _ = resume(tenant) }
    }

    /// Who waited goes on. False where nothing was paused.
    mutating func resume(_ tenant: TenantName?) -> Bool {
        let isPaused = tenant.map { pauses.tenants.contains($0) } ?? (pauses.coversAll || !pauses.tenants.isEmpty)
        guard isPaused else { return false }
        if let tenant {
            pauses.tenants.remove(tenant)
        } else {
            (pauses.coversAll, pauses.tenants) = (false, [])
        }
        let over = pauses.pausing.filter { tenant == nil || $0.tenant == tenant }
        pauses.pausing.removeAll { tenant == nil || $0.tenant == tenant }
        for pending in over { pending.answer(&self, .failure(.resumedMeanwhile)) }
        releaseHeld()
        return true
    }

    /// As a pause, with sessions ended at once. What has still to boot before it can be stopped is waited for as there.
    mutating func kill(_ tenant: TenantName, _ answer: @escaping Answer<Void>) {
        guard case .serving = lifetime else { return answer(&self, .failure(.shuttingDown)) }
        pauses.tenants.insert(tenant)
        orderAll(.killAll(of: tenant))
        pauses.pausing.append(.init(tenant: tenant, answer: answer))
        pauses.isDue = true
        hibernate(tenant) { _, _ in }
    }

    /// Backends that exist now are to be replaced, which happens when their sessions end.
    mutating func reconnect(_ tenant: TenantName?) {
        for snapshot in pool.snapshot where tenant.map({ $0 == snapshot.tenant }) ?? true {
            guard let instance = snapshot.instance else { continue }
            pauses.reconnect(instance, snapshot.state, before: commons.beginEpoch(of: instance))
            orderAll(.dismissOutdatedBackends(of: instance))
        }
    }

    /// Answered when every backend that a reconnect meant has gone.
    mutating func waitClosed(_ tenant: TenantName?, _ answer: @escaping Answer<Void>) {
        guard case .serving = lifetime else { return answer(&self, .failure(.shuttingDown)) }
        pauses.closing.append(.init(tenant: tenant, answer: answer))
        pauses.isDue = true
    }

    /// Whether its backend was there when a reconnect meant it.
    func isToReconnect(_ session: SessionEntry) -> Bool {
        session.instance.map { pauses.isToReconnect($0, epoch: session.epoch) } ?? false
    }
}

// MARK: - Waiting

extension Router {
    /// Looks after those who wait for sessions to leave, at the end of a tick in which one has left.
    mutating func considerPauses() {
        guard pauses.isDue else { return }
        pauses.isDue = false
        answerPausing()
        answerClosing()
    }

    mutating func keepPauses() {
        refuseImpatient()
        // Clients that waited before the pause may have left.
        pauses.leaseReturned()
        guard pauses.remembersReconnect, pauses.closing.isEmpty else { return }
        // A reconnect is remembered as long as it means somebody.
        ask(.sessions(.plain)) { router, view in
            if !view.sessions.contains(where: { router.isToReconnect($0) }) { router.pauses.forgetReconnects() }
        }
    }

    private mutating func answerPausing() {
        guard !pauses.pausing.isEmpty else { return }
        // An instance that is still being prepared cannot be stopped before it boots.
        let used = pool.snapshot.filter { $0.leases > 0 || $0.waiters > 0 || $0.state == .provisioning }.map(\.tenant)
        let isDone: (Pauses.Pending) -> Bool = { pending in
            pending.tenant.map { !used.contains($0) } ?? used.isEmpty
        }
        let done = pauses.pausing.filter(isDone)
        pauses.pausing.removeAll(where: isDone)
        for pending in done { stopPaused(pending) }
    }

    /// The last session has left; the instances go too.
    private mutating func stopPaused(_ pending: Pauses.Pending) {
        let running = pending.tenant.map { [$0] } ?? pool.snapshot.map(\.tenant)
        let countdown = Countdown(running.count)
        if running.isEmpty { return pending.answer(&self, .success(())) }
        for tenant in running {
            hibernate(tenant) { router, _ in
                if countdown.isLast() { pending.answer(&router, .success(())) }
            }
        }
    }

    private mutating func answerClosing() {
        guard !pauses.closing.isEmpty, !pauses.isAsking else { return }
        pauses.isAsking = true
        ask(.sessions(.plain)) { router, view in
            router.pauses.isAsking = false
            router.answerClosing(view.sessions.filter { router.isToReconnect($0) })
        }
    }

    /// - Parameter left: sessions whose backends a reconnect meant.
    private mutating func answerClosing(_ left: [SessionEntry]) {
        func isAwaited(_ pending: Pauses.Pending) -> Bool {
            pending.tenant.map { tenant in left.contains { tenant.isWritten($0.tenant) } } ?? !left.isEmpty
        }
        let done = pauses.closing.filter { !isAwaited($0) }
        pauses.closing.removeAll { !isAwaited($0) }
        for pending in done { pending.answer(&self, .success(())) }
    }

    /// The router stops: nobody is kept waiting for anything else.
    mutating func endPauses() {
        releaseHeld()
        let waiting = pauses.pausing + pauses.closing
        (pauses.pausing, pauses.closing) = ([], [])
        for pending in waiting { pending.answer(&self, .failure(.shuttingDown)) }
    }
}

/// Counts answers until the last.
private final class Countdown {
    private var left: Int

    init(_ count: Int) { left = count }

    func isLast() -> Bool {
        left -= 1
        return left == 0
    }
}

// MARK: - Errors

extension ErrorMessage {
    /// PostgreSQL says it of a database with `ALLOW_CONNECTIONS false`.
    static func disabled(_ tenant: TenantName) -> ErrorMessage {
        ErrorMessage(
            .objectNotInPrerequisiteState, "database \"\(tenant)\" is not currently accepting connections",
            detail: "It was disabled on the router's console.", hint: "ENABLE there lets clients in again.")
    }

    static func paused(_ tenant: TenantName, waited: Duration) -> ErrorMessage {
        ErrorMessage(
            .cannotConnectNow, "database \"\(tenant)\" is paused",
            detail: "The client waited \(waited.inSeconds) s (--queue-timeout).",
            hint: "RESUME on the router's console ends the pause.")
    }

    static func notPaused(_ tenant: TenantName?) -> ErrorMessage {
        ErrorMessage(
            severity: .error, .objectNotInPrerequisiteState,
            tenant.map { "database \"\($0)\" is not paused" } ?? "nothing is paused",
            hint: "SHOW DATABASES has it in column paused; RESUME without a name ends every pause.")
    }

    /// What a client that waits is told.
    static func waitingForResume(_ tenant: TenantName) -> ErrorMessage {
        ErrorMessage(
            severity: .notice, .successfulCompletion, "waiting for the pause of database \"\(tenant)\" to end",
            hint: "RESUME on the router's console ends it.")
    }

    fileprivate static let resumedMeanwhile = ErrorMessage(
        severity: .error, .queryCanceled, "the pause ended before the last session had left")
}
