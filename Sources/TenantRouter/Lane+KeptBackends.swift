import Reactor
import TenantPool
import WireProtocol

// Backends between two sessions: a client that comes with the same startup packet is given one in a tenth of the time
// that PostgreSQL takes to make another.

// MARK: - From a session

extension Lane {
    /// What a session's backend was opened with; nil where nobody else is to have it.
    mutating func opening(
        _ attempt: Attempt, _ arrival: Arrival, _ startup: BackendStartup, ready: [UInt8]
    ) -> Opening? {
        let isReplication = arrival.packet.parameters.contains { $0.name.elementsEqual("replication".utf8) }
        guard configuration.reusesBackends, !isReplication, ready == Backend.readyForQuery else { return nil }
        let opening = Opening(
            packet: arrival.packet.bytes,
            greeting: Opening.greeting(of: startup.answer, isWhole: !arrival.isGreeted), epoch: attempt.epoch,
            openedAt: reactor.now)
        return keptBackends.opened(opening, of: attempt.lease.instance)
    }

    /// The client has left in an orderly way and its backend is idle: from here on it is nobody's, and its lease is
    /// returned when it is reset or gone.
    mutating func keepBackend(of session: Token, _ relay: Relay) {
        guard let opening = sessions[session].opening else { preconditionFailure("a backend that nobody may keep") }
        let label = sessions[session].label
        let key = commons.take(session: sessions[session].number)
        let isWelcome = keptBackends.all(of: relay.instance).count < Limits.keptBackendsPerInstance
        let backend = keptBackends.add(
            relay.backend, of: relay.instance, opening, user: label.user, tenant: label.tenant)
        reactor.hand(relay.backend, to: Owner(.keptBackend, backend.number).raw)
        guard let key, isWelcome, isCurrent(backend), let reset = opening.reset(after: relay.traces) else {
            return dismiss(backend)
        }
        backend.resetting(reset, key)
        reactor.send(copying: reset.opening, to: backend.token)
        arm(backend, after: Limits.resetDeadline)
    }

    /// Whether a client would be told the same by a new one.
    private func isCurrent(_ backend: KeptBackend) -> Bool {
        guard configuration.reusesBackends, commons.instance(backend.instance) != nil else { return false }
        return backend.opening.epoch == commons.epoch(of: backend.instance)
            && reactor.now - backend.opening.openedAt < Limits.keptBackendAge
    }
}

// MARK: - To a session

extension Lane {
    /// Gives a client that holds a lease a backend that is there already. False where there is none for it.
    mutating func reuseBackend(_ session: Token, _ lease: Lease) -> Bool {
        guard case .arriving(let arrival, .pausing) = sessions[session].stage,
            let (backend, key) = keptBackends.match(arrival.packet.bytes, of: lease.instance), isCurrent(backend)
        else { return false }
        disarm(backend)
        forget(backend)
        reactor.hand(backend.token, to: Owner(.backend, slot: session.slot).raw)
        let issued = commons.issue(for: key, of: lease.instance, session: sessions[session].number)
        let ready = Backend.readyForQuery
        var relay = Relay(backend: backend.token, instance: lease.instance)
        // The startup's ReadyForQuery answers no query.
        var uncounted = Meter()
        _ = unsafe relay.backendReceived(ready.span.bytes, &uncounted, now: 0)
        let greeting = arrival.isGreeted ? backend.opening.restOfGreeting : backend.opening.greeting
        sessions[session].reopened(relay, backend.opening, waited: waitTime(of: session))
        metrics.backendReused()
        begin(session, relay, arrival, greeting + Backend.backendKeyData(issued), ready: ready)
        return true
    }
}

// MARK: - In between

extension Lane {
    mutating func keptBackend(_ number: UInt64, _ event: consuming Event) {
        guard let backend = keptBackends[number] else { return }
        switch consume event {
        case .received(let buffer): received(backend, buffer)
        case .endOfStream: discard(backend)
        case .failed: discard(backend)
        // What happens to other kinds of sources only, and what asks for nothing.
        default: break
        }
    }

    private mutating func received(_ backend: KeptBackend, _ buffer: borrowing Buffer) {
        switch buffer.withBytes({ backend.received($0) }) {
        case .none: break
        case .keep: keep(backend)
        case .leave: dismiss(backend)
        }
    }

    private mutating func keep(_ backend: KeptBackend) {
        guard isCurrent(backend) else { return dismiss(backend) }
        backend.kept()
        notePlaces(of: backend.instance)
        arm(backend, after: Limits.keptBackendTime)
        returnLease(of: backend.instance)
    }

