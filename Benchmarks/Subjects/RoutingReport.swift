/// The samples of a routing run, and what they come down to.
struct RoutingReport: SubjectReport {
    let rounds: Int
    let seconds: Int
    let scale: Int
    let loads: [Load]
    let peers: [Peer.Kind]
    let samples: [Routing.Sample]
    let systemCalls: [SystemCalls]
    let summaries: [Summary]

    /// What pgbench was told.
    struct Load: Codable, Hashable {
        let script: Script
        let mode: QueryMode
        let clients: Int

        init(_ load: Pgbench.Load) {
            script = load.script
            mode = load.mode
            clients = load.clients
        }

        func made(_ sample: Routing.Sample) -> Bool {
            sample.script == script && sample.mode == mode && sample.clients == clients
        }
    }

    /// Of the proxy.
    struct SystemCalls: Codable {
        let load: Load
        let peer: Peer.Kind
        let perTransaction: Double
    }

    /// One peer under one load, over all rounds. Ratios are medians of the rounds' own ratios, so that what slows a
    /// whole round down drops out.
    struct Summary: Codable {
        let load: Load
        let peer: Peer.Kind
        let transactionsPerSecond: Statistics
        /// The mean latency, in milliseconds.
        let latency: Statistics
        /// Of the proxy, in microseconds per transaction.
        let cpu: Statistics?
        let cpuUser: Statistics?
        let cpuSystem: Statistics?
        /// Transactions per second, as a part of what PostgreSQL does without a proxy.
        let throughputToDirect: Statistics?
        let throughputToPgBouncer: Statistics?
        let cpuToPgBouncer: Statistics?
        let cpuToForwarder: Statistics?
        /// Of a routerd with other options: transactions per second, as a part of what the usual one does.
        let throughputToRouterd: Statistics?
    }

    init(
        rounds: Int, seconds: Int, scale: Int, loads: [Load], peers: [Peer.Kind], samples: [Routing.Sample],
        systemCalls: [SystemCalls]
    ) {
        self.rounds = rounds
        self.seconds = seconds
        self.scale = scale
        self.loads = loads
        self.peers = peers
        self.samples = samples
        self.systemCalls = systemCalls
        summaries = loads.flatMap { load in
            peers.map { Self.summary(of: $0, load: load, samples: samples.filter(load.made)) }
        }
    }

    private static func summary(of peer: Peer.Kind, load: Load, samples: [Routing.Sample]) -> Summary {
        let own = samples.filter { $0.peer == peer }
        return Summary(
            load: load, peer: peer,
            transactionsPerSecond: Statistics(own.map(\.pgbench.transactionsPerSecond)),
            latency: Statistics(own.map(\.pgbench.latencyMilliseconds)),
            cpu: statistics(own.map(\.cpu?.total)),
            cpuUser: statistics(own.map(\.cpu?.user)),
            cpuSystem: statistics(own.map(\.cpu?.system)),
            throughputToDirect: samples.ratio(of: peer, to: .direct, \.pgbench.transactionsPerSecond),
            throughputToPgBouncer: samples.ratio(of: peer, to: .pgbouncer, \.pgbench.transactionsPerSecond),
            cpuToPgBouncer: samples.ratio(of: peer, to: .pgbouncer, \.cpu?.total),
            cpuToForwarder: samples.ratio(of: peer, to: .forwarder, \.cpu?.total),
            throughputToRouterd: peer.isVariant
                ? samples.ratio(of: peer, to: .routerd, \.pgbench.transactionsPerSecond) : nil)
    }

    /// None where a round lacks the figure.
    private static func statistics(_ values: [Double?]) -> Statistics? {
        let present = values.compactMap(\.self)
        return present.count == values.count ? Statistics(present) : nil
    }

    // MARK: For people

    /// One for each script and query mode.
    var sections: [Section] {
        Script.allCases.flatMap { script in
            QueryMode.allCases.compactMap { mode in
                let rows = summaries.filter { $0.load.script == script && $0.load.mode == mode }
                guard !rows.isEmpty else { return nil }
                return Section(
                    title: "routing: pgbench \(script.builtin), \(mode.rawValue), scale \(scale)", table: table(rows),
                    notes: notes, charts: charts(rows))
            }
        }
    }

    private var notes: [String] {
        [
            "tps: transactions per second, median of \(rounds) rounds of \(seconds) s, ± half the range.",
            "CPU: of the proxy alone, µs per transaction, user + system.",
            "Ratios: medians of the rounds' own ratios (pgb: PgBouncer, fwd: forwarder).",
            systemCalls.isEmpty
                ? "System calls were not counted: neither perf nor strace can look at the proxies here."
                : "calls: the proxy's system calls per transaction, counted apart from the rounds.",
        ]
    }

    private var hasVariants: Bool { peers.contains(where: \.isVariant) }

    private func table(_ rows: [Summary]) -> Table {
        var table = Table(
            [
                "clients", "peer", "tps", "±", "latency ms", "CPU µs", "±", "user", "system", "tps/direct",
                "tps/pgb", "CPU/pgb", "CPU/fwd", "calls",
            ] + (hasVariants ? ["tps/routerd"] : []), names: [1])
        for row in rows {
            let calls = systemCalls.first { $0.load == row.load && $0.peer == row.peer }?.perTransaction
            let cells = [
                "\(row.load.clients)", row.peer.title, fixed(row.transactionsPerSecond.median, 0),
                percent(row.transactionsPerSecond.spread), fixed(row.latency.median, 3),
                fixed(row.cpu?.median, 1), percent(row.cpu?.spread), fixed(row.cpuUser?.median, 1),
                fixed(row.cpuSystem?.median, 1), fixed(row.throughputToDirect?.median, 2),
                fixed(row.throughputToPgBouncer?.median, 2), fixed(row.cpuToPgBouncer?.median, 2),
                fixed(row.cpuToForwarder?.median, 2), fixed(calls, 2),
            ]
            table.append(cells + (hasVariants ? [fixed(row.throughputToRouterd?.median, 2)] : []))
        }
        return table
    }

    private func charts(_ rows: [Summary]) -> [Chart] {
        func label(_ row: Summary) -> String { "\(row.load.clients) clients, \(row.peer.title)" }
        let throughput = rows.map {
            Chart.Bar(label: label($0), value: $0.transactionsPerSecond.median, peer: $0.peer)
        }
        let cpu = rows.compactMap { row in
            row.cpu.map { Chart.Bar(label: label(row), value: $0.median, peer: row.peer) }
        }
        return [
            .bars(title: "Throughput", unit: "transactions/s", throughput),
            .bars(title: "The proxy's CPU per transaction", unit: "µs", cpu),
        ]
    }
}
