import ArgumentParser
import Foundation
import Glibc

/// Measures routerd as a black box beside its peers: PostgreSQL itself, PgBouncer, and a bare forwarder in C.
@main
struct Command: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "Benchmarks",
        abstract: "Measures routerd beside PostgreSQL itself, PgBouncer, and a bare forwarder in C.",
        discussion: """
            Everything is started here, on free ports of the loopback interface and in a directory of its own, and \
            ended and removed afterwards. Progress goes to standard error, the tables to standard output.

            Without arguments all subjects run briefly, in about a quarter of an hour: routing with select-only, prepared \
            statements, 8 and 32 clients. Figures to rely on want a quiet machine and --rounds 5 --seconds 5; more of \
            routing is in --clients 1,8,32,128, --protocol simple,extended,prepared and --script select,tpcb.
            """)

    @Argument(help: "What to measure: \(Subject.names).")
    var subjects: [Subject] = Subject.allCases

    @Option(help: "Measurements of each kind; the peers take turns within each round.")
    var rounds = 3

    @Option(help: "Seconds per measurement.")
    var seconds = 2

    @Option(help: "routing: numbers of concurrent clients, separated by commas.")
    var clients = List<Int>([8, 32])

    @Option(
        name: .customLong("protocol"), help: "routing: pgbench's query modes, separated by commas: \(QueryMode.names).")
    var modes = List<QueryMode>([.prepared])

    @Option(name: .customLong("script"), help: "routing: pgbench's scripts, separated by commas: \(Script.names).")
    var scripts = List<Script>([.select])

    @Option(help: "Peers, separated by commas: \(Peer.Kind.names).")
    var peers = List<Peer.Kind>(Peer.Kind.usual)

    @Option(help: "pgbench's scale: 100,000 rows, 15 MB, each.")
    var scale = 10

    @Option(help: "tenants: first connects and wakes of each kind.")
    var samples = 30

    @Option(help: "tenants: new names that connect at once.")
    var burst = 100

    @Option(help: "tenants: idle instances that are measured.")
    var live = 30

    @Option(help: "tenants: directories that only look like tenants'.")
    var directories = 10_000

    @Option(help: "idle, scrape: established sessions.")
    var sessions = 1_000

    @Option(help: "idle, scrape: tenants that these are spread over.")
    var tenants = 50

    @Option(help: "idle: connections that never send a startup packet.")
    var silent = 8_000

    @Option(name: .customLong("dir"), help: "Where this program makes its own directory, on disk.")
    var parentDirectory = "/tmp"

    @Option(name: .customLong("routerd"), help: "The routerd to measure (default: built here, release).")
    var routerdPath: String?

    @Option(name: .customLong("postgres-bin"), help: "PostgreSQL's programs (default: the newest under /usr/lib).")
    var postgresBinDirectory: String?

    @Option(name: .customLong("json"), help: "Write every sample and the summary to this file.")
    var jsonPath: String?

    @Option(name: .customLong("report"), help: "Write the report to this directory, as a page with charts: index.html.")
    var reportDirectory: String?

    func validate() throws {
        guard [rounds, seconds, scale, samples, burst, live, sessions, tenants, silent].allSatisfy({ $0 > 0 }),
            directories >= 0
        else {
            throw ValidationError("Numbers start at 1.")
        }
        guard clients.elements.allSatisfy({ (1...1_000).contains($0) }) else {
            throw ValidationError("--clients are numbers from 1 to 1000.")
        }
    }

    func run() throws {
        #if DEBUG
            try Checkout.runReleaseInstead()
        #else
            Interruption.watch()
            do {
                try measure()
            } catch Failure.interrupted {
                throw ExitCode(130)
            }
        #endif
    }

    private func measure() throws(Failure) {
        DescriptorLimit.raise()
        let progress = Progress()
        let tools = try Tools(postgresBinDirectory: postgresBinDirectory, for: peers.elements)
        let needsRouterd = peers.elements.contains { $0.routerOptions != nil }
        let routerd = needsRouterd ? try routerdExecutable(progress) : nil
        let parent = URL(filePath: parentDirectory).absoluteURL.resolvingSymlinksInPath().path
        let directory = try WorkDirectory(in: parent, owner: tools.account)
        defer {
            progress.note("Removing \(directory.path)")
            directory.remove()
            progress.clear()
        }

        // The other subjects have up to 8 clients.
        let lineup = Lineup(tools: tools, directory: directory, clients: max(8, clients.elements.max() ?? 1))
        defer { lineup.stop(progress) }
        let program = try routerd.map { path throws(Failure) in
            try RouterProgram(path: path, tools: tools, directory: directory)
        }
        let needs = subjects.map(\.needs)
        if needs.contains(where: { $0 != .router }) {
            try lineup.start(
                peers.elements, program: program, scale: needs.contains(.tables) ? scale : nil, progress: progress)
        }

        var report = Report(machine: try Machine(tools: tools, peers: peers.elements))
        report.settingDifferences = lineup.settingDifferences
        let stage = Stage(
            tools: tools, directory: directory, progress: progress, program: program, lineup: lineup)
        do throws(Failure) {
            for subject in Subject.allCases where subjects.contains(subject) {
                report.add(try measure(subject, on: stage), of: subject)
            }
        } catch {
            // What was measured before is still worth something.
            try publish(report, progress)
            throw error
        }
        try publish(report, progress)
    }

    private func publish(_ report: Report, _ progress: Progress) throws(Failure) {
        progress.clear()
        // Not by way of a buffer: stopping and removing what is left takes its time.
        FileHandle.standardOutput.write(Data((report.text + "\n").utf8))
        if let jsonPath { try report.write(to: jsonPath) }
        if let reportDirectory { try Page(report: report).write(to: reportDirectory) }
    }

    private func measure(_ subject: Subject, on stage: Stage) throws(Failure) -> any SubjectReport {
        switch subject {
        case .tenants:
            try Tenants(samples: samples, burst: burst, live: live, lookalikes: directories, stage: stage).run()
        case .routing:
            try Routing(
                rounds: rounds, seconds: seconds, scripts: scripts.elements, clients: clients.elements,
                modes: modes.elements, scale: scale, stage: stage
            ).run()
        case .latency:
            try Latency(rounds: rounds, seconds: seconds, scale: scale, stage: stage).run()
        case .reconnect:
            try Reconnect(rounds: rounds, seconds: seconds, stage: stage).run()
        case .bulk:
            try Bulk(rounds: rounds, stage: stage).run()
        case .idle:
            try Idle(sessions: sessions, tenants: tenants, silent: silent, stage: stage).run()
        case .scaling:
            try Scaling(rounds: rounds, seconds: seconds, stage: stage).run()
        case .scrape:
            try Scrape(rounds: rounds, seconds: seconds, sessions: sessions, tenants: tenants, stage: stage).run()
        }
    }

    /// An absolute path: programs are started in another directory.
    private func routerdExecutable(_ progress: Progress) throws(Failure) -> String {
        guard let routerdPath else { return try Checkout.buildRouterd(progress) }
        return URL(filePath: routerdPath).absoluteURL.path
    }
}

/// What can be measured.
enum Subject: String, CaseIterable, ExpressibleByArgument {
    case routing, latency, reconnect, bulk, tenants, idle, scaling, scrape

    /// What has to be up before it.
    enum Need {
        /// The peers with pgbench's tables in them.
        case tables
        /// The peers.
        case peers
        /// It starts what it measures.
        case router
    }

    var needs: Need {
        switch self {
        case .routing, .latency, .reconnect: .tables
        case .bulk, .tenants: .peers
        case .idle, .scaling, .scrape: .router
        }
    }

    static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
}

/// One or more values in one argument, separated by commas.
struct List<Element: ExpressibleByArgument>: ExpressibleByArgument {
    let elements: [Element]

    init(_ elements: [Element]) {
        self.elements = elements
    }

    init?(argument: String) {
        let words = argument.split(separator: ",", omittingEmptySubsequences: false)
        let elements = words.compactMap { Element(argument: String($0)) }
        guard elements.count == words.count, !elements.isEmpty else { return nil }
        self.elements = elements
    }

    var defaultValueDescription: String { elements.map(\.defaultValueDescription).joined(separator: ",") }
}
