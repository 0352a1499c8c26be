import Foundation
import Glibc

/// What a proxy costs a short transaction: pgbench through every peer in turn, several rounds.
struct Routing {
    let rounds: Int
    let seconds: Int
    let scripts: [Script]
    let clients: [Int]
    let modes: [QueryMode]
    let scale: Int
    let stage: Stage

    private var pgbench: Pgbench { Pgbench(tools: stage.tools, directory: stage.directory) }

    /// One measurement.
    struct Sample: Codable, PeerSample {
        let round: Int
        let peer: Peer.Kind
        let script: Script
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

    /// Runs all rounds.
    func run() throws(Failure) -> RoutingReport {
        let loads = scripts.flatMap { script in
            modes.flatMap { mode in
                clients.map { Pgbench.Load(script: script, mode: mode, clients: $0, seconds: seconds) }
            }
        }
        try warmUp(loads[0])
        var samples: [Sample] = []
        for load in loads {
            samples += try stage.measure(.routing, load.text, rounds: rounds, seconds: seconds) {
                peer, round throws(Failure) in
                try measure(load, through: peer, round: round)
            }
        }
        return RoutingReport(
            rounds: rounds, seconds: seconds, scale: scale, loads: loads.map(RoutingReport.Load.init),
            peers: stage.lineup.peers.map(\.kind), samples: samples, systemCalls: try systemCalls(loads))
    }

    /// Fills caches, and lets every path run once.
    private func warmUp(_ load: Pgbench.Load) throws(Failure) {
        for peer in stage.lineup.peers {
            stage.progress.note("routing: warming up \(peer.kind.title)")
            _ = try pgbench.measure(load.lasting(2), port: peer.port)
        }
    }

    private func measure(_ load: Pgbench.Load, through peer: Peer, round: Int) throws(Failure) -> Sample {
        let before = try peer.proxy.map(ProcessCPU.init(of:))
        let result = try pgbench.measure(load, port: peer.port)
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
            round: round, peer: peer.kind, script: load.script, mode: load.mode, clients: load.clients,
            pgbench: result, cpu: cpu)
    }

    /// Counted apart from the rounds: who counts may slow down.
    private func systemCalls(_ loads: [Pgbench.Load]) throws(Failure) -> [RoutingReport.SystemCalls] {
        var found: [RoutingReport.SystemCalls] = []
        for load in loads {
            for peer in stage.lineup.peers {
                guard let proxy = peer.proxy else { continue }
                stage.progress.note("routing: counting system calls, \(load.text), \(peer.kind.title)")
                guard let counter = SystemCalls(of: proxy, tools: stage.tools, directory: stage.directory) else {
                    return found
                }
                let outcome: Result<Pgbench.Result, Failure> = Result { () throws(Failure) in
                    try pgbench.measure(load.lasting(1), port: peer.port)
                }
                let calls = counter.end()
                let transactions = try outcome.get().transactions
                guard let calls, calls > 0 else { continue }
                found.append(
                    .init(
                        load: .init(load), peer: peer.kind, perTransaction: Double(calls) / Double(transactions)))
            }
        }
        return found
    }
}
