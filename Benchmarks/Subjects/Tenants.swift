import Foundation
import Glibc

/// What tenants cost: making them, waking them, keeping them.
struct Tenants {
    /// First connects and wakes of each kind.
    let samples: Int
    /// New names that connect at once.
    let burst: Int
    /// Instances whose memory is measured.
    let live: Int
    /// Directories that only look like tenants'.
    let lookalikes: Int
    let stage: Stage

    private static let spares = 3
    /// Clients that make tenants side by side.
    private static let makers = 8
    /// Tenants that connect at once after a crash.
    private var storm: Int { min(30, live) }

    func run() throws(Failure) -> TenantsReport {
        var report = TenantsReport(hasSpares: stage.program?.hasSpares ?? false)
        if report.hasSpares {
            report.connects.append(try firstConnects(.firstFromSpare, spares: Self.spares))
        }
        report.connects.append(try firstConnects(.firstWithoutSpare, spares: 0))
        report.connects.append(try wakes())
        report.warm = try warmConnects()
        report.burst = try newNamesAtOnce()
        report.making = try makeTenants()
        for limit in [20, nil] { report.memory.append(try memory(maxConnections: limit)) }
        report.storm = try bootStorm()
        report.directories = try lookalikeDirectories()
        return report
    }

    // MARK: Connecting

    /// New databases by new users, one after the other.
    private func firstConnects(
        _ kind: TenantsReport.Connect.Kind, spares: Int
    ) throws(Failure) -> TenantsReport.Connect {
        let server = try stage.startRouter(instances: samples, .init(spares: spares))
        defer { server.stop() }
        var latencies = Latencies()
        for index in 0..<samples {
            note("\(kind.text), \(index + 1) of \(samples)")
            try server.settle(instances: index + spares)
            latencies.record(try firstConnect(to: server, "\(kind.rawValue)-\(index)"))
        }
        return .init(kind: kind, summary: latencies.summary, curve: latencies.curve)
    }

    private func firstConnect(to server: RouterServer, _ name: String) throws(Failure) -> Duration {
        try timed { () throws(Failure) in
            try WireClient(port: server.port, user: "user-of-\(name)", database: name).terminate()
        }.time
    }

    /// Instances that have hibernated by themselves, one after the other, up to a query's answer.
    private func wakes() throws(Failure) -> TenantsReport.Connect {
        note("hibernating \(samples) tenants")
        // None hibernates again while the others are woken.
        let server = try stage.startRouter(
            instances: samples, .init(idleTimeout: "\(max(3, samples / 4))s", spares: 0))
        defer { server.stop() }
        let names = (0..<samples).map { "\(TenantsReport.Connect.Kind.firstWithoutSpare.rawValue)-\($0)" }
        for name in names { try ask(server.port, name) }
        try server.waitUntilHibernated()
        var latencies = Latencies()
        for (index, name) in names.enumerated() {
            note("waking, \(index + 1) of \(samples)")
            latencies.record(try timed { () throws(Failure) in try ask(server.port, name) }.time)
            // The last one's processes finish their own start.
            usleep(50_000)
        }
        return .init(kind: .wake, summary: latencies.summary, curve: latencies.curve)
    }

    /// To a database that is up, one client after the other, peers in turn.
    private func warmConnects() throws(Failure) -> [TenantsReport.Warm] {
        let rounds = 20 * samples
        var latencies = stage.lineup.peers.map { _ in Latencies() }
        note("\(rounds) warm connects each")
        for round in 0..<rounds {
            for (index, peer) in stage.lineup.peers.enumerated() {
                let (client, time) = try timed { () throws(Failure) in
                    try WireClient(port: peer.port, user: Psql.user, database: Psql.database)
                }
                client.terminate()
                // The first ones make PgBouncer's server connections.
                if round >= samples { latencies[index].record(time) }
                // The backend of the last client has a core of its own to end on.
                usleep(500)
            }
        }
        return zip(stage.lineup.peers, latencies).map { peer, latencies in
            .init(peer: peer.kind, summary: latencies.summary, curve: latencies.curve)
        }
    }

    // MARK: Many at once

    private func newNamesAtOnce() throws(Failure) -> TenantsReport.Rush {
        note("a burst of \(burst) new names")
        let server = try stage.startRouter(instances: burst, .init())
        defer { server.stop() }
        try server.settle()
        let port = server.port
        return try rush(of: burst) { index throws(Failure) in
            try WireClient(port: port, user: "user-of-\(index)", database: Stage.tenant(index)).terminate()
        }
    }

    /// What the next measurements need and is not there yet, all of it written to the disk and hibernated.
    ///
    /// - Returns: nil where the burst has made enough.
    private func makeTenants() throws(Failure) -> TenantsReport.Rush? {
        let missing = live - burst
        guard missing > 0 else { return nil }
        note("making \(missing) tenants")
        let server = try stage.startRouter(instances: live, .init(maxConnections: 20, spares: 0))
        defer { server.stop() }
        let (port, burst) = (server.port, burst)
        let rush = try rush(of: missing, atOnce: Self.makers) { index throws(Failure) in
            try ask(port, Stage.tenant(burst + index))
        }
        server.stop()
        sync()
        return rush
    }

