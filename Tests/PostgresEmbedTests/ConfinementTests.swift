import Glibc
import Testing

@testable import PostgresEmbed

/// A tenant is superuser of its instance, so PostgreSQL refuses it nothing: what keeps it at home is the kernel. Each
/// refusal must be a permission, not an accident of a missing file or a wrong statement.
@Suite("Confinement", .serialized)
struct ConfinementTests {
    @Test("a tenant's superuser reaches neither programs nor a neighbour's files, and PostgreSQL works in full")
    func superuserStaysAtHome() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop { $0.confinement = .require }
            guard case .landlock = workshop.store.confinement else { return }
            let neighbour = try workshop.boot("neighbour")
            let instance = try workshop.boot("curious")
            let base = workshop.store.baseDirectory
            #expect(try instance.query("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "t")

            for refused in [
                "COPY (SELECT 1) TO '\(base)/neighbour/stolen'",
                "COPY (SELECT 1) TO '\(base)/.routerd/pg_hba.conf'",
                "COPY (SELECT 1) TO '/tmp/routerd-confinement-test'",
                "SELECT pg_read_file('\(base)/neighbour/PG_VERSION')",
                "SELECT pg_ls_dir('\(base)/neighbour')",
                "SELECT pg_ls_dir('\(base)')",
                "SELECT pg_read_file('\(base)/.routerd/lock')",
                "SELECT pg_read_file('/etc/hostname')",
                "SELECT pg_ls_dir('/tmp')",
            ] {
                try instance.expect(refused, contains: "ermission denied")
            }
            // No shell may be executed; the C library's popen calls every failure to start one this.
            try instance.expect("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'", contains: "could not execute command")

            // What a confined PostgreSQL must still be able to do.
            let version = workshop.store.installation.majorVersion
            try instance.expect("SELECT pg_read_file('PG_VERSION')", gives: "\(version)")
            let parallel = """
                SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
                CREATE TABLE big AS SELECT generate_series(1, 200000) AS n;
                SELECT count(*) FROM big;
                """
            try instance.expect(parallel, gives: "200000")
            try instance.expect(
                """
                SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
                EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT count(*) FROM big
                """, contains: "Workers Launched: 2")
            try instance.expect("CREATE EXTENSION pg_trgm; SELECT similarity('a', 'a')", gives: "1")
            try instance.expect("SELECT now() AT TIME ZONE 'Europe/Berlin' IS NOT NULL", gives: "t")
            try instance.expect(
                """
                CREATE TEXT SEARCH DICTIONARY d
                (TEMPLATE = ispell, DictFile = ispell_sample, AffFile = ispell_sample)
                """, gives: "")
            for statement in ["VACUUM FULL big", "CHECKPOINT", "CREATE DATABASE other", "DROP DATABASE other"] {
                try instance.expect(statement, gives: "")
            }
            #expect(try neighbour.query("SELECT 1") == "1")
        }
    }

    @Test("without confinement nobody but the router is superuser, and tenants own their databases")
    func unconfined() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop { $0.confinement = .off }
            let instance = try workshop.boot("plain")
            try instance.expect("SELECT rolsuper FROM pg_roles WHERE rolname = current_user", gives: "f")
            try instance.expect(
                "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'",
                contains: "must be superuser or have privileges")
            try instance.expect("CREATE SCHEMA s; CREATE TABLE s.t (); CREATE TABLE public.t ()", gives: "")
            try instance.expect("GRANT pg_execute_server_program TO alice", contains: "must")
            // The same statement, by the one superuser: what stops the others above is the kernel, not the statement.
            let command = "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'"
            try instance.expect(command, user: RouterSQL.role, gives: "")
        }
    }

    @Test("an instance inherits no descriptor, runs in its own session, under no_new_privs, and will go down with us")
    func processAttributes() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            // What a router has open when it spawns: none of it may be in the postmaster.
            var ends: [CInt] = [-1, -1]
            let result = unsafe socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends)
            #expect(result == 0)
            let instance = try workshop.boot("plain")
            let ours = try #require(FileSystem.target(ofLink: "/proc/self/fd/\(ends[0])"))
            let proc = "/proc/\(instance.processID)"
            let descriptors = try FileSystem.entries(of: FileSystem.openDirectory(proc + "/fd"), path: proc)
            let targets = descriptors.compactMap { FileSystem.target(ofLink: "\(proc)/fd/\($0)") }
            if targets.isEmpty || targets.contains(ours) { Issue.record("descriptors: \(targets)") }

            #expect(getsid(instance.processID) == instance.processID)
            func read(_ name: String) throws -> String {
                let file = try FileSystem.open("\(proc)/\(name)", O_RDONLY)
                return String(decoding: try FileSystem.read(file, path: name, limit: 8192), as: UTF8.self)
            }
            let status = try read("status")
            if !status.contains("NoNewPrivs:\t1") { Issue.record("no_new_privs is not set: \(status)") }
            let score = try read("oom_score_adj")
            if score != "200\n" { Issue.record("oom_score_adj \(score)") }
        }
    }
}
