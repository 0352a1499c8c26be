import ArgumentParser
import Glibc
import TenantRouter

/// `routerd repair NAME`: why does a tenant not start, and if a setting is to blame, away with it.
struct Repair: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find the setting that stops a tenant from starting, and remove it.",
        discussion: """
            A value set with ALTER SYSTEM, or a line of the tenant's own postgresql.conf, can keep PostgreSQL from
            starting, and then no SQL undoes it. This boots the tenant with and without its lines, for a moment and for
            nobody, shows the ones to blame, and makes comments of them when told to. A running server may stay up.

              $ routerd repair alice            # shows what is wrong, asks, repairs
              $ routerd repair alice --yes      # does not ask

            Exit codes: 0 the tenant starts (now), 1 it does not, 2 usage.
            """)

    @Argument(help: ArgumentHelp("The database's name.", valueName: "name"))
    var name: String

    @Option(help: ArgumentHelp("Where the tenants' data directories stand (default: ./data).", valueName: "path"))
    var dir: String?

    @Option(help: ArgumentHelp("Its server's configuration file, for what no flag says.", valueName: "file"))
    var config: String?

    @Flag(help: "Remove the lines without asking.")
    var yes = false

    @Option(help: ArgumentHelp("Directory with PostgreSQL's programs (default: the newest found).", valueName: "path"))
    var postgresBin: String?

    @Option(help: "Confine the trial boots as the server does: auto, require or off (default: auto).")
    var confine: Confinement?

    func run() throws {
        // The file may be root's alone.
        var sources = try OptionSources(config: config)
        let directory = try sources.value(.dir, dir) ?? RouterOption.dir.fallback
        let binDirectory = try sources.value(.postgresBin, postgresBin)
        let confinement = try sources.value(.confine, confine) ?? .auto
        try becomeUser(of: directory)
        do {
            let repair = try TenantRepair(
                tenant: name, baseDirectory: directory, postgresBinDirectory: binDirectory, confinement: confinement)
            let diagnosis = try Interruptions.held { try repair.examine(isCancelled: Interruptions.isPending) }
            try act(on: diagnosis, repair)
        } catch let error as RouterError {
            throw error.isUsage ? Failure.usage(error.description) : Failure.failed(error.description)
        }
    }

    private func act(on diagnosis: TenantRepair.Diagnosis, _ repair: TenantRepair) throws {
        switch diagnosis {
        case .healthy:
            Console.say("database \"\(name)\" starts: there is nothing to repair")
        case .otherCause(let said):
            Console.say("PostgreSQL's last words:\n" + said.map { "  \($0)" }.joined(separator: "\n"))
            throw Failure.failed("database \"\(name)\" does not start, and no line of its configuration is to blame")
        case .lines(let lines, let remedy):
            show(lines)
            guard try isAgreed(lines) else {
                throw Failure.failed("nothing was changed")
            }
            try repair.apply(remedy)
            Console.say(
                "made \(lines.count == 1 ? "a comment of this line" : "comments of these lines"): "
                    + "database \"\(name)\" starts when somebody connects")
        }
    }

    private func show(_ lines: [TenantRepair.Line]) {
        Console.say(
            "database \"\(name)\" does not start because of \(lines.count == 1 ? "this line" : "these lines"):")
        for line in lines {
            Console.say("\n\(line.file), line \(line.number)\n  \(line.text)\n  \(line.setting): \(line.message)")
        }
        Console.say("")
    }

    private func isAgreed(_ lines: [TenantRepair.Line]) throws -> Bool {
        if yes { return true }
        guard Console.canAsk else {
            throw Failure.failed("nothing was changed: say --yes to have \(lines.count == 1 ? "it" : "them") removed")
        }
        return Console.ask("Type the database's name to remove \(lines.count == 1 ? "it" : "them"):") == name
    }

    /// PostgreSQL refuses to run as root, and what is changed must stay the server's.
    private func becomeUser(of directory: String) throws {
        guard Privileges.isRoot else { return }
        let user = try Privileges.user(serving: directory)
        try Privileges.become(user)
        try Privileges.checkAccess(to: directory, as: user.name)
    }
}

/// Signals that end a program wait until what was begun has been put back.
private enum Interruptions {
    private static let signals = [SIGINT, SIGTERM, SIGHUP]

    private static var set: sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in signals { unsafe sigaddset(&set, signal) }
        return set
    }

    static func held<Value>(_ body: () throws -> Value) rethrows -> Value {
        var set = set
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        defer { unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil) }
        return try body()
    }

    static func isPending() -> Bool {
        var pending = sigset_t()
        unsafe sigpending(&pending)
        return signals.contains { unsafe sigismember(&pending, $0) == 1 }
    }
}
