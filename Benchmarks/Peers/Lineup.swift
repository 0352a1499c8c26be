import Foundation
import Glibc

/// The peers of one run, all up at once so that they can take turns, each with its pgbench tables filled.
///
/// routerd comes first: its tenant's settings are what the cluster behind the other peers is started with.
final class Lineup {
    let tools: Tools
    let directory: WorkDirectory
    private(set) var peers: [Peer] = []
    /// Settings in which the tenant's PostgreSQL and the other peers' still differ.
    private(set) var settingDifferences: [SettingDifference] = []

    private let maxConnections: Int
    private var servers: [RouterServer] = []
    /// What runs, in the order it was started, with the way it is stopped.
    private var processes: [(process: ChildProcess, ladder: [(signal: CInt, patience: Duration)])] = []

    /// `clients`: the most that will connect at once.
    init(tools: Tools, directory: WorkDirectory, clients: Int) {
        self.tools = tools
        self.directory = directory
        // PgBouncer keeps the backends of its last clients, and a backend whose client left takes a moment to end.
        maxConnections = 2 * clients + 12
    }

    /// Starts the peers, and fills their tables where `scale` is given.
    func start(_ kinds: [Peer.Kind], program: RouterProgram?, scale: Int?, progress: Progress) throws(Failure) {
        var tenant: Settings?
        for kind in kinds {
            guard let program, let options = kind.routerOptions else { continue }
            progress.note("Starting \(kind.title) and creating its tenant")
            let peer = try startRouterd(program, kind, options)
            peers.append(peer)
            if kind == .routerd { tenant = try Settings(tools: tools, directory: directory, port: peer.port) }
        }
        if kinds.contains(where: { $0.routerOptions == nil }) {
            progress.note("Creating the cluster of the other peers")
            let cluster = try startCluster(settings: tenant)
            if let tenant {
                let settings = try Settings(tools: tools, directory: directory, port: cluster.port)
                settingDifferences = tenant.differences(from: settings)
            }
            if kinds.contains(.direct) { peers.append(Peer(kind: .direct, port: cluster.port, proxy: nil)) }
            if kinds.contains(.forwarder) { peers.append(try startForwarder(to: cluster)) }
            if kinds.contains(.pgbouncer) { peers.append(try startPgBouncer(to: cluster)) }
            if let scale { try fill("the other peers", port: cluster.port, scale: scale, progress: progress) }
        }
        if let scale {
            for server in servers { try fill("routerd", port: server.port, scale: scale, progress: progress) }
        }
        let order = Peer.Kind.allCases
        peers.sort { order.firstIndex(of: $0.kind)! < order.firstIndex(of: $1.kind)! }
    }

    /// The peers, each round beginning with another one, so that a machine that gets slower or faster during the run
    /// favours nobody.
    func turns(of round: Int) -> [Peer] {
        peers.indices.map { peers[($0 + round) % peers.count] }
    }

    /// Ends everything, last started first: a proxy before the PostgreSQL behind it.
    func stop(_ progress: Progress) {
        guard !processes.isEmpty else { return }
        progress.note("Stopping")
        for (process, ladder) in processes.reversed() { process.stop(by: ladder) }
        processes.removeAll()
        progress.clear()
    }

    private func fill(_ name: String, port: Int, scale: Int, progress: Progress) throws(Failure) {
        progress.note("Filling the tables of \(name), scale \(scale)")
        try Pgbench(tools: tools, directory: directory).fill(port: port, scale: scale)
    }

    // MARK: Starting one

    private func startRouterd(
        _ program: RouterProgram, _ kind: Peer.Kind, _ options: RouterServer.Options
    ) throws(Failure) -> Peer {
        var options = options
        options.maxConnections = maxConnections
        options.spares = 0
        let server = try RouterServer(
            program, tools: tools, directory: directory, base: "\(directory.path)/data-\(kind.rawValue)",
            options: options)
        processes.append((server.process, RouterServer.ladder))
        servers.append(server)
        try waitUntilServing(server.process, port: server.port)
        return Peer(kind: kind, port: server.port, proxy: server.process.pid)
    }

    private func startCluster(settings: Settings?) throws(Failure) -> Cluster {
        let port = try Loopback.freePort()
        let cluster = try Cluster(
            tools: tools, directory: directory, port: port, settings: settings, maxConnections: maxConnections)
        processes.append((cluster.process, [(SIGINT, .seconds(10)), (SIGQUIT, .seconds(6))]))
        try waitUntilServing(cluster.process, port: port, database: "postgres")
        try cluster.createDatabase(tools: tools, directory: directory)
        return cluster
    }

    private func startPgBouncer(to cluster: Cluster) throws(Failure) -> Peer {
        let port = try Loopback.freePort()
        let users = try directory.write("\"\(Psql.user)\" \"\"\n", to: "users.txt")
        let configuration = try directory.write(
            """
            [databases]
            * = host=\(cluster.socketDirectory) port=\(cluster.port)

            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = \(port)
            unix_socket_dir =
            auth_type = trust
            auth_file = \(users)
            pool_mode = session
            max_client_conn = \(maxConnections)
            default_pool_size = \(maxConnections)
            log_connections = 0
            log_disconnections = 0
            log_stats = 0

            """, to: "pgbouncer.ini")
        let process = try ChildProcess(
            "pgbouncer", tools.pgbouncer ?? "pgbouncer", [configuration], as: tools.account, in: directory)
        processes.append((process, [(SIGTERM, .seconds(5))]))
        try waitUntilServing(process, port: port)
        return Peer(kind: .pgbouncer, port: port, proxy: process.pid)
    }

    private func startForwarder(to cluster: Cluster) throws(Failure) -> Peer {
        let port = try Loopback.freePort()
        let executable = try directory.subdirectory("forwarder") + "/forwarder"
        let compiler = try ChildProcess(
            "cc", tools.compiler ?? "cc", ["-O2", "-o", executable, Checkout.forwarderSource], as: .own, in: directory)
        try compiler.wait()
        guard compiler.hasSucceeded else {
            throw .program("The forwarder does not compile.", output: compiler.lastWords)
        }
        let process = try ChildProcess(
            "forwarder", executable, ["\(port)", cluster.socketPath], as: .own, in: directory, deathSignal: "TERM")
        processes.append((process, [(SIGTERM, .seconds(5))]))
        try waitUntilServing(process, port: port)
        return Peer(kind: .forwarder, port: port, proxy: process.pid)
    }

    // MARK: Readiness

    /// Asks until a query is answered: the one sign of readiness that all peers share.
    private func waitUntilServing(
        _ process: ChildProcess, port: Int, database: String = Psql.database
    ) throws(Failure) {
        let deadline = ContinuousClock.now + .seconds(60)
        var answer = ""
        while process.isRunning, ContinuousClock.now < deadline {
            let psql = try Psql(tools: tools, directory: directory, port: port, database: database, "SELECT 1")
            if psql.hasSucceeded { return }
            answer = psql.lastWords
            usleep(50_000)
        }
        let fact = process.isRunning ? "is not ready after 60 s" : "ended"
        throw .program("\(process.name) \(fact).", output: process.lastWords + "\n" + answer)
    }
}
