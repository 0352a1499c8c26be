/// What a proxy adds to a round trip: a prepared query for one row, by 1 and 8 clients.
struct Latency {
    let rounds: Int
    let seconds: Int
    let scale: Int
    let stage: Stage

    private static let clients = [1, 8]

    func run() throws(Failure) -> LatencyReport {
        var rows: [LatencyReport.Row] = []
        for clients in Self.clients {
            let samples = try stage.measure(.latency, "\(clients) clients", rounds: rounds, seconds: seconds) {
                peer, _ throws(Failure) in
                (peer: peer.kind, outcome: try load(peer, clients: clients).run())
            }
            for peer in stage.lineup.peers {
                var latencies = Latencies()
                let outcomes = samples.filter { $0.peer == peer.kind }.map(\.outcome)
                for outcome in outcomes { latencies.add(outcome.latencies) }
                rows.append(
                    .init(
                        clients: clients, peer: peer.kind,
                        transactionsPerSecond: Statistics(outcomes.map(\.transactionsPerSecond)),
                        summary: latencies.summary, curve: latencies.curve))
            }
        }
        return LatencyReport(rounds: rounds, seconds: seconds, rows: rows)
    }

    private func load(_ peer: Peer, clients: Int) -> Load {
        Load(
            targets: .init(repeating: .init(port: peer.port, database: Psql.database), count: clients),
            statement: "SELECT abalance FROM pgbench_accounts WHERE aid = $1", rows: scale * 100_000,
            seconds: seconds, observed: nil)
    }
}

/// How long a round trip takes, and how much longer than without a proxy.
struct LatencyReport: SubjectReport {
    let rounds: Int
    let seconds: Int
    let rows: [Row]

    struct Row: Codable {
        let clients: Int
        let peer: Peer.Kind
        let transactionsPerSecond: Statistics
        /// Of all rounds' samples together.
        let summary: Latencies.Summary
        let curve: [Latencies.Point]
    }

    var sections: [Section] {
        var table = Table(
            ["clients", "peer", "n", "p50 µs", "p99 µs", "p99.9 µs", "added p50", "added p99", "added p99.9"],
            names: [1])
        for row in rows {
            let figures = [row.summary.median, row.summary.p99, row.summary.p999]
            let direct = rows.first { $0.clients == row.clients && $0.peer == .direct && row.peer != .direct }?.summary
            let added = direct.map { [$0.median, $0.p99, $0.p999] }.map { zip(figures, $0).map { $0 - $1 } }
            table.append(
                ["\(row.clients)", row.peer.title, "\(row.summary.count)"] + figures.map { fixed($0 * 1_000, 1) }
                    + (added?.map { fixed($0 * 1_000, 1) } ?? ["", "", ""]))
        }
        return [
            Section(
                title: "latency: a round trip, one row by its key, prepared", table: table,
                notes: [
                    "All samples of \(rounds) rounds of \(seconds) s. Added: the difference of the percentiles, in µs."
                ], charts: Set(rows.map(\.clients)).sorted().map(chart))
        ]
    }

    private func chart(clients: Int) -> Chart {
        .percentiles(
            title: "Round trip, \(clients) client\(clients == 1 ? "" : "s")", unit: "ms",
            rows.filter { $0.clients == clients }.map { .init(peer: $0.peer, points: $0.curve) })
    }
}
