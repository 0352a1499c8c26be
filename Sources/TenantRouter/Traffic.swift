import Reactor
import TenantPool

/// What has passed between clients and instances since somebody began to count: sums that only grow. Times are in
/// nanoseconds of the reactor's clock, which is read once per tick.
struct Traffic: BitwiseCopyable, Sendable, Equatable {
    /// Sessions that got a backend.
    var sessions: UInt64 = 0
    /// Bytes that clients sent in their sessions, and were sent; neither includes the startup.
    var bytesFromFrontends: UInt64 = 0
    var bytesFromBackends: UInt64 = 0
    /// Frames in both directions.
    var messagesFromFrontends: UInt64 = 0
    var messagesFromBackends: UInt64 = 0
    /// Each ReadyForQuery is the end of one.
    var queries: UInt64 = 0
    /// Each ReadyForQuery outside of a transaction block is the end of one.
    var transactions: UInt64 = 0
    /// From the first byte that a client sends after a ReadyForQuery to the next.
    var queryTime: UInt64 = 0
    /// From the first byte of a transaction to the ReadyForQuery that ends it, the client's pauses included.
    var transactionTime: UInt64 = 0
    /// From the startup packet to the session.
    var waitTime: UInt64 = 0

    /// What has come since, of the same sums.
    static func - (later: Traffic, earlier: Traffic) -> Traffic {
        Traffic(
            sessions: later.sessions &- earlier.sessions,
            bytesFromFrontends: later.bytesFromFrontends &- earlier.bytesFromFrontends,
            bytesFromBackends: later.bytesFromBackends &- earlier.bytesFromBackends,
            messagesFromFrontends: later.messagesFromFrontends &- earlier.messagesFromFrontends,
            messagesFromBackends: later.messagesFromBackends &- earlier.messagesFromBackends,
            queries: later.queries &- earlier.queries, transactions: later.transactions &- earlier.transactions,
            queryTime: later.queryTime &- earlier.queryTime,
            transactionTime: later.transactionTime &- earlier.transactionTime,
            waitTime: later.waitTime &- earlier.waitTime)
    }

    /// Whether sums that only grow may have grown from these: they have not where somebody began to count anew.
    func mayFollow(_ earlier: Traffic) -> Bool {
        sessions >= earlier.sessions && bytesFromFrontends >= earlier.bytesFromFrontends
            && bytesFromBackends >= earlier.bytesFromBackends && queries >= earlier.queries
    }

    static func += (left: inout Traffic, right: Traffic) {
        left.sessions &+= right.sessions
        left.bytesFromFrontends &+= right.bytesFromFrontends
        left.bytesFromBackends &+= right.bytesFromBackends
        left.messagesFromFrontends &+= right.messagesFromFrontends
        left.messagesFromBackends &+= right.messagesFromBackends
        left.queries &+= right.queries
        left.transactions &+= right.transactions
        left.queryTime &+= right.queryTime
        left.transactionTime &+= right.transactionTime
        left.waitTime &+= right.waitTime
    }
}

/// Counts one session's traffic as it passes: additions, and nothing else.
struct Meter: BitwiseCopyable, Sendable {
    private(set) var traffic = Traffic()
    /// When the client last began to ask something.
    private(set) var askedAt: Int64?
    /// Whether that is still to be answered.
    private var isAsking = false
    private var transactionBegan: Int64?
    /// A chunk ended behind the header of a ReadyForQuery: the next one begins with the status.
    private var awaitsStatus = false

    /// The client has its backend, after so many nanoseconds.
    mutating func opened(waited: Int64) {
        traffic.sessions &+= 1
        traffic.waitTime &+= UInt64(clamping: waited)
    }

    mutating func frontendReceived(byteCount: Int, messages: Int, now: Int64) {
        traffic.bytesFromFrontends &+= UInt64(truncatingIfNeeded: byteCount)
        traffic.messagesFromFrontends &+= UInt64(truncatingIfNeeded: messages)
        guard !isAsking else { return }
        (askedAt, isAsking) = (now, true)
        if transactionBegan == nil { transactionBegan = now }
    }

    mutating func backendReceived(byteCount: Int, messages: Int) {
        traffic.bytesFromBackends &+= UInt64(truncatingIfNeeded: byteCount)
        traffic.messagesFromBackends &+= UInt64(truncatingIfNeeded: messages)
    }

