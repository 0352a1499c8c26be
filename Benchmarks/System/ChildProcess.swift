import Foundation
import Glibc

/// Whose rights a program runs with.
enum Account: Equatable {
    /// Those of whoever started the benchmark.
    case own
    /// Another user's, which only root can give. PostgreSQL and PgBouncer refuse to run as root.
    case named(String)
}

/// A program started here, in a process group of its own (a terminal's Ctrl-C reaches only the benchmark, which stops
/// it in order), with its output in a file. It also gets `deathSignal` when the benchmark is killed, unless it changes
/// its user itself.
final class ChildProcess {
    let name: String
    private let process = Process()
    private let outputPath: String

    /// Starts `executable`. `outputPath` takes standard output and standard error, and must not be in use.
    ///
    /// - Throws: `Failure.system` when the program or the file cannot be opened.
    init(
        _ name: String, _ executable: String, _ arguments: [String], as account: Account, in directory: WorkDirectory,
        environment: [String: String] = [:], deathSignal: String = "INT"
    ) throws(Failure) {
        self.name = name
        outputPath = directory.newOutputPath(name)
        process.executableURL = URL(filePath: "/usr/bin/setpriv")
        process.arguments = Self.privileges(account) + ["--pdeathsig", deathSignal, "--", executable] + arguments
        process.currentDirectoryURL = URL(filePath: directory.path)
        process.environment = Self.cleanEnvironment.merging(environment) { _, new in new }
        process.standardInput = FileHandle.nullDevice
        do {
            guard FileManager.default.createFile(atPath: outputPath, contents: nil) else {
                throw Failure.system("Cannot create \(outputPath).")
            }
            let output = try FileHandle(forWritingTo: URL(filePath: outputPath))
            process.standardOutput = output
            process.standardError = output
            try process.run()
            try output.close()
        } catch {
            throw .system("Cannot start \(name): \(error)")
        }
    }

    private static func privileges(_ account: Account) -> [String] {
        switch account {
        case .own: []
        case .named(let user): ["--reuid=\(user)", "--regid=\(user)", "--init-groups"]
        }
    }

    /// The environment without what would steer PostgreSQL's programs elsewhere.
    private static var cleanEnvironment: [String: String] {
        ProcessInfo.processInfo.environment.filter { name, _ in !name.hasPrefix("PG") && !name.hasPrefix("ROUTERD_") }
    }

    // MARK: Life

    var pid: pid_t { process.processIdentifier }
    var isRunning: Bool { process.isRunning }
    var hasSucceeded: Bool {
        !isRunning && process.terminationReason == .exit && process.terminationStatus == 0
    }

    /// Waits for the end.
    ///
    /// - Throws: `Failure.interrupted`, with the program stopped.
    func wait() throws(Failure) {
        while isRunning {
            usleep(2_000)
            do {
                try Interruption.check()
            } catch {
                stop(by: [(SIGTERM, .seconds(2))])
                throw error
            }
        }
    }

    /// Sends each signal in turn, waiting for the end after each, and SIGKILL at last.
    func stop(by ladder: [(signal: CInt, patience: Duration)]) {
        for (signal, patience) in ladder + [(SIGKILL, .seconds(5))] where isRunning {
            kill(pid, signal)
            let deadline = ContinuousClock.now + patience
            while isRunning, ContinuousClock.now < deadline { usleep(2_000) }
        }
    }

    // MARK: Output

    var output: String {
        (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? ""
    }

    /// The last lines of the output, indented, for a failure's text.
    var lastWords: String {
        output.split(separator: "\n").suffix(15).map { "  \($0)" }.joined(separator: "\n")
    }
}
