import Glibc

/// Throughput of all together when 1, 10 and 100 tenants are active, with the same number of clients.
struct Scaling {
    let rounds: Int
    let seconds: Int
    let stage: Stage

    private static let tenants = [1, 10, 100]
    private static let clients = 100
    private static let rows = 1_000

    func run() throws(Failure) -> ScalingReport {
        let most = Self.tenants.max() ?? 1
        // One tenant has to take all clients.
        let server = try stage.startRouter(
            instances: most, .init(maxConnections: Self.clients + 10, spares: 0))
        defer { server.stop() }
        for index in 0..<most {
            if index.isMultiple(of: 10) { note("filling \(most) tenants, \(index) are up") }
            try fill(Stage.tenant(index), port: server.port)
        }
        try server.settle()
        var samples: [ScalingReport.Sample] = []
        for round in 1...rounds {
            for tenants in Self.tenants {
                note("round \(round) of \(rounds), \(tenants) tenants, \(Self.clients) clients")
                let outcome = try load(tenants: tenants, server: server).run()
                samples.append(
                    .init(
                        round: round, tenants: tenants, transactionsPerSecond: outcome.transactionsPerSecond,
                        cpu: outcome.cpu, summary: outcome.latencies.summary))
            }
        }
        return ScalingReport(
            clients: Self.clients, rounds: rounds, seconds: seconds, tenants: Self.tenants, samples: samples)
    }

    private func fill(_ tenant: String, port: Int) throws(Failure) {
        let client = try WireClient(port: port, user: Psql.user, database: tenant)
        try client.query(
            """
            CREATE TABLE IF NOT EXISTS items (id int PRIMARY KEY, body text);
            INSERT INTO items SELECT id, 'item ' || id FROM generate_series(1, \(Self.rows)) id ON CONFLICT DO NOTHING
            """)
        client.terminate()
    }

    private func load(tenants: Int, server: RouterServer) -> Load {
        Load(
            targets: (0..<Self.clients).map { .init(port: server.port, database: Stage.tenant($0 % tenants)) },
            statement: "SELECT body FROM items WHERE id = $1", rows: Self.rows, seconds: seconds,
            observed: server.process.pid)
    }

    private func note(_ text: String) { stage.progress.note("scaling: \(text)") }
}

/// What all tenants do together.
struct ScalingReport: SubjectReport {
    let clients: Int
    let rounds: Int
    let seconds: Int
    let tenants: [Int]
    let samples: [Sample]

    struct Sample: Codable {
        let round: Int
        let tenants: Int
        let transactionsPerSecond: Double
        /// Of the router, in microseconds per transaction.
        let cpu: Double?
        let summary: Latencies.Summary
    }

    var sections: [Section] {
        var table = Table(
            ["active tenants", "clients", "tps", "±", "p50 ms", "p99 ms", "CPU µs"], names: [])
        var bars: [Chart.Bar] = []
        for tenants in self.tenants {
            let own = samples.filter { $0.tenants == tenants }
            let perSecond = Statistics(own.map(\.transactionsPerSecond))
            let cpu = own.compactMap(\.cpu)
            table.append([
                "\(tenants)", "\(clients)", fixed(perSecond.median, 0), percent(perSecond.spread),
                fixed(Statistics(own.map(\.summary.median)).median, 2),
                fixed(Statistics(own.map(\.summary.p99)).median, 2),
                cpu.isEmpty ? "" : fixed(Statistics(cpu).median, 1),
            ])
            bars.append(.init(label: "\(tenants) tenants", value: perSecond.median, peer: .routerd))
        }
        return [
            Section(
                title: "scaling: tenants active at once, all together", table: table,
                notes: [
                    "One row by its key, prepared; medians of \(rounds) rounds of \(seconds) s, ± half the range.",
                    "CPU: of the router, µs per transaction.",
                ], charts: [.bars(title: "Active tenants, \(clients) clients in all", unit: "transactions/s", bars)])
        ]
    }
}
