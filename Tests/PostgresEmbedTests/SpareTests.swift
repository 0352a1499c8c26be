import CConfine
import Glibc
import Reactor
import Testing

@testable import PostgresEmbed

/// A spare is booted under one name and lives on under another.
@Suite("Spares", .serialized)
struct SpareTests {
    /// A postmaster keeps the absolute path that it was started with; after a rename, a reload read nothing at all and
    /// said so only in the log.
    @Test("a claimed spare is a tenant like any other: reload, backup, crash, status, extensions, restart")
    func claimedSpare() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop { $0.confinement = .require }
            let store = workshop.store
            let bin = store.installation.binDirectory
            let path = store.baseDirectory + "/tenant"
            do {
                let instance = try workshop.bootSpare()
                #expect(throws: EmbedError.absent(databaseName: "tenant")) {
                    try store.prepare(directoryName: "tenant", databaseName: "tenant", mayCreate: false)
                }
                try instance.claim("tenant")
                #expect(instance.cluster.created)
                #expect(instance.cluster.directoryName == "tenant" && instance.cluster.databaseName == "tenant")
                #expect(try workshop.names(in: ".routerd/spares").isEmpty)
                #expect(try workshop.names(in: ".routerd/logs") == ["tenant.log"])
                try instance.expect("SELECT current_database(), current_user", gives: "tenant|alice")
                try instance.expect("SHOW cluster_name", gives: "spare")

                try instance.expect("ALTER SYSTEM SET work_mem = '7MB'", gives: "")
                try instance.expect("SELECT pg_reload_conf()", gives: "t")
                try wait(for: "ALTER SYSTEM") { try instance.query("SHOW work_mem") == "7MB" }
                let file = try FileSystem.open(path + "/postgresql.conf", O_WRONLY | O_APPEND)
                try FileSystem.write(Array("work_mem = '9MB'\n".utf8), to: file, path: path)
                try instance.expect("ALTER SYSTEM RESET work_mem", gives: "")
                _ = kill(instance.processID, SIGHUP)
                try wait(for: "the reload") { try instance.query("SHOW work_mem") == "9MB" }
                let log = String(
                    decoding: try FileSystem.read(
                        try FileSystem.open(store.baseDirectory + "/.routerd/logs/tenant.log", O_RDONLY), path: "log",
                        limit: 1 << 16), as: UTF8.self)
                if !log.contains("received SIGHUP") || log.contains("No such file") { Issue.record("log: \(log)") }

                try instance.expect("CREATE EXTENSION pg_trgm; SELECT similarity('a', 'a')", gives: "1")
                let parallel = """
                    SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
                    CREATE TABLE big AS SELECT generate_series(1, 200000) AS n;
                    EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT count(*) FROM big
                    """
                try instance.expect(parallel, contains: "Workers Launched: 2")
                for statement in ["CHECKPOINT", "CREATE DATABASE other", "DROP DATABASE other"] {
                    try instance.expect(statement, gives: "")
                }

                let backup = Program(
                    path: bin + "/pg_basebackup",
                    arguments: [
                        "-h", instance.cluster.socketDirectory, "-U", "alice", "-D", workshop.directory + "/backup",
                        "-c", "fast", "-X", "stream",
                    ])
                let (backupStatus, said) = try backup.run()
                if backupStatus != 0 { Issue.record("pg_basebackup: \(said)") }
                #expect(FileSystem.status(ofPath: workshop.directory + "/backup/backup_label") != nil)
                let status = try Program(path: bin + "/pg_ctl", arguments: ["status", "-D", path]).run()
                if status.status != 0 || !status.output.contains("PID: \(instance.processID)") {
                    Issue.record("pg_ctl status: \(status)")
                }