    /// The beginning of what the backend sent, while a status is missing.
    mutating func chunkBegan(_ bytes: RawSpan, now: Int64) {
        guard awaitsStatus, bytes.byteCount > 0 else { return }
        awaitsStatus = false
        if unsafe bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self) == Self.idle { transactionEnded(now: now) }
    }

    /// The header of a ReadyForQuery has passed, and behind it stands its status, or will.
    mutating func readyForQuery(statusAt offset: Int, in bytes: RawSpan, now: Int64) {
        traffic.queries &+= 1
        if isAsking, let began = askedAt { traffic.queryTime &+= UInt64(clamping: now - began) }
        isAsking = false
        guard offset < bytes.byteCount else {
            awaitsStatus = true
            return
        }
        let status = unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
        if status == Self.idle { transactionEnded(now: now) }
    }

    private mutating func transactionEnded(now: Int64) {
        traffic.transactions &+= 1
        if let began = transactionBegan { traffic.transactionTime &+= UInt64(clamping: now - began) }
        transactionBegan = nil
    }

    /// What was counted since it was last taken.
    mutating func take() -> Traffic {
        defer { traffic = Traffic() }
        return traffic
    }

    private static let idle = UInt8(ascii: "I")
}

/// Whose traffic is told apart, beside the sum of all.
enum TrafficScope: Sendable {
    case all
    case of(Set<TenantName>)
    /// Nobody's.
    case total
}

/// What has passed since the router started: what sessions that ended have left behind. The living ones know their own.
struct TrafficLedger: Sendable {
    /// Everything, whoever's it was.
    private(set) var total = Traffic()
    /// By tenant, of the first `Limits.countedTenants` of those that exist. The others, and those that were dropped, are
    /// in the total only.
    private(set) var databases: [TenantName: Traffic] = [:]
    private var scope = TrafficScope.all

    mutating func add(_ traffic: Traffic, of database: String) {
        guard traffic != Traffic() else { return }
        total += traffic
        if case .total = scope { return }
        guard let tenant = try? TenantName(database), counts(tenant) else { return }
        databases[tenant, default: Traffic()] += traffic
    }

    private func counts(_ tenant: TenantName) -> Bool {
        switch scope {
        case .all: databases.count < Limits.countedTenants || databases[tenant] != nil
        case .of(let tenants): tenants.contains(tenant)
        case .total: false
        }
    }

    /// The same, of fewer tenants: without a look at each of thousands.
    func narrowed(to scope: TrafficScope) -> TrafficLedger {
        var narrow = self
        switch scope {
        case .all: break
        case .of(let tenants):
            // Whom the whole has no place for has none here.
            let counted = tenants.filter { counts($0) }
            narrow.scope = .of(counted)
            narrow.databases = counted.reduce(into: [:]) { $0[$1] = databases[$1] }
        case .total:
            narrow.scope = .total
            narrow.databases = [:]
        }
        return narrow
    }

    /// What is counted of one tenant.
    func traffic(of database: String) -> Traffic? { (try? TenantName(database)).flatMap { databases[$0] } }

    /// What another lane has counted comes to it.
    mutating func add(_ other: TrafficLedger) {
        total += other.total
        for (tenant, traffic) in other.databases where counts(tenant) {
            databases[tenant, default: Traffic()] += traffic
        }
    }

    /// The tenant has been dropped.
    mutating func forget(_ tenant: TenantName) { databases[tenant] = nil }
}

// MARK: - Asking

extension Router {
    /// The tenant is gone. What is left of its sessions does not bring it back.
    mutating func forgetTraffic(of tenant: TenantName) { orderAll(.forgetTraffic(of: tenant)) }
}

extension Lane {
    /// Everything that has passed here, in sessions that have ended and in those that live.
    func traffic(_ scope: TrafficScope) -> TrafficLedger {
        var sums = ledger.narrowed(to: scope)
        sessions.forEach { _, session in sums.add(session.meter.traffic, of: session.label.tenant) }
        return sums
    }

    /// The session ends.
    mutating func settleTraffic(of session: Token) {
        ledger.add(sessions[session].takeTraffic(), of: sessions[session].label.tenant)
    }

    mutating func forgetTraffic(of tenant: TenantName) {
        forEachSession { lane, session in
            if tenant.isWritten(lane.sessions[session].label.tenant) { lane.settleTraffic(of: session) }
        }
        ledger.forget(tenant)
    }
}
