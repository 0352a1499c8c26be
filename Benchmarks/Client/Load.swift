import Foundation

/// Clients that ask for one row after another by its key, a thread and a session each, all at once.
struct Load {
    /// One for each client.
    let targets: [Target]
    /// Has one parameter: a number from 1 to `rows`.
    let statement: String
    let rows: Int
    let seconds: Int
    /// The process whose CPU time is measured with it.
    let observed: pid_t?

    struct Target {
        let port: Int
        let database: String
    }

    struct Outcome {
        let latencies: Latencies
        let transactionsPerSecond: Double
        /// Of the observed process, in microseconds per transaction.
        let cpu: Double?
    }

    /// - Throws: the first failure of a client.
    func run() throws(Failure) -> Outcome {
        let (prepared, started) = (DispatchGroup(), DispatchGroup())
        for _ in targets { prepared.enter() }
        started.enter()
        let (targets, statement, rows, time) = (targets, statement, rows, Duration.seconds(seconds))
        var before: ProcessCPU?
        var start = ContinuousClock.now
        let outcomes = concurrently(targets.count) { index throws(Failure) in
            let client = try Self.prepare(targets[index], statement, thenLeave: prepared)
            started.wait()
            return try Self.repeat(client, rows: rows, for: time)
        } meanwhile: {
            prepared.wait()
            before = observed.flatMap { try? ProcessCPU(of: $0) }
            start = ContinuousClock.now
            started.leave()
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let after = observed.flatMap { try? ProcessCPU(of: $0) }
        try Interruption.check()
        var latencies = Latencies()
        for outcome in outcomes { latencies.add(try outcome.get()) }
        let count = Double(max(1, latencies.summary.count))
        var cpu: Double?
        if let before, let after { cpu = (after - before).total / .microseconds(1) / count }
        return Outcome(latencies: latencies, transactionsPerSecond: count / seconds, cpu: cpu)
    }

    private static func prepare(
        _ target: Target, _ statement: String, thenLeave group: DispatchGroup
    ) throws(Failure) -> WireClient {
        defer { group.leave() }
        let client = try WireClient(port: target.port, user: Psql.user, database: target.database)
        try client.prepare("row", statement)
        for _ in 0..<5 { try client.execute("row", parameter: "1") }
        return client
    }

    private static func `repeat`(_ client: WireClient, rows: Int, for time: Duration) throws(Failure) -> Latencies {
        var latencies = Latencies()
        let deadline = ContinuousClock.now + time
        var now = ContinuousClock.now
        while now < deadline {
            let parameter = "\(Int.random(in: 1...rows))"
            let start = ContinuousClock.now
            try client.execute("row", parameter: parameter)
            now = ContinuousClock.now
            latencies.record(now - start)
        }
        client.terminate()
        return latencies
    }
}
