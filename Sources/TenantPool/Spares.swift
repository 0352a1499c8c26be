/// Booted clusters that nobody owns yet, the oldest first. At most one is in the making, so that what a tenant's start
/// may meet on the cores and the disk is one clone or one boot. When one may be made at all is the pool's to know.
///
///                prepared             ready
///     preparing ─────────→ booting ───────────→ ready ──→ a tenant's
///         │ failed            │ given up, too slow │ given up
///         ↓                   ↓                    ↓
///     a pause                 └───→ stopping ←─────┘
struct Spares: Sendable {
    private enum Phase {
        /// It can't be stopped, only be given up once it is prepared.
        case preparing
        /// As `preparing`, but it is given up then in any case: its settings were written before they changed.
        case preparingInVain
        case booting(until: Duration)
        case ready
        case stopping(StopCause)
    }

    private struct Spare {
        let id: InstanceID
        var phase: Phase

        var isBeingPrepared: Bool {
            switch phase {
            case .preparing, .preparingInVain: true
            case .booting, .ready, .stopping: false
            }
        }
        var bootsUntil: Duration? { if case .booting(let until) = phase { until } else { nil } }
        var isReady: Bool { if case .ready = phase { true } else { false } }
        var isStopping: Bool { if case .stopping = phase { true } else { false } }
    }

    private var wanted: Int
    private var spares: [Spare] = []
    private var backoff: Backoff
    /// Spares in a row that were not ready.
    private var failures = 0
    /// While it is set none is begun.
    private var retryAt: Duration?

    /// None yet, and never more than wanted; the first comes due at once.
    init(wanted: Int, backoff: Backoff) {
        self.wanted = wanted
        self.backoff = backoff
        self.retryAt = wanted > 0 ? .zero : nil
    }
}

// MARK: - The making

extension Spares {
    /// Whether another one is wanted now, as far as the spares themselves go: not before it is known how the last one
    /// ended.
    var lacksOne: Bool {
        retryAt == nil && spares.count < wanted && spares.allSatisfy(\.isReady)
    }

    mutating func begin(_ id: InstanceID) { enter(.preparing, id) }

    /// - Returns: whether it may be booted; if not, it is to be withdrawn.
    mutating func prepared(_ id: InstanceID, bootingUntil until: Duration) -> Bool {
        switch phase(of: id) {
        case .preparing: enter(.booting(until: until), id)
        case .preparingInVain: return false
        case .booting, .ready, .stopping, nil: illegal("sparePrepared", id)
        }
        return true
    }

    mutating func failed(_ id: InstanceID, now: Duration) {
        guard isBeingPrepared(id) else { illegal("spareFailed", id) }
        enter(nil, id)
        pause(now: now)
    }

    /// Ignored once it shall stop.
    mutating func ready(_ id: InstanceID) {
        switch phase(of: id) {
        case .booting: enter(.ready, id)
        case .stopping: return
        case .preparing, .preparingInVain, .ready, nil: illegal("ready", id)
        }
        failures = 0
    }

    mutating func exited(_ id: InstanceID, now: Duration) {
        switch phase(of: id) {
        case .stopping(.ordered): enter(nil, id)
        case .booting, .ready, .stopping(.bootTimeout):
            enter(nil, id)
            pause(now: now)
        case .preparing, .preparingInVain, nil: illegal("exited", id)
        }
    }

    /// A spare that fails again and again, for want of space, does so less and less often.
    private mutating func pause(now: Duration) {
        failures += 1
        if wanted > 0 { retryAt = now + backoff.pause(doublings: failures - 1) }
    }
}

// MARK: - The end of one

extension Spares {
    /// A spare for a new tenant, who owns it from now on; nil when none is ready. The next one is begun at `next`.
    mutating func takeReady(nextAt next: Duration, now: Duration) -> InstanceID? {
        guard let spare = spares.first(where: \.isReady) else { return nil }
        enter(nil, spare.id)
        if next > now && wanted > 0 { retryAt = max(next, retryAt ?? next) }
        return spare.id
    }

