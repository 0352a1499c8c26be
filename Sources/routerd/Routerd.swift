import ArgumentParser
import Glibc

/// The command line. `serve` is what happens without a verb.
@main
struct Routerd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "routerd",
        abstract: "PostgreSQL for every tenant, behind one port.",
        discussion: """
            The database name in the connection string picks the tenant; each tenant is a PostgreSQL cluster of its own,
            created on first connect:

              $ routerd &
              $ psql postgresql://localhost:5432/alice      # made now, in ./data/alice/
              $ psql postgresql://localhost:5432/bob        # another one, isolated from alice

            Every option can also be given as an environment variable: --max-instances as ROUTERD_MAX_INSTANCES, and in
            a file that --config names.
            """,
        version: Version.current,
        subcommands: [
            Serve.self, Run.self, Check.self, Config.self, Stats.self, List.self, Stop.self, Drop.self, Repair.self,
        ],
        defaultSubcommand: Serve.self)

    /// Exit codes: 0 done, 1 failed, 2 usage, 3 no server is running for that directory.
    static func main() {
        do {
            try FirstProcess.standAside()
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as Failure {
            Console.complain(failure.description)
            Glibc.exit(failure.exitCode)
        } catch {
            leave(after: error)
        }
    }

    /// The verb whose help to look at.
    private static var verb: String {
        guard let first = CommandLine.arguments.dropFirst().first, !first.hasPrefix("-") else { return "serve" }
        let names = configuration.subcommands.flatMap { [$0._commandName] + $0.configuration.aliases }
        return names.contains(first) ? first : "serve"
    }

    /// What the argument parser has to say: help and version are answers, everything else is wrong usage.
    private static func leave(after error: any Error) -> Never {
        guard exitCode(for: error).isSuccess else {
            Console.complain("\(message(for: error)) (routerd \(verb) --help lists what there is)")
            Glibc.exit(Failure.usageExitCode)
        }
        Console.say(fullMessage(for: error))
        Glibc.exit(0)
    }
}

/// Why the program ends without having done what it was asked for: one line, and the exit code that goes with it.
struct Failure: Error, CustomStringConvertible {
    static let usageExitCode: Int32 = 2

    let description: String
    let exitCode: Int32

    /// The flags or variables contradict each other or themselves.
    static func usage(_ description: String) -> Failure { Failure(description: description, exitCode: usageExitCode) }

    /// The world is in the way.
    static func failed(_ description: String) -> Failure { Failure(description: description, exitCode: 1) }
}

/// The two standard streams.
enum Console {
    /// Asks, and takes the rest of the line for the answer.
    static func ask(_ question: String) -> String? {
        write(question + " ", to: STDOUT_FILENO)
        return readLine()
    }

    static func say(_ line: String) { write(line + "\n", to: STDOUT_FILENO) }

    static func complain(_ text: String) { write("routerd: \(text)\n", to: STDERR_FILENO) }

    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Somebody is there to be asked.
    static var canAsk: Bool { isTerminal && isatty(STDIN_FILENO) == 1 }

    /// In place of what the terminal shows (ECMA-48: cursor home, then erase to the end of each line and of the screen,
    /// which does not flicker).
    static func redraw(_ text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\u{1B}[K\n")
        write("\u{1B}[H\(lines)\u{1B}[K\n\u{1B}[J", to: STDOUT_FILENO)
    }

    static func sleep(for duration: Duration) {
        let (seconds, attoseconds) = duration.components
        var time = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
        _ = unsafe nanosleep(&time, nil)
    }

    private static func write(_ text: String, to descriptor: CInt) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard written > 0 || errno == EINTR else { return }
            bytes = bytes.dropFirst(max(written, 0))
        }
    }
}