    /// After a crash of the router with all its instances, which recover.
    private func bootStorm() throws(Failure) -> TenantsReport.Storm {
        note("a boot storm of \(storm) tenants")
        let victim = try stage.startRouter(instances: live)
        defer { victim.stop() }
        for index in 0..<storm { try ask(victim.port, Stage.tenant(index)) }
        try victim.settle()
        victim.kill()
        let server = try stage.startRouter(instances: live)
        defer { server.stop() }
        let port = server.port
        let rush = try rush(of: storm) { index throws(Failure) in
            try ask(port, Stage.tenant(index))
        }
        return .init(start: server.startTime.milliseconds, rush: rush)
    }

    /// `count` clients, all of them at once or so many.
    private func rush(
        of count: Int, atOnce threads: Int? = nil, _ connect: @Sendable @escaping (Int) throws(Failure) -> Void
    ) throws(Failure) -> TenantsReport.Rush {
        let threads = threads ?? count
        let start = ContinuousClock.now
        let outcomes = concurrently(threads) { thread throws(Failure) in
            stride(from: thread, to: count, by: threads).map { index in
                Result { () throws(Failure) in try timed { () throws(Failure) in try connect(index) }.time }
            }
        }
        let time = ContinuousClock.now - start
        try Interruption.check()
        var latencies = Latencies()
        var errors: [String] = []
        for results in outcomes {
            for result in try results.get() {
                switch result {
                case .success(let time): latencies.record(time)
                case .failure(let error): errors.append(error.description)
                }
            }
        }
        return .init(
            count: count, total: time.milliseconds, errors: errors.count, firstError: errors.first,
            summary: latencies.summary)
    }

    // MARK: What they take

    /// Instances that are up and have no session.
    private func memory(maxConnections: Int?) throws(Failure) -> TenantsReport.Memory {
        let limit = maxConnections.map { "--max-connections \($0)" } ?? "the default --max-connections"
        let server = try stage.startRouter(instances: live, .init(maxConnections: maxConnections, spares: 0))
        defer { server.stop() }
        try server.settle()
        let before = (try Memory.available(), try Memory.resident(server.process.pid))
        for index in 0..<live {
            if index.isMultiple(of: 10) { note("waking \(live) instances with \(limit), \(index) are up") }
            try ask(server.port, Stage.tenant(index))
        }
        try server.settle()
        let after = (try Memory.available(), try Memory.resident(server.process.pid))
        let shares = server.tree.pids.dropFirst().compactMap(Memory.share(of:))
        // Two minutes in which PostgreSQL's background writers fall asleep and autovacuum has gone round once; then one
        // of its rounds.
        try pass(120, "\(live) instances with \(limit) come to rest")
        let (tree, start) = (server.tree, ContinuousClock.now)
        try pass(60, "\(live) idle instances with \(limit)")
        let cores = Double(ProcessInfo.processInfo.activeProcessorCount)
        let cpu = (server.tree.cpu - tree.cpu) / (ContinuousClock.now - start) / cores
        server.stop()
        sync()
        return .init(
            maxConnections: maxConnections, live: live, perInstance: Double(before.0 - after.0) / Double(live),
            share: shares.isEmpty ? nil : Double(shares.reduce(0, +)) / Double(live), router: after.1,
            routerWithNone: before.1, cpu: cpu)
    }

    /// The same server among many directories as without them.
    private func lookalikeDirectories() throws(Failure) -> [TenantsReport.Directories] {
        let without = try startsAndConnects(lookalikes: 0)
        note("creating \(lookalikes) directories")
        try stage.directory.fillWithLookalikes(Stage.base, count: lookalikes)
        sync()
        return [without, try startsAndConnects(lookalikes: lookalikes)]
    }

    private func startsAndConnects(lookalikes: Int) throws(Failure) -> TenantsReport.Directories {
        note("starting and connecting among \(lookalikes) directories")
        let rounds = 5
        var (starts, first, wakes, warm) = (Latencies(), Latencies(), Latencies(), Latencies())
        for round in 0..<rounds {
            let server = try stage.startRouter(instances: live)
            defer { server.stop() }
            starts.record(server.startTime)
            first.record(try firstConnect(to: server, "among-\(lookalikes)-\(round)"))
            for index in 0..<5 {
                try server.settle()
                let name = Stage.tenant(index)
                wakes.record(try timed { () throws(Failure) in try ask(server.port, name) }.time)
                for _ in 0..<20 { warm.record(try timed { () throws(Failure) in try ask(server.port, name) }.time) }
            }
        }
        return .init(
            lookalikes: lookalikes, start: starts.summary, firstConnect: first.summary, wake: wakes.summary,
            warmConnect: warm.summary)
    }

    // MARK: Parts

    private func pass(_ seconds: Int, _ text: String) throws(Failure) {
        for second in 0..<seconds {
            if second.isMultiple(of: 10) { note("\(text), \(seconds - second) s") }
            sleep(1)
            try Interruption.check()
        }
    }

    private func note(_ text: String) { stage.progress.note("tenants: \(text)") }
}

/// Connects to `database` and waits for the answer of a first query.
private func ask(_ port: Int, _ database: String) throws(Failure) {
    let client = try WireClient(port: port, user: Psql.user, database: database)
    try client.query("SELECT 1")
    client.terminate()
}
