import ArgumentParser
import Foundation

/// How pgbench sends its statements (pgbench's `--protocol`).
enum QueryMode: String, CaseIterable, Codable, ExpressibleByArgument {
    case simple, extended, prepared

    static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
}

/// One of pgbench's own transactions.
enum Script: String, CaseIterable, Codable, ExpressibleByArgument {
    /// One row by its primary key.
    case select
    /// Three updates, a query and an insertion in one transaction, seven statements in all.
    case tpcb

    /// For pgbench's `--builtin`.
    var builtin: String {
        switch self {
        case .select: "select-only"
        case .tpcb: "tpcb-like"
        }
    }

    static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
}

/// PostgreSQL's own load generator.
struct Pgbench {
    let tools: Tools
    let directory: WorkDirectory

    /// What one measurement brought.
    struct Result: Codable {
        /// Transactions in all.
        let transactions: Int
        /// Per second, the time for connecting left out.
        let transactionsPerSecond: Double
        /// The mean over all transactions, in milliseconds.
        let latencyMilliseconds: Double
    }

    /// Creates and fills the tables: 100,000 rows for each step of the scale.
    func fill(port: Int, scale: Int) throws(Failure) {
        _ = try run(["-i", "-q", "-s", "\(scale)"], port: port)
        let psql = try Psql(tools: tools, directory: directory, port: port, "CHECKPOINT")
        // Whoever is no superuser leaves it to PostgreSQL.
        guard psql.hasSucceeded || psql.lastWords.contains("must be superuser") else {
            throw .program("CHECKPOINT failed.", output: psql.lastWords)
        }
    }

    /// What is measured.
    struct Load {
        let script: Script
        let mode: QueryMode
        let clients: Int
        let seconds: Int
        /// A connection for each transaction.
        var reconnects = false

        func lasting(_ seconds: Int) -> Load {
            Load(script: script, mode: mode, clients: clients, seconds: seconds, reconnects: reconnects)
        }

        /// For a person who waits.
        var text: String { "\(script.builtin), \(mode.rawValue), \(clients) clients" }
    }

    /// Runs `load`, with a thread for each core.
    ///
    /// - Throws: `Failure.program` also when a transaction has failed.
    func measure(_ load: Load, port: Int) throws(Failure) -> Result {
        let threads = min(ProcessInfo.processInfo.activeProcessorCount, load.clients)
        let output = try run(
            [
                "-b", load.script.builtin, "-n", "-M", load.mode.rawValue, "-c", "\(load.clients)", "-j", "\(threads)",
                "-T", "\(load.seconds)",
            ] + (load.reconnects ? ["-C"] : []), port: port)
        return try Self.parse(output)
    }

    private func run(_ arguments: [String], port: Int) throws(Failure) -> String {
        let process = try ChildProcess(
            "pgbench", tools.postgres("pgbench"), arguments, as: .own, in: directory,
            environment: Psql.environment(port: port))
        try process.wait()
        guard process.hasSucceeded else { throw .program("pgbench failed.", output: process.lastWords) }
        return process.output
    }

    private static func parse(_ output: String) throws(Failure) -> Result {
        // The last one counts where a label comes twice: up to version 13, first with connecting and then without.
        func value(_ label: String) -> String? {
            output.split(separator: "\n").last { $0.hasPrefix(label) }?
                .dropFirst(label.count).drop { $0 == " " }.prefix { $0 != " " && $0 != "/" }.description
        }
        guard let transactions = value("number of transactions actually processed:").flatMap({ Int($0) }),
            let perSecond = value("tps =").flatMap({ Double($0) }),
            let latency = value("latency average =").flatMap({ Double($0) }), transactions > 0
        else { throw .unreadable("pgbench's output", output: output) }
        if let failed = value("number of failed transactions:"), failed != "0" {
            throw .program("\(failed) transactions failed.", output: output)
        }
        return Result(transactions: transactions, transactionsPerSecond: perSecond, latencyMilliseconds: latency)
    }
}
