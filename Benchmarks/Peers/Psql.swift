/// One statement, run by psql over TCP.
struct Psql {
    /// The role and the database of every benchmark, which are the tenant's name too.
    static let user = "bench"
    static let database = "bench"

    private let process: ChildProcess

    /// Runs `statement` to its end.
    init(
        tools: Tools, directory: WorkDirectory, port: Int, database: String = Psql.database, _ statement: String
    ) throws(Failure) {
        process = try ChildProcess(
            "psql", tools.postgres("psql"),
            ["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", statement], as: .own, in: directory,
            environment: Self.environment(port: port, database: database))
        try process.wait()
    }

    var hasSucceeded: Bool { process.hasSucceeded }
    var lastWords: String { process.lastWords }

    /// The columns of each row.
    var rows: [[Substring]] {
        process.output.split(separator: "\n").map { $0.split(separator: "\t", omittingEmptySubsequences: false) }
    }

    /// Where libpq connects to. Encryption is not asked for: only some of the peers have an answer other than "no".
    static func environment(port: Int, database: String = Psql.database) -> [String: String] {
        [
            "PGHOST": "127.0.0.1", "PGPORT": "\(port)", "PGUSER": user, "PGDATABASE": database,
            "PGSSLMODE": "disable", "PGGSSENCMODE": "disable", "PGCONNECT_TIMEOUT": "30",
        ]
    }
}