                // The postmaster begins anew, in the same process, with the paths that it has kept.
                let sleeper = Program(
                    path: bin + "/psql",
                    arguments: [
                        "-h", instance.cluster.socketDirectory, "-U", "alice", "-d", "tenant", "-Xqc",
                        "SELECT pg_sleep(60)",
                    ])
                let null = try FileSystem.open("/dev/null", O_RDWR)
                let client = try sleeper.spawn(input: null, output: null)
                var victim = ""
                try wait(for: "the sleeping backend") {
                    victim = try instance.query(
                        "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
                    return !victim.isEmpty
                }
                _ = kill(try #require(Int32(victim)), SIGKILL)
                #expect(client.wait() != 0)
                try wait(for: "the restart after a crash") {
                    try instance.query("SELECT count(*) FROM big") == "200000"
                }
                #expect(throws: EmbedError.self) {
                    try store.claim(instance.cluster, by: Claim(ofSpareFor: "tenant", directoryName: "tenant"))
                }
                instance.stop()
                #expect(FileSystem.status(ofPath: path + "/postmaster.pid") == nil)
            }
            let instance = try workshop.boot("tenant", mayCreate: false)
            #expect(instance.cluster.claim == nil)
            try instance.expect("SHOW data_directory", gives: path)
            try instance.expect("SHOW cluster_name", gives: "tenant")
            try instance.expect("SHOW work_mem", gives: "9MB")
            try instance.expect("SELECT count(*) FROM big", gives: "200000")
        }
    }

    @Test("a claimed spare is confined to its directory, whatever that is called now")
    func confinedSpare() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop { $0.confinement = .require }
            guard case .landlock = workshop.store.confinement else { return }
            _ = try workshop.store.prepare(directoryName: "neighbour", databaseName: "neighbour", mayCreate: true)
            let instance = try workshop.bootSpare()
            let other = try workshop.bootSpare()
            try instance.claim("curious")
            let base = workshop.store.baseDirectory
            for refused in [
                "SELECT pg_read_file('\(base)/neighbour/PG_VERSION')", "SELECT pg_ls_dir('\(base)')",
                "SELECT pg_ls_dir('\(other.cluster.dataDirectory)')", "SELECT pg_ls_dir('\(base)/.routerd/spares')",
                "SELECT pg_read_file('\(base)/.routerd/logs/curious.log')",
                "COPY (SELECT 1) TO '\(base)/.routerd/spares/mine'",
            ] {
                try instance.expect(refused, contains: "ermission denied")
            }
            try instance.expect("SELECT pg_read_file('\(base)/curious/PG_VERSION') IS NOT NULL", gives: "t")
        }
    }

    @Test("a claim that cannot be had leaves the spare as it was, good for the next")
    func failedClaim() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            let instance = try workshop.bootSpare()
            _ = try store.prepare(directoryName: "taken", databaseName: "taken", mayCreate: true)
            // A claim that was tried out first has left nothing.
            let rehearsal = RouterSQL.rehearsal(privileges: store.privileges)
            #expect(try instance.query(rehearsal, user: RouterSQL.role, database: RouterSQL.adminDatabase) == "")
            let spare = instance.cluster.dataDirectory
            let before = try FileSystem.entries(of: try FileSystem.openDirectory(spare), path: spare).sorted()
            #expect(throws: EmbedError.self) { try instance.claim("taken") }
            let after = try FileSystem.entries(of: try FileSystem.openDirectory(spare), path: spare).sorted()
            #expect(before == after)
            #expect(instance.cluster.claim == nil)
            try instance.claim("free")
            try instance.expect("SELECT current_database()", gives: "free")
            try instance.expect(
                """
                SELECT datname FROM pg_database UNION ALL
                SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_|^routerd_owner$' ORDER BY 1
                """, gives: "alice\nfree\nrouterd\ntemplate0\ntemplate1")
        }
    }

    @Test("a discarded spare leaves nothing behind, and no link is followed")
    func discarding() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            let canary = workshop.directory + "/canary"
            try FileSystem.makeDirectory(canary)
            try FileSystem.makeDirectory(canary + "/nest")

            // Never booted; booted and stopped; booted and killed, so that a backend may survive.
            store.discard(try store.prepareSpare())
            for signal in [SIGINT, SIGKILL] {
                let instance = try workshop.bootSpare()
                let made = unsafe symlink(canary, instance.cluster.dataDirectory + "/base/link")
                #expect(made == 0)
                instance.killWithoutRetiring(signal)
                store.discard(instance.cluster)
                #expect(FileSystem.status(ofPath: instance.cluster.socketDirectory) == nil)
            }
            #expect(try workshop.names(in: ".routerd/spares").isEmpty)
            #expect(FileSystem.status(ofPath: canary + "/nest") != nil)
        }
    }

    /// Its runtime subdirectory stayed until the end, and the next start gave the tenant the empty spare, though it had
    /// been dropped meanwhile.
    @Test("a discarded spare whose failed claim could not be withdrawn comes back to nobody")
    func discardingClaimed() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let claim = Claim(ofSpareFor: "dropped", directoryName: "dropped")
            let journaled = try workshop.store.prepareSpare()
            try claim.write(in: try FileSystem.openDirectory(journaled.dataDirectory), durability: .full)
            // What is no file cannot be unlinked.
            let stubborn = try workshop.store.prepareSpare()
            try FileSystem.makeDirectory(stubborn.dataDirectory + "/" + Claim.fileName)
            for spare in [journaled, stubborn] {
                workshop.store.discard(spare)
                #expect(FileSystem.status(ofPath: spare.socketDirectory) == nil)
            }
            #expect(try workshop.names(in: ".routerd/spares").isEmpty)
            #expect(try workshop.names(in: ".routerd/trash").count == 1)
            workshop.store.sweep { false }
            #expect(try workshop.names(in: ".routerd/trash").isEmpty)
            try workshop.reopen()
            #expect(try workshop.store.directoryNames().isEmpty)
            #expect(workshop.store.findings == [])
        }
    }

    @Test("a discarded spare whose rename could not be undone is the tenant's, and its next boot finishes the claim")
    func discardingMoved() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let spare = try workshop.store.prepareSpare()
            let claim = Claim(ofSpareFor: "tenant", directoryName: "tenant")
            try claim.write(in: try FileSystem.openDirectory(spare.dataDirectory), durability: .full)
            try Move(from: spare.dataDirectory, to: workshop.store.baseDirectory + "/tenant").rename()
            workshop.store.discard(spare)
            #expect(FileSystem.status(ofPath: spare.socketDirectory) == nil)
            #expect(try workshop.names(in: ".routerd/spares").isEmpty)
            try workshop.boot("tenant", mayCreate: false).expect("SELECT current_database()", gives: "tenant")
        }
    }

    @Test("no space while a spare is cloned leaves nothing behind, and the next one succeeds when there is some")
    func noSpace() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            // A write past the limit fails like one to a full disk, wherever in the tree the limit is met first.
            signal(SIGXFSZ, SIG_IGN)
            for bytes: rlim_t in [0, 8191, 100_000, 600_000, (1 << 20) - 1] {
                var limit = rlimit(rlim_cur: bytes, rlim_max: rlim_t.max)
                unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
                #expect(throws: EmbedError.self) { try store.prepareSpare() }
                limit.rlim_cur = rlim_t.max
                unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
                #expect(try workshop.names(in: ".routerd/spares").isEmpty)
            }
            let instance = try workshop.bootSpare()
            try instance.claim("tenant")
        }
    }
}

