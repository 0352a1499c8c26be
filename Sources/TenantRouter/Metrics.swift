import TenantPool
import WireProtocol

/// What the router has counted and timed since it started. It belongs to the reactor's thread; whoever wants to know is
/// given a copy.
struct Metrics: Sendable {
    /// From the moment somebody wanted a hibernated tenant until it served.
    private(set) var wakes = DurationHistogram()
    /// From the moment somebody named a new database until a spare served as it.
    private(set) var claims = DurationHistogram()
    /// The same where no spare was left, and the directory was made first.
    private(set) var creations = DurationHistogram()
    private(set) var stops: [Instance.StopReason: UInt64] = [:]
    private(set) var deaths: UInt64 = 0
    private(set) var startFailures: UInt64 = 0
    /// The latest starts, for charts.
    private(set) var starts = Recent<Start>(keeping: 300)
    /// How many there were of everything, every two seconds.
    private(set) var samples = Recent<Sample>(keeping: 300)
    private(set) var sampledAt = Duration.zero

    /// An instance that began to serve.
    struct Start: Sendable {
        enum Kind: String { case wake, claim, creation = "create" }

        let kind: Kind
        let tenant: TenantName
        /// Microseconds since 1970.
        let at: Int64
        let took: Duration
    }

    /// How many there were at one moment; totals only grow.
    struct Sample: Sendable {
        /// Microseconds since 1970.
        let at: Int64
        let clients: Int
        let sessions: Int
        let waiting: Int
        let instances: Int
        let traffic: Traffic
    }

    static let sampleInterval: Duration = .seconds(2)

    mutating func started(_ start: Start) {
        switch start.kind {
        case .wake: wakes.record(start.took)
        case .claim: claims.record(start.took)
        case .creation: creations.record(start.took)
        }
        starts.append(start)
    }

    mutating func stopped(_ reason: Instance.StopReason) { stops[reason, default: 0] += 1 }
    mutating func died() { deaths += 1 }
    mutating func startFailed() { startFailures += 1 }
    mutating func take(_ sample: Sample, at now: Duration) {
        samples.append(sample)
        sampledAt = now
    }
}

/// The same of clients: each lane counts what happens on it.
struct ClientMetrics: Sendable {
    /// How a client's wait for a session ended.
    enum Wait: String, CaseIterable {
        case served, refused, left
    }

    /// From the lease until the backend was ready for a query.
    private(set) var backendConnects = DurationHistogram()
    /// Sessions that were given a backend which an earlier one has left.
    private(set) var backendsReused: UInt64 = 0
    /// From the startup packet to the lease.
    private(set) var queueWaits = DurationHistogram()
    /// What clients' waits came to.
    private(set) var waits: [Wait: UInt64] = [:]
    /// Errors of the router's own that clients were sent.
    private(set) var errors: [SQLState: UInt64] = [:]

    mutating func granted(after wait: Duration) { queueWaits.record(wait) }
    mutating func backendConnected(after wait: Duration) { backendConnects.record(wait) }
    mutating func backendReused() { backendsReused += 1 }
    mutating func waitEnded(_ wait: Wait) { waits[wait, default: 0] += 1 }
    mutating func sent(_ error: SQLState) { errors[error, default: 0] += 1 }

    /// What another lane has counted comes to it.
    mutating func add(_ other: ClientMetrics) {
        backendConnects.add(other.backendConnects)
        backendsReused += other.backendsReused
        queueWaits.add(other.queueWaits)
        waits.merge(other.waits, uniquingKeysWith: +)
        errors.merge(other.errors, uniquingKeysWith: +)
    }
}

/// Durations, counted by size. The bounds are fixed, so that figures of many routers and weeks can be added up.
struct DurationHistogram: Sendable, Equatable {
    /// Upper bounds in microseconds: from a backend's connect to a client's patience.
    static let bounds: [Int64] = [
        250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
        5_000_000, 10_000_000, 30_000_000,
    ]

    /// One for each bound, and one for what is longer.
    private(set) var counts = [UInt64](repeating: 0, count: bounds.count + 1)
    /// Microseconds.
    private(set) var sum: Int64 = 0

    var count: UInt64 { counts.reduce(0, +) }

    mutating func record(_ duration: Duration) {
        let microseconds = max(0, duration.inMicroseconds)
        counts[Self.bounds.firstIndex { microseconds <= $0 } ?? Self.bounds.count] += 1
        sum += microseconds
    }

    mutating func add(_ other: DurationHistogram) {
        for (place, count) in other.counts.enumerated() { counts[place] += count }
        sum += other.sum
    }
}

/// The last few of something, each with a number that counts from 1.
struct Recent<Element: Sendable>: Sendable {
    private let limit: Int
    private(set) var elements: [Element] = []
    /// Of the latest one.
    private(set) var last = 0

    init(keeping limit: Int) { self.limit = limit }

    mutating func append(_ element: Element) {
        if elements.count == limit { elements.removeFirst() }
        elements.append(element)
        last += 1
    }

    /// Those behind that number.
    func since(_ number: Int) -> ArraySlice<Element> {
        // A number of an earlier life of the router.
        guard number <= last else { return elements[...] }
        return elements.suffix(last - number)
    }
}

extension Router {
    /// How many there are of everything, for the charts, where somebody may look at them.
    mutating func considerSample() {
        guard http.isServing, reactor.now - metrics.sampledAt >= Metrics.sampleInterval else { return }
        ask(.traffic(.total)) { router, view in router.takeSample(view.traffic.total) }
    }

    private mutating func takeSample(_ traffic: Traffic) {
        let statistics = statistics
        let sample = Metrics.Sample(
            at: wallTime(of: reactor.now), clients: statistics.activeConnections,
            sessions: statistics.pool.sessions, waiting: statistics.waitingClients,
            instances: pool.instanceCount, traffic: traffic)
        metrics.take(sample, at: reactor.now)
    }

    /// An instance serves from now on.
    mutating func noteStart(of instance: Instance, _ running: Running) {
        guard let tenant = instance.tenant else { return }
        let (kind, since): (Metrics.Start.Kind, Duration) =
            switch running.start.kind {
            case .claim: (.claim, running.start.at)
            case .boot: (running.cluster.claim == nil ? .wake : .creation, instance.wantedSince)
            }
        metrics.started(
            .init(kind: kind, tenant: tenant, at: wallTime(of: reactor.now), took: reactor.now - since))
    }
}