    mutating func keptBackendDeadlineExpired(_ number: UInt64) {
        guard let backend = keptBackends[number] else { return }
        switch backend.deadlineExpired() {
        case .leave: dismiss(backend)
        case .close: discard(backend)
        }
    }

    private mutating func arm(_ backend: KeptBackend, after wait: Duration) {
        disarm(backend)
        backend.deadline = reactor.deadline(
            at: reactor.now + wait, owner: Owner(.keptBackendDeadline, backend.number).raw)
    }

    private mutating func disarm(_ backend: KeptBackend) {
        guard let deadline = backend.deadline else { return }
        reactor.cancel(deadline: deadline)
        backend.deadline = nil
    }
}

// MARK: - Ends

extension Lane {
    /// Tells it to go; what it takes up stays taken until it has.
    private mutating func dismiss(_ backend: KeptBackend) {
        backend.left()
        reactor.send(copying: Frontend.terminate, to: backend.token)
        reactor.finish(backend.token)
        arm(backend, after: Limits.abandonDeadline)
    }

    /// The one place where it ends.
    private mutating func discard(_ backend: KeptBackend) {
        disarm(backend)
        reactor.close(backend.token)
        forget(backend)
        if backend.holdsLease { returnLease(of: backend.instance) }
        report(.placeFreed)
    }

    private mutating func forget(_ backend: KeptBackend) {
        keptBackends.remove(backend)
        notePlaces(of: backend.instance)
    }

    /// What other lanes, and the centre, have to reckon with.
    private func notePlaces(of instance: InstanceID) {
        commons.note(
            kept: keptBackends.count, places: keptBackends.places(of: instance), of: instance, lane: index)
    }

    /// What new backends are given has changed: the older ones are not for anybody any more, those in use neither.
    mutating func outdateBackends(of instance: InstanceID) {
        // From here on they are nobody's on other lanes too, which hear of it later.
        commons.beginEpoch(of: instance)
        dismissOutdated(of: instance)
        report(.backendsOutdated(instance))
    }

    /// A session's backend has gone, or is left alone, in the middle of something.
    mutating func backendLeft(_ session: Token) {
        if let instance = sessions[session].unheard { outdateBackends(of: instance) }
    }

    mutating func dismissOutdated(of instance: InstanceID) {
        for backend in keptBackends.all(of: instance) where backend.isKept && !isCurrent(backend) { dismiss(backend) }
    }

    /// The instance stops or is gone.
    mutating func discardKeptBackends(of instance: InstanceID) {
        for backend in keptBackends.all(of: instance) { discard(backend) }
        keptBackends.forget(instance)
    }

    /// A session takes two descriptors, a kept backend one: together they never take more than there are places for.
    mutating func discardCrowdingBackend() {
        guard let oldest = keptBackends.oldest else { return }
        discard(oldest)
    }

    /// Whether a lease that was granted can have its connection: kept backends are in nobody's way. Where they took the
    /// last ones, the oldest are told to go, which takes them a moment.
    mutating func makeRoom(in id: InstanceID) -> Bool {
        let excess = commons.excess(of: id)
        guard excess > 0 else { return true }
        dismissExcess(excess, of: id)
        if keptBackends.places(of: id) < excess { report(.crowded(id)) }
        return false
    }

    mutating func dismissExcess(_ excess: Int, of id: InstanceID) {
        let leaving = keptBackends.all(of: id).count { !$0.holdsLease && !$0.isKept }
        for backend in keptBackends.all(of: id).filter(\.isKept).prefix(max(0, excess - leaving)) { dismiss(backend) }
    }
}

// MARK: - Listings

/// What listings say of a backend between two sessions.
struct KeptEntry: Sendable {
    /// Where it stands, in PgBouncer's words.
    enum State: String {
        /// It is being reset.
        case tested
        /// A client could have it.
        case idle
        case closing

        init(_ stage: KeptBackend.Stage) {
            switch stage {
            case .resetting: self = .tested
            case .kept: self = .idle
            case .leaving: self = .closing
            }
        }
    }

    /// Its lane's own.
    let number: UInt64
    let user: String
    let tenant: String
    let state: State
    let age: Duration
    let backend: Int32?
}

extension Lane {
    var keptEntries: [KeptEntry] {
        keptBackends.all.map { backend in
            KeptEntry(
                number: backend.number, user: backend.user, tenant: backend.tenant, state: .init(backend.stage),
                age: reactor.now - backend.opening.openedAt, backend: backend.processID)
        }
    }
}
