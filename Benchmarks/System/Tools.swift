import Foundation
import Glibc

/// The programs a run needs, found before anything starts.
struct Tools {
    /// PostgreSQL's programs, one version for client and server.
    let postgresBinDirectory: String
    let pgbouncer: String?
    let compiler: String?
    /// Each counts system calls.
    let perf: String?
    let strace: String?
    /// Who may run PostgreSQL and PgBouncer here.
    let account: Account

    /// - Throws: `Failure.missing` with the command that installs what is missing.
    init(postgresBinDirectory: String?, for peers: [Peer.Kind]) throws(Failure) {
        guard let directory = postgresBinDirectory ?? Self.newestPostgres() else {
            throw .missing("PostgreSQL with pgbench", remedy: "make test, or: apt-get install postgresql-15")
        }
        for program in ["postgres", "initdb", "psql", "pgbench"] where !Self.isProgram("\(directory)/\(program)") {
            throw .missing("\(directory)/\(program)", remedy: "make test, or: apt-get install postgresql-15")
        }
        self.postgresBinDirectory = directory
        pgbouncer = Self.find("pgbouncer")
        if peers.contains(.pgbouncer), pgbouncer == nil {
            throw .missing("PgBouncer", remedy: "make test, or: apt-get install pgbouncer")
        }
        compiler = Self.find("cc") ?? Self.find("clang")
        if peers.contains(.forwarder), compiler == nil {
            throw .missing("A C compiler", remedy: "apt-get install gcc")
        }
        perf = Self.find("perf")
        strace = Self.find("strace")
        account = geteuid() == 0 ? .named("postgres") : .own
    }

    func postgres(_ program: String) -> String { "\(postgresBinDirectory)/\(program)" }

    private static func newestPostgres() -> String? {
        let root = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return versions.compactMap { Int($0) }.sorted(by: >).map { "\(root)/\($0)/bin" }
            .first { isProgram("\($0)/postgres") && isProgram("\($0)/pgbench") }
    }

    private static func find(_ program: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        // Debian keeps servers where an ordinary user's PATH does not look.
        let directories = path.split(separator: ":").map(String.init) + ["/usr/sbin", "/usr/local/sbin"]
        return directories.map { "\($0)/\(program)" }
            .first(where: isProgram)
    }

    private static func isProgram(_ path: String) -> Bool { FileManager.default.isExecutableFile(atPath: path) }
}
