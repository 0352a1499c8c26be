import Foundation

/// The samples of a routing run, and what they come down to.
struct RoutingReport: SubjectReport {
    let rounds: Int
    let seconds: Int
    let scale: Int
    let clients: [Int]
    let modes: [QueryMode]
    let peers: [Peer.Kind]
    let samples: [Routing.Sample]
    let summaries: [Summary]

    /// One peer under one load, over all rounds. Ratios are medians of the rounds' own ratios, so that what slows a
    /// whole round down drops out.
    struct Summary: Codable {
        let mode: QueryMode
        let clients: Int
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
    }

    init(
        rounds: Int, seconds: Int, scale: Int, clients: [Int], modes: [QueryMode], peers: [Peer.Kind],
        samples: [Routing.Sample]
    ) {
        self.rounds = rounds
        self.seconds = seconds
        self.scale = scale
        self.clients = clients
        self.modes = modes
        self.peers = peers
        self.samples = samples
        summaries = modes.flatMap { mode in
            clients.flatMap { clients in
                let load = samples.filter { $0.mode == mode && $0.clients == clients }
                return peers.map { Self.summary(of: $0, mode: mode, clients: clients, load: load) }
            }
        }
    }

    private static func summary(
        of peer: Peer.Kind, mode: QueryMode, clients: Int, load: [Routing.Sample]
    ) -> Summary {
        let own = load.filter { $0.peer == peer }
        func ratio(to other: Peer.Kind, _ figure: (Routing.Sample) -> Double?) -> Statistics? {
            guard other != peer else { return nil }
            return statistics(
                own.map { sample in
                    guard let base = load.first(where: { $0.peer == other && $0.round == sample.round }),
                        let mine = figure(sample), let theirs = figure(base), theirs > 0
                    else { return nil }
                    return mine / theirs
                })
        }
        return Summary(
            mode: mode, clients: clients, peer: peer,
            transactionsPerSecond: Statistics(own.map(\.pgbench.transactionsPerSecond)),
            latency: Statistics(own.map(\.pgbench.latencyMilliseconds)),
            cpu: statistics(own.map(\.cpu?.total)),
            cpuUser: statistics(own.map(\.cpu?.user)),
            cpuSystem: statistics(own.map(\.cpu?.system)),
            throughputToDirect: ratio(to: .direct, \.pgbench.transactionsPerSecond),
            throughputToPgBouncer: ratio(to: .pgbouncer, \.pgbench.transactionsPerSecond),
            cpuToPgBouncer: ratio(to: .pgbouncer, \.cpu?.total),
            cpuToForwarder: ratio(to: .forwarder, \.cpu?.total))
    }

    /// None where a round lacks the figure.
    private static func statistics(_ values: [Double?]) -> Statistics? {
        let present = values.compactMap(\.self)
        return present.count == values.count ? Statistics(present) : nil
    }

    // MARK: For people

    var sections: [Section] {
        modes.map { mode in
            Section(
                title: "routing: pgbench select-only, \(mode.rawValue), scale \(scale)", table: table(of: mode),
                notes: [
                    "tps: transactions per second, median of \(rounds) rounds of \(seconds) s, ± half the range.",
                    "CPU: of the proxy alone, µs per transaction, user + system.",
                    "Ratios: medians of the rounds' own ratios (pgb: PgBouncer, fwd: forwarder).",
                ])
        }
    }

    private func table(of mode: QueryMode) -> Table {
        var table = Table(
            [
                "clients", "peer", "tps", "±", "latency ms", "CPU µs", "±", "user", "system", "tps/direct",
                "tps/pgb", "CPU/pgb", "CPU/fwd",
            ], names: [1])
        for clients in self.clients {
            for row in summaries where row.mode == mode && row.clients == clients {
                table.append([
                    "\(clients)", row.peer.rawValue, fixed(row.transactionsPerSecond.median, 0),
                    percent(row.transactionsPerSecond.spread), fixed(row.latency.median, 3),
                    fixed(row.cpu?.median, 1), percent(row.cpu?.spread), fixed(row.cpuUser?.median, 1),
                    fixed(row.cpuSystem?.median, 1), fixed(row.throughputToDirect?.median, 2),
                    fixed(row.throughputToPgBouncer?.median, 2), fixed(row.cpuToPgBouncer?.median, 2),
                    fixed(row.cpuToForwarder?.median, 2),
                ])
            }
        }
        return table
    }
}
