import Foundation
import Glibc
import Synchronization

/// What clients notice of metrics being scraped: a round trip beside idle sessions, with and without somebody who asks
/// for `/metrics` ten times a second.
struct Scrape {
    let rounds: Int
    let seconds: Int
    let sessions: Int
    let tenants: Int
    let stage: Stage

    private static let clients = 8
    private static let interval: UInt32 = 100_000

    func run() throws(Failure) -> ScrapeReport {
        let each = (sessions + tenants - 1) / tenants
        let httpPort = try Loopback.freePort()
        let server = try stage.startRouter(
            instances: tenants, .init(maxConnections: max(40, each + Self.clients + 2), spares: 0, httpPort: httpPort))
        defer { server.stop() }
        var idle: [WireClient] = []
        for index in 0..<sessions {
            if index.isMultiple(of: 100) { note("\(index) of \(sessions) sessions") }
            idle.append(try WireClient(port: server.port, user: Psql.user, database: Stage.tenant(index % tenants)))
        }
        try server.settle()
        var samples: [ScrapeReport.Sample] = []
        for round in 1...rounds {
            for kind in round.isMultiple(of: 2) ? ScrapeReport.Kind.allCases.reversed() : ScrapeReport.Kind.allCases {
                note("round \(round) of \(rounds), \(kind.text)")
                samples.append(try measure(kind, server, httpPort: httpPort))
            }
        }
        guard idle.allSatisfy(\.connection.isOpenAndQuiet) else { throw .program("A session has ended.", output: "") }
        return ScrapeReport(rounds: rounds, seconds: seconds, sessions: sessions, samples: samples)
    }

    private func measure(
        _ kind: ScrapeReport.Kind, _ server: RouterServer, httpPort: Int
    ) throws(Failure) -> ScrapeReport.Sample {
        let load = Load(
            targets: .init(repeating: .init(port: server.port, database: Stage.tenant(0)), count: Self.clients),
            statement: "SELECT $1::int", rows: 1_000_000, seconds: seconds, observed: server.process.pid)
        switch kind {
        case .quiet: return .init(kind: kind, outcome: try load.run(), scrapes: Latencies())
        case .scraped:
            let scraper = Scraper(port: httpPort, interval: Self.interval)
            scraper.start()
            let outcome = try load.run()
            return .init(kind: kind, outcome: outcome, scrapes: try scraper.stop())
        }
    }

    private func note(_ text: String) { stage.progress.note("scrape: \(text)") }
}

/// Asks for the metrics, again and again, each time on a new connection as a scraper may.
private final class Scraper: Sendable {
    private let port: Int
    private let interval: UInt32
    private let isStopped = Atomic(false)
    private let done = DispatchSemaphore(value: 0)
    private let result = Mutex<Result<Latencies, Failure>>(.success(Latencies()))

    init(port: Int, interval: UInt32) {
        self.port = port
        self.interval = interval
    }

    func start() {
        Thread {
            let result = self.scrape()
            self.result.withLock { $0 = result }
            self.done.signal()
        }.start()
    }

    func stop() throws(Failure) -> Latencies {
        isStopped.store(true, ordering: .relaxed)
        done.wait()
        return try result.withLock(\.self).get()
    }

    private func scrape() -> Result<Latencies, Failure> {
        var latencies = Latencies()
        do throws(Failure) {
            while !isStopped.load(ordering: .relaxed) {
                let start = ContinuousClock.now
                try ask()
                latencies.record(ContinuousClock.now - start)
                usleep(interval)
            }
            return .success(latencies)
        } catch {
            return .failure(error)
        }
    }

    private func ask() throws(Failure) {
        let connection = try Connection(port: port)
        try connection.send(Array("GET /metrics HTTP/1.0\r\n\r\n".utf8))
        var (buffer, total) = ([UInt8](repeating: 0, count: 65_536), 0)
        while true {
            let count = try connection.receive(into: &buffer, at: 0)
            if total == 0, !buffer.starts(with: Array("HTTP/1.1 200 OK".utf8)) {
                throw .refused("There are no metrics.")
            }
            total += count
            if count == 0 { return }
        }
    }
}

/// Round trips with and without scrapes.
struct ScrapeReport: SubjectReport {
    let rounds: Int
    let seconds: Int
    let sessions: Int
    let rows: [Row]

    enum Kind: String, Codable, CaseIterable {
        case quiet, scraped

        var text: String {
            switch self {
            case .quiet: "nobody asks"
            case .scraped: "ten scrapes a second"
            }
        }
    }

    struct Sample {
        let kind: Kind
        let outcome: Load.Outcome
        let scrapes: Latencies
    }

    struct Row: Codable {
        let kind: Kind
        let transactionsPerSecond: Statistics
        /// Of the router's process, in microseconds per transaction.
        let cpu: Statistics
        let summary: Latencies.Summary
        let scrapes: Latencies.Summary
    }

    init(rounds: Int, seconds: Int, sessions: Int, samples: [Sample]) {
        self.rounds = rounds
        self.seconds = seconds
        self.sessions = sessions
        rows = Kind.allCases.map { kind in
            let own = samples.filter { $0.kind == kind }
            var (latencies, scrapes) = (Latencies(), Latencies())
            for sample in own {
                latencies.add(sample.outcome.latencies)
                scrapes.add(sample.scrapes)
            }
            return Row(
                kind: kind, transactionsPerSecond: Statistics(own.map(\.outcome.transactionsPerSecond)),
                cpu: Statistics(own.compactMap(\.outcome.cpu)), summary: latencies.summary, scrapes: scrapes.summary)
        }
    }

    var sections: [Section] {
        var table = Table([
            "beside \(sessions) sessions", "transactions/s", "±", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs each",
            "scrapes", "p50 ms", "p99 ms",
        ])
        for row in rows {
            let figures = [row.summary.median, row.summary.p99, row.summary.p999].map { fixed($0 * 1_000, 1) }
            let hasScrapes = row.scrapes.count > 0
            table.append(
                [row.kind.text, fixed(row.transactionsPerSecond.median, 0), percent(row.transactionsPerSecond.spread)]
                    + figures + [fixed(row.cpu.median, 1)]
                    + [
                        "\(row.scrapes.count)", hasScrapes ? fixed(row.scrapes.median, 2) : "",
                        hasScrapes ? fixed(row.scrapes.p99, 2) : "",
                    ])
        }
        return [
            Section(
                title: "scrape: round trips while metrics are read", table: table,
                notes: [
                    "8 clients of one tenant; all samples of \(rounds) rounds of \(seconds) s, in turn; "
                        + "CPU of the router's process, scrapes included."
                ])
        ]
    }
}
