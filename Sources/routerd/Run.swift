import ArgumentParser
import Glibc
import Logging
import TenantRouter

/// `routerd run`: a server for the life of one command.
struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a command with a server of its own, of which nothing stays.",
        discussion: """
            Starts a server on a free port, in memory where there is enough, runs the command, and ends as it ends:

              $ routerd run -- pytest
              $ routerd run --database app --set max_connections=50 -- sh -c 'psql "$DATABASE_URL" -f schema.sql'

            The command finds DATABASE_URL, PGHOST, PGPORT, PGUSER and PGDATABASE in its environment; any other database
            name works too. INT, TERM, HUP, QUIT, USR1 and USR2 are passed on to it. Takes what serve takes, but no --dir.

            Exit codes: the command's, 128 + n where signal n ended it, 127 where it was not found, 126 where it could
            not be run; 1 or 2 where the server did not start.
            """)

    @OptionGroup var options: ServeOptions

    @Option(help: ArgumentHelp("The database that the command is pointed to.", valueName: "name"))
    var database = "test"

    @Argument(parsing: .postTerminator, help: "What to run, behind two hyphens.")
    var command: [String] = []

    /// Exists in every tenant once it has connected, as any other.
    private static let user = "postgres"

    func run() throws {
        guard !command.isEmpty else {
            throw Failure.usage("run needs a command behind two hyphens: routerd run -- pytest")
        }
        let server = try EphemeralServer.start(try told())
        let address = try server.waitUntilReady()
        for (name, value) in address.variables(user: Self.user, database: database) { unsafe setenv(name, value, 1) }
        let status = try Errand(command).run()
        server.stop()
        Glibc.exit(status)
    }

    /// As told, but for what makes no sense here.
    private func told() throws(Failure) -> ToldOptions {
        var told = try options.told()
        guard !told.isFlag(.dir) else { throw .usage("run keeps nothing, and --dir names a directory: use serve") }
        told.router.storage = .temporary
        if !told.isFlag(.port) { told.router.port = 0 }
        // The first connection comes soon, and the second name seldom.
        if told.origin(of: .spares) == .fallback { told.router.spares = 1 }
        if told.origin(of: .logLevel) == .fallback { told.router.logger.logLevel = .warning }
        return told
    }
}

/// Where an ephemeral server is reached.
struct EphemeralAddress {
    private let host: String
    private let port: String

    /// As `MultiTenantRouter.address` writes it: `127.0.0.1:5432`, `[::1]:5432`.
    init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        port = String(text[text.index(after: colon)...])
        switch text[..<colon] {
        case "0.0.0.0": host = "127.0.0.1"
        case "[::]": host = "::1"
        case let other: host = String(other.filter { $0 != "[" && $0 != "]" })
        }
    }

    /// What PostgreSQL's clients and most frameworks look at. Source: PostgreSQL manual, section 34.15.
    func variables(user: String, database: String) -> [(String, String)] {
        let urlHost = host.contains(":") ? "[\(host)]" : host
        let url = "postgresql://\(user)@\(urlHost):\(port)/\(Self.escaped(database))"
        return [
            ("DATABASE_URL", url), ("PGHOST", host), ("PGPORT", port), ("PGUSER", user), ("PGDATABASE", database),
        ]
    }

    /// RFC 3986: what is not unreserved is percent-encoded.
    private static func escaped(_ name: String) -> String {
        name.utf8.map { byte in
            let isUnreserved =
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "-._~".utf8.contains(byte)
            guard !isUnreserved else { return String(UnicodeScalar(byte)) }
            let digits = String(byte, radix: 16, uppercase: true)
            return "%" + (digits.count == 1 ? "0" : "") + digits
        }.joined()
    }
}
