import PostgresEmbed
import Synchronization
import TenantPool
import WireProtocol

/// What the lanes of a router and its centre share: places, keys of cancel requests, the ways to instances, news.
///
/// All of it is behind one lock, which is held for a few comparisons when a client comes, names its tenant, gets its
/// backend and leaves. No relayed byte meets it.
final class Commons: Sendable {
    /// Where a client that was just accepted goes.
    struct Place {
        let lane: Int
        /// Counts from 1; log lines carry it.
        let number: UInt64
    }

    /// An instance that clients may enter.
    struct Served {
        let socket: InstanceSocket
        let tenant: TenantName
        /// How many leases it has to give.
        let connections: Int
        /// Those that it has given out.
        fileprivate(set) var leases = 0
        /// Connections of kept backends that no lease stands for, by lane.
        fileprivate(set) var places: [Int: Int] = [:]
        /// Counts what has happened that makes older backends different from new ones.
        fileprivate(set) var epoch: UInt64 = 0

        init(socket: InstanceSocket, tenant: TenantName, connections: Int) {
            self.socket = socket
            self.tenant = tenant
            self.connections = connections
        }
    }

    /// What the lanes have in all.
    struct Counts {
        /// Clients that are connected, whatever they are doing.
        var sessions = 0
        /// Those that have named their tenant: what `maxClients` limits.
        var admitted = 0
        /// Clients of the console, by the way they came: what `Limits.consoles` limits.
        var consoles: [Session.Entrance: Int] = [:]
        /// Since the router started.
        var sessionsEver: UInt64 = 0
        /// Those of them that wanted a tenant, or left without having said what they want: nobody is counted before it is
        /// known, so that the sum only grows.
        var clientsEver: UInt64 = 0

        var consoleClients: Int { consoles.values.reduce(0, +) }
    }

    private struct State {
        var counts = Counts()
        var maxClients: Int
        var sessionsOfLane: [Int]
        var keptOfLane: [Int]
        var cancelKeys = CancelKeys()
        var instances: [InstanceID: Served] = [:]
        /// Databases whose first session is still to be told that they are new.
        var unannounced: Set<TenantName> = []
        /// Tenants that refuse new clients.
        var disabled: Set<TenantName> = []
    }

    /// How many sessions there may be, refused and silent clients included.
    let capacity: Int
    private let state: Mutex<State>

    init(lanes: Int, maxClients: Int) {
        capacity = maxClients + Limits.refusedClients + 2 * Limits.consoles
        let none = Array(repeating: 0, count: lanes)
        state = Mutex(State(maxClients: maxClients, sessionsOfLane: none, keptOfLane: none))
    }
}

// MARK: - Places

extension Commons {
    var counts: Counts { state.withLock(\.counts) }

    /// How many clients may be admitted at once.
    var maxClients: Int {
        get { state.withLock(\.maxClients) }
        set { state.withLock { $0.maxClients = newValue } }
    }

    /// A client was accepted: it goes to the lane with the fewest; nil when the last place is taken.
    func enter() -> Place? {
        state.withLock { state in
            guard state.counts.sessions < capacity else { return nil }
            let lane = state.sessionsOfLane.indices.min { state.sessionsOfLane[$0] < state.sessionsOfLane[$1] } ?? 0
            state.sessionsOfLane[lane] += 1
            state.counts.sessions += 1
            state.counts.sessionsEver += 1
            return Place(lane: lane, number: state.counts.sessionsEver)
        }
    }

    /// The lane whose longest silent client is to make room, while only the last places are left.
    var crowdedLane: Int? {
        state.withLock { state in
            guard state.counts.sessions >= capacity - Limits.placesKeptFree else { return nil }
            return state.sessionsOfLane.indices.max { state.sessionsOfLane[$0] < state.sessionsOfLane[$1] }
        }
    }

    /// A client has named its tenant. Answers the limit where there are as many already.
    func admit() -> Int? {
        state.withLock { state in
            guard state.counts.admitted < state.maxClients else { return state.maxClients }
            state.counts.admitted += 1
            state.counts.clientsEver += 1
            return nil
        }
    }

    /// A client wants the console. False where its way in has no place left.
    func admitConsole(by entrance: Session.Entrance) -> Bool {
        state.withLock { state in
            guard state.counts.consoles[entrance, default: 0] < Limits.consoles else { return false }
            state.counts.consoles[entrance, default: 0] += 1
            return true
        }
    }

