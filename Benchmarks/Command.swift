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
            Everything is started here, on free ports of the loopback interface and in a directory under /tmp, and \
            ended and removed afterwards. Progress goes to standard error, the table to standard output.
            """)

    @Argument(help: "What to measure: \(Subject.names).")
    var subjects: [Subject] = [.routing]

    @Option(help: "Measurements of each kind; the peers take turns within each round.")
    var rounds = 5

    @Option(help: "Seconds per measurement.")
    var seconds = 5

    @Option(help: "Numbers of concurrent clients, separated by commas.")
    var clients = List<Int>([8, 32])

    @Option(name: .customLong("protocol"), help: "pgbench query modes, separated by commas: \(QueryMode.names).")
    var modes = List<QueryMode>([.prepared])

    @Option(help: "Peers, separated by commas: \(Peer.Kind.names).")
    var peers = List<Peer.Kind>(Peer.Kind.allCases)

    @Option(help: "pgbench's scale: 100,000 rows, 15 MB, each.")
    var scale = 10

    @Option(name: .customLong("routerd"), help: "The routerd to measure (default: built here, release).")
    var routerdPath: String?

    @Option(name: .customLong("postgres-bin"), help: "PostgreSQL's programs (default: the newest under /usr/lib).")
    var postgresBinDirectory: String?

    @Option(name: .customLong("json"), help: "Write every sample and the summary to this file.")
    var jsonPath: String?

    func validate() throws {
        guard rounds > 0, seconds > 0, scale > 0 else {
            throw ValidationError("--rounds, --seconds and --scale start at 1.")
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
        let progress = Progress()
        let tools = try Tools(postgresBinDirectory: postgresBinDirectory, for: peers.elements)
        let routerd = peers.elements.contains(.routerd) ? try routerdExecutable(progress) : nil
        let directory = try WorkDirectory(owner: tools.account)
        defer { directory.remove() }

        let lineup = Lineup(tools: tools, directory: directory, clients: clients.elements.max() ?? 1)
        defer { lineup.stop(progress) }
        try lineup.start(peers.elements, routerd: routerd, scale: scale, progress: progress)

        var report = Report(
            machine: try Machine(tools: tools, peers: peers.elements), settingDifferences: lineup.settingDifferences)
        for subject in Subject.allCases where subjects.contains(subject) {
            switch subject {
            case .routing:
                let routing = Routing(
                    rounds: rounds, seconds: seconds, clients: clients.elements, modes: modes.elements, scale: scale)
                report.routing = try routing.run(lineup, progress: progress)
            }
        }
        progress.clear()
        print(report.text)
        if let jsonPath { try report.write(to: jsonPath) }
    }

    /// An absolute path: programs are started in another directory.
    private func routerdExecutable(_ progress: Progress) throws(Failure) -> String {
        guard let routerdPath else { return try Checkout.buildRouterd(progress) }
        return URL(filePath: routerdPath).absoluteURL.path
    }
}

/// What can be measured.
enum Subject: String, CaseIterable, ExpressibleByArgument {
    case routing

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
