import Foundation
import Glibc

/// The program this is all about, and what this build of it can do.
struct RouterProgram {
    let path: String
    /// Whether it keeps spares, and takes `--spares`.
    let hasSpares: Bool

    init(path: String, tools: Tools, directory: WorkDirectory) throws(Failure) {
        self.path = path
        let help = try ChildProcess("help", path, ["serve", "--help"], as: .own, in: directory)
        try help.wait()
        guard help.hasSucceeded else { throw .program("\(path) does not run.", output: help.lastWords) }
        hasSpares = help.output.contains("--spares ")
    }
}

/// A running routerd, with a base directory that may be another one's later. Whoever starts it stops it,
/// when it is done with it; at the latest that happens with the last reference.
final class RouterServer {
    let port: Int
    let process: ChildProcess
    /// From the program's start to its ready line.
    let startTime: Duration

    /// What differs from the defaults; nil leaves the default.
    struct Options {
        var maxConnections: Int?
        var maxInstances: Int?
        /// As on the command line. Nothing hibernates unless a benchmark wants it to.
        var idleTimeout = "0"
        /// Left out where the program keeps none.
        var spares: Int?
        /// Where it serves metrics; nil where it serves none.
        var httpPort: Int?
        var workers: Int?
        /// What moves the bytes, as on the command line.
        var engine: String?
        var isConfined = true
    }

    /// Starts it and waits for its ready line.
    init(
        _ program: RouterProgram, tools: Tools, directory: WorkDirectory, base: String, options: Options
    ) throws(Failure) {
        port = try Loopback.freePort()
        var arguments = [
            "serve", "--port", "\(port)", "--dir", base, "--idle-timeout", options.idleTimeout, "--log-level", "warn",
            "--postgres-bin", tools.postgresBinDirectory,
        ]
        if let limit = options.maxConnections { arguments += ["--max-connections", "\(limit)"] }
        if let limit = options.maxInstances { arguments += ["--max-instances", "\(limit)"] }
        if let workers = options.workers { arguments += ["--workers", "\(workers)"] }
        if let engine = options.engine { arguments += ["--io", engine] }
        if !options.isConfined { arguments += ["--confine", "off"] }
        if let spares = options.spares, program.hasSpares { arguments += ["--spares", "\(spares)"] }
        if let port = options.httpPort { arguments += ["--http", "127.0.0.1:\(port)"] }
        if case .named(let user) = tools.account { arguments += ["--run-as", user] }
        let start = ContinuousClock.now
        // Root's routerd changes its user itself, once its port is bound.
        process = try ChildProcess("routerd", program.path, arguments, as: .own, in: directory, deathSignal: "TERM")
        do throws(Failure) {
            while !process.output.contains("routerd is ready on ") {
                try Interruption.check()
                guard process.isRunning, ContinuousClock.now - start < .seconds(120) else {
                    throw .program("routerd is not ready.", output: process.lastWords)
                }
                usleep(1_000)
            }
        } catch {
            process.stop(by: Self.ladder)
            throw error
        }
        startTime = ContinuousClock.now - start
    }

    deinit { stop() }

    /// Ends it in order; it takes its instances with it.
    func stop() { process.stop(by: Self.ladder) }

    /// Ends it as a crash would.
    func kill() { process.stop(by: []) }

    static let ladder: [(signal: CInt, patience: Duration)] = [(SIGTERM, .seconds(60))]

    // MARK: Its instances

    var tree: ProcessTree { ProcessTree(of: process.pid) }

    /// Waits until all instances have ended.
    func waitUntilHibernated() throws(Failure) {
        let deadline = ContinuousClock.now + .seconds(60)
        while tree.children > 0 {
            guard ContinuousClock.now < deadline else { throw .program("An instance does not hibernate.", output: "") }
            usleep(50_000)
            try Interruption.check()
        }
    }

    /// Waits until `instances` are there at least, and all have come to rest: what refills spares or writes a first
    /// checkpoint has ended. Some work may go on for ever, so this gives up in the end.
    func settle(instances: Int = 0, patience: Duration = .seconds(10)) throws(Failure) {
        let deadline = ContinuousClock.now + patience
        var before = tree
        var quietFor = 0
        while quietFor < 2, ContinuousClock.now < deadline {
            usleep(100_000)
            try Interruption.check()
            let now = tree
            let isQuiet = now.cpu - before.cpu < .milliseconds(4) && now.children >= instances
            quietFor = isQuiet ? quietFor + 1 : 0
            before = now
        }
    }
}
