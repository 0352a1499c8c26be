/// What a connection costs: pgbench select-only with one for each transaction, 4 clients.
struct Reconnect {
    let rounds: Int
    let seconds: Int
    let stage: Stage

    private static let clients = 4

    func run() throws(Failure) -> ReconnectReport {
        let pgbench = Pgbench(tools: stage.tools, directory: stage.directory)
        let load = Pgbench.Load(
            script: .select, mode: .simple, clients: Self.clients, seconds: seconds, reconnects: true)
        let samples = try stage.measure(.reconnect, rounds: rounds, seconds: seconds) { peer, round throws(Failure) in
            ReconnectReport.Sample(
                round: round, peer: peer.kind, pgbench: try pgbench.measure(load, port: peer.port))
        }
        return ReconnectReport(
            clients: Self.clients, rounds: rounds, seconds: seconds, peers: stage.lineup.peers.map(\.kind),
            samples: samples)
    }
}

/// How many connections a second, and how long one with its transaction takes.
struct ReconnectReport: SubjectReport {
    let clients: Int
    let rounds: Int
    let seconds: Int
    let peers: [Peer.Kind]
    let samples: [Sample]

    struct Sample: Codable, PeerSample {
        let round: Int
        let peer: Peer.Kind
        let pgbench: Pgbench.Result
    }

    var sections: [Section] {
        var table = Table(["peer", "connections/s", "±", "ms each", "to direct", "to PgBouncer"])
        var bars: [Chart.Bar] = []
        for peer in peers {
            let own = samples.filter { $0.peer == peer }
            let perSecond = Statistics(own.map(\.pgbench.transactionsPerSecond))
            table.append([
                peer.title, fixed(perSecond.median, 0), percent(perSecond.spread),
                fixed(Statistics(own.map(\.pgbench.latencyMilliseconds)).median, 3),
                fixed(samples.ratio(of: peer, to: .direct, \.pgbench.transactionsPerSecond)?.median, 2),
                fixed(samples.ratio(of: peer, to: .pgbouncer, \.pgbench.transactionsPerSecond)?.median, 2),
            ])
            bars.append(.init(label: peer.title, value: perSecond.median, peer: peer))
        }
        return [
            Section(
                title: "reconnect: a connection for each transaction, \(clients) clients", table: table,
                notes: ["pgbench -C, select-only; medians of \(rounds) rounds of \(seconds) s, ± half the range."],
                charts: [.bars(title: "Connections, each with one transaction", unit: "1/s", bars)])
        ]
    }
}