/// What the journal is for: wherever a claim is cut, the next server finishes it or has nothing of it.
@Suite("Interrupted claims of spares", .serialized)
struct InterruptedClaimTests {
    /// How far the claim came before everything was killed.
    enum Cut: CaseIterable {
        case booted, fileBegun, fileWritten, renamed, logRenamed, databaseRenamed, fileRemoved
        // The database's name was quicker than the journal.
        case databaseBeforeFile, databaseBeforeRename

        var isClaimed: Bool {
            switch self {
            case .booted, .fileBegun, .databaseBeforeFile: false
            case .fileWritten, .renamed, .logRenamed, .databaseRenamed, .fileRemoved, .databaseBeforeRename: true
            }
        }
    }

    /// The cuts below are made between these.
    @Test("a claim writes its file, whole, then renames the directory, then the log")
    func steps() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let base = workshop.store.baseDirectory
            let spare = try workshop.store.prepareSpare()
            let watch = Descriptor(owning: inotify_init1(CInt(IN_CLOEXEC) | CInt(IN_NONBLOCK)))
            let events = UInt32(IN_CREATE) | UInt32(IN_MOVED_FROM) | UInt32(IN_MOVED_TO) | UInt32(IN_DELETE)
            for path in [base, base + "/.routerd/spares", base + "/.routerd/logs", spare.dataDirectory] {
                let added = unsafe inotify_add_watch(watch.number, path, events)
                try #require(added >= 0)
            }
            _ = try workshop.store.claim(spare, by: Claim(ofSpareFor: "tenant", directoryName: "tenant"))
            let name = spare.directoryName
            let steps = [
                "+ routerd.claim.new", "- routerd.claim.new", "+ routerd.claim", "- \(name)", "+ tenant",
                "- \(name).log", "+ tenant.log",
            ]
            let taken = try changes(read: watch)
            if taken != steps { Issue.record("\(taken)") }
        }
    }

    @Test("cut between any two steps, the claim is finished with nothing lost, or the spare is nobody's")
    func cuts() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            for (index, cut) in Cut.allCases.enumerated() {
                let name = "tenant\(index)"
                let instance = try workshop.bootSpare()
                let row = "CREATE TABLE kept AS SELECT 42 AS n"
                #expect(try instance.query(row, user: RouterSQL.role, database: "postgres") == "")
                try claim(instance, name: name, until: cut, in: workshop)
                // Killed before the next server opens the directory; once, still about to end.
                if cut != .renamed { instance.killWithoutRetiring() }
                try workshop.reopen()
                #expect(workshop.store.findings == [])

                if cut.isClaimed {
                    workshop.store.sweep { false }
                    let next = try workshop.boot(name, mayCreate: false)
                    try next.expect("SELECT current_database(), n FROM kept", gives: "\(name)|42")
                    next.stop()
                } else {
                    #expect(try workshop.names(in: ".routerd/trash").count == 2, "the cluster and its log")
                    #expect(throws: EmbedError.absent(databaseName: name)) {
                        try workshop.store.prepare(directoryName: name, databaseName: name, mayCreate: false)
                    }
                    workshop.store.sweep { false }
                    #expect(try workshop.names(in: ".routerd/trash").isEmpty)
                }
                if cut == .renamed { instance.awaitEnd() }
                #expect(try workshop.names(in: ".routerd/spares").isEmpty)
            }
        }
    }

    @Test("a claimed spare whose tenant has a directory, or whose claim cannot be read, is kept and reported")
    func findings() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            try workshop.boot("taken").stop()
            let taken = try workshop.store.prepareSpare()
            let claim = Claim(databaseName: "taken", oldName: "postgres", directoryName: "taken")
            try claim.write(in: try FileSystem.openDirectory(taken.dataDirectory), durability: .full)
            let torn = try workshop.store.prepareSpare()
            try FileSystem.replace(
                Claim.fileName, in: try FileSystem.openDirectory(torn.dataDirectory), with: [1, 2, 3])
            // A name that would lead out of the base directory is nobody's.
            let outside = try workshop.store.prepareSpare()
            try FileSystem.replace(
                Claim.fileName, in: try FileSystem.openDirectory(outside.dataDirectory),
                with: Claim(databaseName: "x", oldName: "postgres", directoryName: "../x").content)
            for _ in 0..<2 {
                try workshop.reopen()
                workshop.store.sweep { false }
                #expect(workshop.store.findings.count == 3)
                for spare in [taken, torn, outside] {
                    #expect(workshop.store.findings.contains { $0.contains(spare.dataDirectory) })
                    #expect(FileSystem.status(ofPath: spare.dataDirectory + "/PG_VERSION") != nil)
                }
            }
            try workshop.boot("taken", mayCreate: false).expect("SELECT 1", gives: "1")
        }
    }
}

