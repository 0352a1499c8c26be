import Reactor
import TenantPool
import WireProtocol

// What SHOW STATS and its siblings show: what passed, and what the router needs for it.

/// The figures of PgBouncer's statistics, in their order.
private struct Figures {
    let transactions: Int64
    let queries: Int64
    let received: Int64
    let sent: Int64
    /// In microseconds, as the two below it.
    let transactionTime: Int64
    let queryTime: Int64
    let waitTime: Int64

    /// Since the router started.
    init(totals traffic: Traffic) {
        transactions = Int64(clamping: traffic.transactions)
        queries = Int64(clamping: traffic.queries)
        received = Int64(clamping: traffic.bytesFromFrontends)
        sent = Int64(clamping: traffic.bytesFromBackends)
        transactionTime = Int64(clamping: traffic.transactionTime / 1000)
        queryTime = Int64(clamping: traffic.queryTime / 1000)
        waitTime = Int64(clamping: traffic.waitTime / 1000)
    }

    /// A second's, and of the times of transactions and queries one's, as PgBouncer divides them.
    init(averages traffic: Traffic, over length: Duration) {
        let length = UInt64(clamping: length.inMicroseconds)
        transactions = Self.perSecond(traffic.transactions, in: length)
        queries = Self.perSecond(traffic.queries, in: length)
        received = Self.perSecond(traffic.bytesFromFrontends, in: length)
        sent = Self.perSecond(traffic.bytesFromBackends, in: length)
        transactionTime = Self.each(traffic.transactionTime, of: traffic.transactions)
        queryTime = Self.each(traffic.queryTime, of: traffic.queries)
        waitTime = Self.perSecond(traffic.waitTime / 1000, in: length)
    }

    private static func perSecond(_ count: UInt64, in microseconds: UInt64) -> Int64 {
        microseconds == 0 ? 0 : Int64(clamping: count.multipliedFullWidth(by: 1_000_000, dividedBy: microseconds))
    }

    private static func each(_ time: UInt64, of count: UInt64) -> Int64 {
        count == 0 ? 0 : Int64(clamping: time / 1000 / count)
    }

    var all: [Int64] { [transactions, queries, received, sent, transactionTime, queryTime, waitTime] }
    var values: [ResultValue] { all.map { .int8($0) } }

    static let names = [
        "xact_count", "query_count", "client_bytes", "server_bytes", "xact_time", "query_time", "wait_time",
    ]
}

extension UInt64 {
    /// Of a product that may not fit; as large as can be where the quotient does not fit either.
    fileprivate func multipliedFullWidth(by factor: UInt64, dividedBy divisor: UInt64) -> UInt64 {
        let product = multipliedFullWidth(by: factor)
        return product.high < divisor ? divisor.dividingFullWidth(product).quotient : .max
    }
}

// MARK: - Rows

extension Router {
    /// Tenants that have been used since the router started, and those that are not cold.
    private func countedDatabases(_ view: LaneView) -> [(name: TenantName, traffic: Traffic)] {
        var databases = view.traffic.databases
        for snapshot in pool.snapshot { databases[snapshot.tenant, default: Traffic()] += Traffic() }
        return databases.sorted { $0.key.string < $1.key.string }.map { (name: $0.key, traffic: $0.value) }
    }

    func statsRows(_ view: LaneView) -> [[ResultValue]] {
        countedDatabases(view).map { name, traffic in
            let totals = Figures(totals: traffic)
            return [.text(name.string)] + totals.values + averages(of: name).values + [.int8(totals.queries)]
        }
    }

    func statsTotalsRows(_ view: LaneView) -> [[ResultValue]] {
        countedDatabases(view).map { [.text($0.name.string)] + Figures(totals: $0.traffic).values }
    }

    func statsAveragesRows(_ view: LaneView) -> [[ResultValue]] {
        countedDatabases(view).map { [.text($0.name.string)] + averages(of: $0.name).values }
    }

    /// Of all tenants, those that are not counted one by one and those that were dropped among them.
    func totalsRows(_ view: LaneView) -> [[ResultValue]] {
        let totals = Figures(totals: view.traffic.total)
        let averages = Figures(averages: self.averages.total, over: self.averages.length)
        return zip(Figures.names, totals.all).map { [.text("total_\($0)"), .int8($1)] }
            + zip(Figures.names, averages.all).map { [.text("avg_\($0)"), .int8($1)] }
    }

    private func averages(of database: TenantName) -> Figures {
        Figures(averages: averages.databases[database] ?? Traffic(), over: averages.length)
    }

    /// What the router itself takes of the machine's memory, without its instances.
    func memoryRows(_ view: LaneView) -> [[ResultValue]] {
        let buffers = view.buffers
        let session = MemoryLayout<Session>.stride
        let rows = [
            ("session", session, commons.counts.sessions, max(0, view.places - commons.counts.sessions)),
            ("buffer", ReactorLimits().bufferBytes, buffers.lent, buffers.idle),
            ("page", ProcessUsage.pageSize, ProcessUsage.residentPages, 0),
        ]
        return rows.map { name, size, used, free in
            [
                .text(name), .int8(Int64(size)), .int8(Int64(used)), .int8(Int64(free)),
                .int8(Int64(size * (used + free))),
            ]
        }
    }
}
