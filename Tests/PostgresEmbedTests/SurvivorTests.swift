import CConfine
import Glibc
import Reactor
import Testing

@testable import PostgresEmbed

/// What a kill -9 leaves: PostgreSQL believes any living process whose number stands in a stale pid file, and refuses
/// to boot beside a backend that outlived its postmaster. Neither may need a human.
@Suite("Survivors of an earlier server", .serialized)
struct SurvivorTests {
    @Test("a stale pid file that names a living stranger does not stop a boot, and the stranger lives on")
    func misleadingPidFile() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            try workshop.boot("tenant").stop(SIGKILL)
            // The stranger is a postgres as well: only its working directory tells them apart.
            let neighbour = try workshop.boot("neighbour")
            for stranger in [getpid(), neighbour.processID] {
                let path = "\(workshop.store.baseDirectory)/tenant"
                let content = "\(stranger)\n\(path)\n1700000000\n5432\n/tmp\n\n  5432001    163840\nready   \n"
                try FileSystem.replace(
                    "postmaster.pid", in: try FileSystem.openDirectory(path), with: Array(content.utf8))
                try workshop.boot("tenant", mayCreate: false).stop()
            }
            try neighbour.expect("SELECT 1", gives: "1")
        }
    }

    @Test("a backend that survives its postmaster is ended before the next boot, whether or not a pid file tells of it")
    func survivingBackend() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            for (name, keepsPidFile) in [("tenant", true), ("hidden", false)] {
                let instance = try workshop.boot(name)
                try instance.expect("CREATE TABLE t AS SELECT 1 AS n", gives: "")
                // Busy without ever looking at its socket or its latch, so that it does not notice the postmaster's end.
                let psql = Program(
                    path: workshop.store.installation.binDirectory + "/psql",
                    arguments: [
                        "-h", instance.cluster.socketDirectory, "-U", "alice", "-d", name, "-Xqc",
                        "SELECT count(*) FROM generate_series(1, 1000000000000)",
                    ])
                let null = try FileSystem.open("/dev/null", O_RDWR)
                let client = try psql.spawn(input: null, output: null)
                var backend = ""
                try wait(for: "the busy backend") {
                    backend = try instance.query(
                        "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT count%' AND pid <> pg_backend_pid()")
                    return !backend.isEmpty
                }
                usleep(200_000)
                instance.killWithoutRetiring()
                usleep(100_000)
                let processID = try #require(Int32(backend), "\(backend)")
                if kill(processID, 0) != 0 { Issue.record("the backend noticed: this test shows nothing") }
                if !keepsPidFile {
                    // As a tenant can, by SQL.
                    let cluster = try FileSystem.openDirectory("\(workshop.store.baseDirectory)/\(name)")
                    try FileSystem.unlinkIfPresent(Survivors.pidFile, in: cluster)
                }

                let next = try workshop.boot(name, mayCreate: false)
                // A zombie that init has yet to reap has no executable any more.
                if FileSystem.target(ofLink: "/proc/\(processID)/exe") != nil { Issue.record("the backend lives on") }
                try next.expect("SELECT n FROM t", gives: "1")
                _ = client.wait()
            }
        }
    }

    @Test("a living postmaster of an earlier server is ended; one that no routerd started is left alone and named")
    func livingPostmaster() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let orphan = try workshop.boot("tenant")
            try orphan.expect("CREATE TABLE t AS SELECT 1 AS n", gives: "")
            let next = try workshop.boot("tenant", mayCreate: false)
            #expect(next.processID != orphan.processID)
            try next.expect("SELECT n FROM t", gives: "1")
            next.stop()

            let path = "\(workshop.store.baseDirectory)/tenant"
            try FileSystem.replace(
                "pg_hba.conf", in: try FileSystem.openDirectory(workshop.directory),
                with: Array("local all all trust\n".utf8))
            let null = try FileSystem.open("/dev/null", O_RDWR)
            let foreign = try Program(
                path: workshop.store.installation.postgres,
                arguments: [
                    "-D", path, "-c", "listen_addresses=", "-c", "unix_socket_directories=\(workshop.directory)",
                    "-c", "hba_file=\(workshop.directory)/pg_hba.conf", "-c", "ident_file=/dev/null",
                ], directory: path
            ).spawn(input: null, output: null)
            try wait(for: "the foreign postmaster") {
                FileSystem.status(ofPath: workshop.directory + "/.s.PGSQL.5432") != nil
            }
            #expect(throws: EmbedError.clusterInUse(path: path, processID: foreign.processID)) {
                try workshop.store.prepare(directoryName: "tenant", databaseName: "tenant", mayCreate: false)
            }
            #expect(throws: EmbedError.clusterInUse(path: path, processID: foreign.processID)) {
                try workshop.store.drop(directoryName: "tenant")
            }
            #expect(FileSystem.status(ofPath: path + "/PG_VERSION") != nil)
            _ = files_pidfd_send_signal(foreign.pidfd.number, SIGQUIT)
            _ = foreign.wait()
        }
    }

    @Test("an instance goes down with the thread that spawned it")
    func parentDeath() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let cluster = try workshop.store.prepare(directoryName: "t", databaseName: "t", mayCreate: true)
            var thread = pthread_t()
            let argument = unsafe Unmanaged.passRetained(Spawning(workshop.store, cluster)).toOpaque()
            let result = unsafe pthread_create(
                &thread, nil,
                { argument in
                    let spawning = unsafe Unmanaged<Spawning>.fromOpaque(argument!).takeRetainedValue()
                    do {
                        let postmaster = try spawning.store.spawn(spawning.cluster)
                        try wait(for: "READY") { spawning.cluster.readiness() == .ready }
                        // Ended by the kernel's signal to the postmaster, which this thread's end causes.
                        _ = postmaster.processID
                    } catch {
                        fatalError("\(error)")
                    }
                    return nil
                }, argument)
            #expect(result == 0)
            pthread_join(thread, nil)
            var status: CInt = 0
            let processID = unsafe waitpid(-1, &status, 0)
            #expect(processID > 0)
            #expect(status == 0, "asked to stop, not killed")
            #expect(FileSystem.status(ofPath: "\(workshop.store.baseDirectory)/t/postmaster.pid") == nil)
        }
    }
}

private final class Spawning {
    let store: ClusterStore
    let cluster: PreparedCluster
    init(_ store: ClusterStore, _ cluster: PreparedCluster) {
        self.store = store
        self.cluster = cluster
    }
}