/// What an inotify(7) descriptor has seen come and go, in order.
private func changes(read watch: borrowing Descriptor) throws -> [String] {
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = unsafe read(watch.number, &bytes, bytes.count)
    try #require(count > 0)
    var changes: [String] = []
    var place = 0
    while place < count {
        let (mask, length) = unsafe bytes.withUnsafeBytes { event in
            unsafe (
                event.loadUnaligned(fromByteOffset: place + 4, as: UInt32.self),
                Int(event.loadUnaligned(fromByteOffset: place + 12, as: UInt32.self))
            )
        }
        let name = bytes[(place + 16)..<(place + 16 + length)].prefix { $0 != 0 }
        let hasCome = mask & (UInt32(IN_CREATE) | UInt32(IN_MOVED_TO)) != 0
        changes.append("\(hasCome ? "+" : "-") \(String(decoding: name, as: UTF8.self))")
        place += 16 + length
    }
    return changes
}

/// The steps of ``ClusterStore/claim(_:by:)``, in the order that they are known to have, and of what follows it, one by
/// one.
private func claim(
    _ instance: Instance, name: String, until cut: InterruptedClaimTests.Cut, in workshop: Workshop
) throws {
    let spare = instance.cluster
    let tenant = workshop.store.residence(directoryName: name, databaseName: name)
    let cluster = try FileSystem.openDirectory(spare.dataDirectory)
    let claim = Claim(databaseName: name, oldName: RouterSQL.claimableDatabase, directoryName: name)
    if cut == .booted { return }
    let rename = {
        let sql = RouterSQL.firstClaim(claim, roles: ["alice"], privileges: workshop.store.privileges)
        let answer = try instance.query(sql, user: RouterSQL.role, database: RouterSQL.adminDatabase)
        if !answer.isEmpty { Issue.record("claim: \(answer)") }
    }
    if cut == .databaseBeforeFile { return try rename() }
    if cut == .fileBegun {
        return try FileSystem.replace(Claim.fileName + ".new", in: cluster, with: claim.content)
    }
    try claim.write(in: cluster, durability: .full)
    if cut == .fileWritten { return }
    if cut == .databaseBeforeRename { return try rename() }
    try Move(from: spare.dataDirectory, to: tenant.path).rename()
    if cut == .renamed { return }
    _ = spare.log.rename(to: tenant.log)
    if cut == .logRenamed { return }
    try rename()
    if cut == .databaseRenamed { return }
    try FileSystem.unlinkIfPresent(Claim.fileName, in: cluster)
}
