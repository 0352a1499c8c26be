import ArgumentParser
import FoundationEssentials
import TenantRouter

/// How the verbs that steer a running router find it.
struct RunningRouter: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The directory that the routerd in question serves (ROUTERD_DIR, default: ./data).", valueName: "path"))
    var dir: String?

    @Option(help: ArgumentHelp("Its configuration file, which may name the directory.", valueName: "file"))
    var config: String?

    /// Asks the running router something.
    func ask<Answer>(_ question: (inout RouterControl) throws(ControlError) -> Answer) throws -> Answer {
        let directory = try directory
        do throws(ControlError) {
            var control = try RouterControl.connect(baseDirectory: directory)
            return try question(&control)
        } catch {
            throw Failure(error)
        }
    }

    /// The directory, once the flags are parsed and the environment has been looked at.
    var directory: String {
        get throws(Failure) {
            var sources = try OptionSources(config: config)
            return try sources.value(.dir, dir) ?? RouterOption.dir.fallback
        }
    }
}

extension Failure {
    /// No server runs for that directory.
    static let notRunningExitCode: Int32 = 3

    init(_ error: ControlError) {
        let code: Int32 =
            switch error {
            case .notRunning: Self.notRunningExitCode
            case .denied, .failed: 1
            }
        self.init(description: error.description, exitCode: code)
    }
}

/// How an answer is shown, and how often.
struct Presentation: ParsableArguments {
    @Flag(help: "Print JSON, for programs.")
    var json = false

    @Option(
        defaultAsFlag: Span.seconds(2),
        help: ArgumentHelp("Show it again every so often until interrupted (2s).", valueName: "time"))
    var watch: Span?

    /// Shows what `ask` answers, once or for as long as nobody interrupts.
    func show<Answer: Encodable>(_ ask: () throws -> Answer, _ text: (Answer) -> String) throws {
        guard let watch else { return Console.say(try render(try ask(), text)) }
        guard watch.duration > .zero else { throw Failure.usage("--watch takes a time above zero") }
        while true {
            let answer = try render(try ask(), text)
            if Console.isTerminal { Console.redraw(answer) } else { Console.say(answer) }
            Console.sleep(for: watch.duration)
        }
    }

    private func render<Answer: Encodable>(_ answer: Answer, _ text: (Answer) -> String) throws -> String {
        guard json else { return text(answer) }
        // One line an answer where there are many.
        return try JSONText(of: answer, watch == nil ? .indented : .oneLine).text
    }
}

/// An answer for programs.
struct JSONText {
    enum Layout { case indented, oneLine }

    let text: String

    init(of answer: some Encodable, _ layout: Layout = .indented) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        switch layout {
        case .indented: encoder.outputFormatting.insert(.prettyPrinted)
        case .oneLine: break
        }
        text = String(decoding: try encoder.encode(answer), as: UTF8.self)
    }
}

/// `routerd stats`
struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a running routerd is doing.",
        discussion: """
            Finds the server by its directory:

              $ routerd stats --dir ./data
              $ routerd stats --json | jq .pool.totalInstances
              $ routerd stats --watch 5s

            Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no server is running for that directory.
            """,
        aliases: ["router-stats"])

    @OptionGroup var router: RunningRouter
    @OptionGroup var presentation: Presentation

    func run() throws {
        try presentation.show({ try router.ask { control throws(ControlError) in try control.stats() } }) { stats in
            let instances = stats.pool.instances
            return instances.isEmpty
                ? Self.summary(stats) : Self.summary(stats) + "\n\n" + Table(databases: instances).text
        }
    }

    private static func summary(_ stats: RouterStatistics) -> String {
        let uptime = Table.span(since: stats.started)
        let pool = stats.pool
        let clients = "\(stats.activeConnections) of \(stats.maxClients), \(stats.waitingClients) waiting"
        let spares = pool.spares == 0 ? "" : ", \(pool.spares) spare"
        return """
            routerd \(stats.version) on \(stats.address), PostgreSQL \(stats.postgresVersion), process \(stats.processID)
            \(stats.state) \(stats.baseDirectory) for \(uptime)
            clients    \(clients)
            instances  \(pool.totalInstances) of \(pool.maxInstances)\(spares)
            so far     \(stats.sessionsTotal) clients, \(stats.instancesTotal) instances started
            """
    }
}

/// `routerd list`
struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List every tenant, running or not; wakes nobody.",
        discussion: """
              $ routerd list
              $ routerd list --json | jq -r '.[] | select(.state == "cold") | .dbName'

            For a cold tenant the last column tells how long ago it stopped, for others how long it has been in
            that state. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no server is running for that directory.
            """,
        aliases: ["list-databases"])

    @Flag(help: "Find out what each tenant takes of the disk too: a look at a thousand files each.")
    var sizes = false

    @OptionGroup var router: RunningRouter
    @OptionGroup var presentation: Presentation

    func run() throws {
        let answer = { try router.ask { control throws(ControlError) in try control.databases(sizes: sizes) } }
        try presentation.show(answer) {
            tenants in
            tenants.isEmpty ? "no tenants yet: one is made when somebody connects" : Table(databases: tenants).text
        }
    }
}

/// `routerd stop`
struct Stop: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop a running routerd and wait until it is gone.",
        discussion: """
              $ routerd stop --dir ./data

            Sessions are told 57P01 and every instance is shut down cleanly. A second call while the first one waits
            hurries, and so does --hurry from the start; no data is lost either way. Exit codes: 0 done, 1 failed,
            2 wrong usage, 3 no server is running for that directory.
            """,
        aliases: ["stop-router"])

    @OptionGroup var router: RunningRouter

    @Flag(help: "Do not wait for clean shutdowns: what they would have written is recovered at the next start.")
    var hurry = false

    func run() throws {
        try router.ask { control throws(ControlError) in
            try control.stop(inAHurry: hurry)
            try control.waitUntilStopped()
        }
    }
}
