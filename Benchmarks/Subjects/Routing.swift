import Foundation

/// What a proxy costs a short query: select-only transactions, peers in turn, several rounds.
struct Routing {
    let rounds: Int
    let seconds: Int
    let clients: [Int]
    let modes: [QueryMode]
    let scale: Int

    /// One measurement.
    struct Sample: Codable {
        let round: Int
        let peer: Peer.Kind
        let mode: QueryMode
        let clients: Int
        let pgbench: Pgbench.Result
        /// The proxy's CPU time, in microseconds per transaction.
        let cpu: CPU?

        struct CPU: Codable {
            let total: Double
            let user: Double
            let system: Double
        }
    }

    /// Runs all rounds. Each round starts with another peer, so that a machine that gets slower or faster during the
    /// run favours nobody.
    func run(_ lineup: Lineup, progress: Progress) throws(Failure) -> RoutingReport {
        try warmUp(lineup, progress: progress)
        let cases = modes.flatMap { mode in clients.map { (mode: mode, clients: $0) } }
        let total = rounds * cases.count * lineup.peers.count
        var samples: [Sample] = []
        for round in 0..<rounds {
            for (mode, clients) in cases {
                for turn in lineup.peers.indices {
                    let peer = lineup.peers[(turn + round) % lineup.peers.count]
                    let left = Duration.seconds((total - samples.count) * seconds)
                    progress.note(
                        "routing: round \(round + 1) of \(rounds), \(mode.rawValue), \(clients) clients, "
                            + "\(peer.kind.rawValue); \(left.formatted(.time(pattern: .minuteSecond))) left")
                    samples.append(
                        try measure(peer, round: round + 1, mode: mode, clients: clients, lineup: lineup))
                }
            }
        }
        return RoutingReport(
            rounds: rounds, seconds: seconds, scale: scale, clients: clients, modes: modes,
            peers: lineup.peers.map(\.kind), samples: samples)
    }

    /// Fills caches, and lets every path run once.
    private func warmUp(_ lineup: Lineup, progress: Progress) throws(Failure) {
        for peer in lineup.peers {
            progress.note("routing: warming up \(peer.kind.rawValue)")
            _ = try measure(peer, round: 0, mode: modes[0], clients: clients[0], seconds: 2, lineup: lineup)
        }
    }

    private func measure(
        _ peer: Peer, round: Int, mode: QueryMode, clients: Int, seconds: Int? = nil, lineup: Lineup
    ) throws(Failure) -> Sample {
        let pgbench = Pgbench(tools: lineup.tools, directory: lineup.directory)
        let before = try peer.proxy.map(ProcessCPU.init(of:))
        let result = try pgbench.selectOnly(
            port: peer.port, clients: clients, threads: ProcessInfo.processInfo.activeProcessorCount, mode: mode,
            seconds: seconds ?? self.seconds)
        let after = try peer.proxy.map(ProcessCPU.init(of:))
        var cpu: Sample.CPU?
        if let before, let after {
            let used = after - before
            func microseconds(_ duration: Duration) -> Double {
                duration / .microseconds(1) / Double(result.transactions)
            }
            cpu = .init(
                total: microseconds(used.total), user: microseconds(used.user), system: microseconds(used.system))
        }
        return Sample(
            round: round, peer: peer.kind, mode: mode, clients: clients, pgbench: result, cpu: cpu)
    }
}