    /// The one that is to be stopped for a tenant's sake, the least finished first; nil when none can be.
    mutating func giveUpOne() -> InstanceID? {
        guard let spare = spares.last(where: { $0.isReady || $0.bootsUntil != nil }) else { return nil }
        enter(.stopping(.ordered), spare.id)
        return spare.id
    }

    /// Another number is wanted; those that are to be stopped. One in preparation gives way once it is prepared.
    mutating func wantedChanged(_ count: Int) -> [InstanceID] {
        wanted = count
        if count == 0 { retryAt = nil }
        var stopped: [InstanceID] = []
        while exceedWanted, let id = giveUpOne() { stopped.append(id) }
        return stopped
    }

    /// None of them is of use any more; those that are to be stopped. Others take their places.
    mutating func outdated() -> [InstanceID] {
        for spare in spares where spare.isBeingPrepared { enter(.preparingInVain, spare.id) }
        var stopped: [InstanceID] = []
        while let id = giveUpOne() { stopped.append(id) }
        return stopped
    }

    /// A prepared one that is not wanted any more: it needs no stop.
    mutating func withdraw(_ id: InstanceID) { enter(nil, id) }

    /// No more are made; those that are to be stopped.
    mutating func shutDown() -> [InstanceID] {
        wanted = 0
        retryAt = nil
        var stopped: [InstanceID] = []
        while let id = giveUpOne() { stopped.append(id) }
        return stopped
    }
}

// MARK: - Time

extension Spares {
    /// When `timePassed` must be called; nil while nothing waits for time.
    var deadline: Duration? { (spares.compactMap(\.bootsUntil) + [retryAt].compactMap(\.self)).min() }

    /// Ends what has come due: the pause, and a boot that takes too long, which is to be stopped.
    mutating func timePassed(now: Duration) -> [InstanceID] {
        if let end = retryAt, end <= now { retryAt = nil }
        let late = spares.filter { $0.bootsUntil.map { $0 <= now } == true }.map(\.id)
        for id in late { enter(.stopping(.bootTimeout), id) }
        return late
    }
}

// MARK: - Queries

extension Spares {
    /// All of them, from their preparation to their exit.
    var count: Int { spares.count }
    var readyCount: Int { spares.count(where: \.isReady) }
    /// Those whose slot comes free without a stop: one in preparation gives way as soon as it is prepared.
    var leavingCount: Int { spares.count { $0.isStopping || $0.isBeingPrepared } }

    /// True when there are more than wanted, those that stop aside.
    var exceedWanted: Bool { spares.count { !$0.isStopping } > wanted }
    var ids: [InstanceID] { spares.map(\.id) }
    func isBeingPrepared(_ id: InstanceID) -> Bool { spares.contains { $0.id == id && $0.isBeingPrepared } }

    func contains(_ id: InstanceID) -> Bool { spares.contains { $0.id == id } }
}

// MARK: - Transitions

extension Spares {
    /// The one place where a spare changes its phase; nil is gone.
    private mutating func enter(_ phase: Phase?, _ id: InstanceID) {
        switch (spares.firstIndex { $0.id == id }, phase) {
        case (nil, let phase?): spares.append(Spare(id: id, phase: phase))
        case (let place?, let phase?): spares[place].phase = phase
        case (let place?, nil): spares.remove(at: place)
        case (nil, nil): break
        }
    }

    private func phase(of id: InstanceID) -> Phase? { spares.first { $0.id == id }?.phase }

    private func illegal(_ event: StaticString, _ id: InstanceID) -> Never {
        guard let phase = phase(of: id) else { preconditionFailure("\(event): no spare \(id.raw)") }
        preconditionFailure("\(event) is impossible for a spare in \(phase)")
    }
}