    /// A session was reaped.
    func left(_ session: Session, lane: Int) {
        state.withLock { state in
            state.sessionsOfLane[lane] -= 1
            state.counts.sessions -= 1
            if session.isAdmitted { state.counts.admitted -= 1 }
            if !session.isAdmitted && !session.isConsole { state.counts.clientsEver += 1 }
            if session.isConsole { state.counts.consoles[session.entrance, default: 0] -= 1 }
            state.cancelKeys.revoke(session: session.number)
        }
    }
}

// MARK: - Cancel requests

extension Commons {
    /// See `CancelKeys`.
    func issue(for key: CancelKey, of instance: InstanceID, session number: UInt64) -> CancelKey {
        state.withLock { $0.cancelKeys.issue(for: key, of: instance, session: number) }
    }

    /// The backend that a cancel request means, whichever lane it belongs to; the request is carried to it.
    func use(_ key: CancelKey) -> CancelKeys.Target? { state.withLock { $0.cancelKeys.use(key) } }

    func take(session number: UInt64) -> CancelKey? { state.withLock { $0.cancelKeys.take(session: number) } }

    func backend(ofSession number: UInt64) -> Int32? { state.withLock { $0.cancelKeys.backend(ofSession: number) } }
}

// MARK: - Instances

extension Commons {
    /// Clients may enter.
    func opened(_ id: InstanceID, _ served: Served) { state.withLock { $0.instances[id] = served } }

    /// No new connection is to be made. Ignored for one that is not open.
    func closed(_ id: InstanceID) { state.withLock { _ = $0.instances.removeValue(forKey: id) } }

    /// Nil for an instance that stops or is gone. Whoever connects keeps the socket until the connection stands: its
    /// descriptor's number could mean another one by then.
    func instance(_ id: InstanceID) -> Served? { state.withLock { $0.instances[id] } }
}

// MARK: - Kept backends

extension Commons {
    func epoch(of id: InstanceID) -> UInt64 { state.withLock { $0.instances[id]?.epoch ?? 0 } }

    /// Answers the new one; nil for an instance that is not open.
    @discardableResult func beginEpoch(of id: InstanceID) -> UInt64? {
        state.withLock { state in
            state.instances[id]?.epoch += 1
            return state.instances[id]?.epoch
        }
    }

    /// The pool has given out so many leases of an instance.
    func note(leases: Int, of id: InstanceID) { state.withLock { $0.instances[id]?.leases = leases } }

    /// What a lane keeps.
    ///
    /// - Parameters:
    ///   - kept: backends in all.
    ///   - places: those of an instance that no lease stands for.
    func note(kept: Int, places: Int, of id: InstanceID, lane: Int) {
        state.withLock { state in
            state.keptOfLane[lane] = kept
            state.instances[id]?.places[lane] = places
        }
    }

    /// By how many connections leases and kept backends exceed what the instance has.
    func excess(of id: InstanceID) -> Int {
        state.withLock { state in
            guard let served = state.instances[id] else { return 0 }
            return served.leases + served.places.values.reduce(0, +) - served.connections
        }
    }

    /// The lane that keeps the most, while sessions want its places.
    var crowdingLane: Int? {
        state.withLock { state in
            guard state.counts.sessions + state.keptOfLane.reduce(0, +) > capacity else { return nil }
            return state.keptOfLane.indices.max { state.keptOfLane[$0] < state.keptOfLane[$1] }
        }
    }
}

// MARK: - Disabled tenants

extension Commons {
    var disabled: Set<TenantName> { state.withLock(\.disabled) }

    func isDisabled(_ tenant: TenantName) -> Bool { state.withLock { $0.disabled.contains(tenant) } }

    func disable(_ tenant: TenantName) { state.withLock { _ = $0.disabled.insert(tenant) } }

    func enable(_ tenant: TenantName) { state.withLock { _ = $0.disabled.remove(tenant) } }
}

// MARK: - News

extension Commons {
    /// A database was made; its first session is to be told.
    func announce(_ tenant: TenantName) { state.withLock { _ = $0.unannounced.insert(tenant) } }

    /// Whether this is the first session of a new database.
    func takeNews(of tenant: TenantName) -> Bool { state.withLock { $0.unannounced.remove(tenant) != nil } }

    /// Nobody waits for these databases any more.
    func forgetNews(where isForgotten: (TenantName) -> Bool) {
        state.withLock { state in
            guard !state.unannounced.isEmpty else { return }
            state.unannounced = state.unannounced.filter { !isForgotten($0) }
        }
    }
}
