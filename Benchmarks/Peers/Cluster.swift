import Foundation
import Glibc

/// The PostgreSQL behind every peer but routerd: made like the tenant's cluster, and started with its settings.
final class Cluster {
    let port: Int
    let process: ChildProcess
    let socketDirectory: String
    var socketPath: String { "\(socketDirectory)/.s.PGSQL.\(port)" }

    /// Creates the cluster and starts it, on TCP and on a Unix socket. It takes a moment until it serves.
    init(
        tools: Tools, directory: WorkDirectory, port: Int, settings: Settings?, maxConnections: Int
    ) throws(Failure) {
        self.port = port
        let data = try directory.subdirectory("cluster")
        socketDirectory = try directory.subdirectory("sockets")
        let initdb = try ChildProcess(
            "initdb", tools.postgres("initdb"),
            ["-D", data, "-U", Psql.user, "-A", "trust", "-N", "-E", "UTF8", "--locale", "C.UTF-8"]
                + (settings?.initdbArguments ?? []), as: tools.account, in: directory)
        try initdb.wait()
        guard initdb.hasSucceeded else { throw .program("initdb failed.", output: initdb.lastWords) }

        let shared = settings?.arguments ?? ["-c", "max_connections=\(maxConnections)"]
        process = try ChildProcess(
            "postgres", tools.postgres("postgres"),
            ["-D", data] + shared + [
                "-c", "port=\(port)", "-c", "listen_addresses=127.0.0.1",
                "-c", "unix_socket_directories=\(socketDirectory)", "-c", "cluster_name=benchmark",
            ], as: tools.account, in: directory)
    }

    func createDatabase(tools: Tools, directory: WorkDirectory) throws(Failure) {
        let psql = try Psql(
            tools: tools, directory: directory, port: port, database: "postgres", "CREATE DATABASE \(Psql.database)")
        guard psql.hasSucceeded else { throw .program("CREATE DATABASE failed.", output: psql.lastWords) }
    }
}
