import ArgumentParser
import TenantRouter

/// `routerd drop`
struct Drop: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop a tenant and delete its directory for good.",
        discussion: """
              $ routerd drop alice
              This deletes the database "alice" and all its data. Type its name to go on: alice
              $ routerd drop alice --yes --dir ./data

            Its sessions are told 57P01. It needs no running server. Exit codes: 0 done, 1 failed, 2 wrong usage.
            """)

    @Argument(help: "The database's name, as in connection strings.")
    var name: String

    @Flag(help: "Do not ask. Without a terminal this is needed.")
    var yes = false

    @OptionGroup var router: RunningRouter

    @Option(
        help: ArgumentHelp(
            "Directory with PostgreSQL's programs, if no server runs (default: the newest found).", valueName: "path"))
    var postgresBin: String?

    func run() throws {
        if !yes { try confirm() }
        guard try drop() else {
            throw Failure.failed(
                "there is no database \"\(Table.printable(name))\" (routerd list shows those that are)")
        }
        Console.say("dropped \(Table.printable(name))")
    }

    /// Through the running server, or without one.
    private func drop() throws -> Bool {
        let directory = try router.directory
        do throws(ControlError) {
            var control = try RouterControl.connect(baseDirectory: directory)
            return try control.drop(name)
        } catch {
            guard case .notRunning = error else { throw Failure(error) }
        }
        // The file may be root's alone.
        var sources = try OptionSources(config: router.config)
        let binDirectory = try sources.value(.postgresBin, postgresBin)
        if Privileges.isRoot { try Privileges.become(try Privileges.user(serving: directory)) }
        do throws(ControlError) {
            return try RouterControl.dropWithoutServer(
                name, baseDirectory: directory, postgresBinDirectory: binDirectory)
        } catch {
            throw Failure(error)
        }
    }

    private func confirm() throws(Failure) {
        guard Console.canAsk else {
            throw .usage("drop deletes data for good: say --yes where nobody can be asked")
        }
        let shown = Table.printable(name)
        let answer = Console.ask("This deletes the database \"\(shown)\" and all its data. Type its name to go on:")
        guard answer == name else { throw .failed("not dropped: that is not its name") }
    }
}
