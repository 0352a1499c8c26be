import Glibc
import Reactor
import Testing

@testable import PostgresEmbed

@Suite("A tenant's instance", .serialized)
struct InstanceTests {
    @Test("a new tenant is cloned, booted, claimed, and keeps its rows over a restart and over kill -9")
    func firstBoot() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            do {
                let instance = try workshop.boot("user123")
                #expect(instance.cluster.created)
                try instance.expect("SELECT current_database(), current_user", gives: "user123|alice")
                try instance.expect(
                    "SELECT datname FROM pg_database ORDER BY 1", gives: "template0\ntemplate1\nuser123")
                try instance.expect(
                    "SELECT shobj_description(oid, 'pg_database') IS NULL FROM pg_database WHERE datname = 'user123'",
                    gives: "t")
                try instance.expect("CREATE TABLE t AS SELECT 42 AS n", gives: "")
                instance.stop()
            }
            do {
                let instance = try workshop.boot("user123", mayCreate: false)
                #expect(!instance.cluster.created)
                #expect(instance.cluster.claim == nil)
                try instance.expect("INSERT INTO t SELECT 43", gives: "")
                // Nothing is written at leisure: what was answered must come back from the write-ahead log, whose
                // segments bear the identity that the clone was given.
                instance.stop(SIGKILL)
            }
            let instance = try workshop.boot("user123", mayCreate: false)
            try instance.expect("SELECT sum(n) FROM t", gives: "85")
        }
    }

    @Test("two clones share neither system identifier nor nonce")
    func identity() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            var identifiers: Set<UInt64> = []
            for name in ["one", "two", "three"] {
                _ = try workshop.store.prepare(directoryName: name, databaseName: name, mayCreate: true)
                let directory = try FileSystem.openDirectory("\(workshop.store.baseDirectory)/\(name)/global")
                let content = try #require(try FileSystem.contents(of: "pg_control", in: directory, limit: 8192))
                identifiers.insert(try #require(ControlFile(content)).systemIdentifier)
            }
            #expect(identifiers.count == 3)
        }
    }

    @Test("a claim that was interrupted before its end is finished by the next boot, whatever was done of it")
    func interruptedClaim() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            for isRenamed in [false, true] {
                let name = "tenant_\(isRenamed)"
                let cluster = try store.prepare(directoryName: name, databaseName: name, mayCreate: true)
                let claim = try #require(cluster.claim)
                do {
                    let instance = try Instance(workshop: workshop, cluster: cluster)
                    if isRenamed {
                        let sql = RouterSQL.claim(claim, roles: ["alice"], privileges: store.privileges)
                        #expect(try instance.query(sql, user: RouterSQL.role, database: "template1") == "")
                    }
                    instance.stop(SIGKILL)
                }
                let instance = try workshop.boot(name, mayCreate: false)
                #expect(instance.cluster.claim == claim)
                try instance.expect("SELECT current_database()", gives: name)
                instance.stop()
                #expect(try store.prepare(directoryName: name, databaseName: name, mayCreate: false).claim == nil)
            }
        }
    }

    @Test("tenants with names that need quoting, and those named postgres and template1, are claimed")
    func names() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let names = ["postgres", "template1", #"it's "quoted" \ $1 $$"#, "ÄÖ\u{301}✓", "\"\u{301}; DROP"]
            for (index, name) in names.enumerated() {
                let cluster = try workshop.store.prepare(
                    directoryName: "n\(index)", databaseName: name, mayCreate: true)
                let instance = try Instance(workshop: workshop, cluster: cluster)
                let claim = try #require(cluster.claim)
                func ask(_ sql: String) throws -> String {
                    try instance.query(sql, user: RouterSQL.role, database: RouterSQL.adminDatabase)
                }
                for role in [name, "postgres", "routerd"] {
                    let sql = RouterSQL.claim(claim, roles: [role], privileges: workshop.store.privileges)
                    let answer = try ask(sql)
                    if !answer.isEmpty && answer != "1" { Issue.record("claim of \(name): \(answer)") }
                }
                try instance.expect("SELECT current_database()", user: name, gives: name)
            }
        }
    }

    @Test("after READY the socket has no name, and is reached by descriptor")
    func socketWithoutName() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let instance = try workshop.boot("hidden")
            let socket = try instance.cluster.takeSocket()
            let names = try FileSystem.entries(
                of: FileSystem.openDirectory(instance.cluster.socketDirectory), path: "socket directory")
            #expect(names == [".s.PGSQL.5432.lock"])
            #expect(throws: EmbedError.self) { try instance.cluster.takeSocket() }
            #expect(try connects(to: socket.path))
            // Stopping still works without the name, and leaves nothing.
            instance.stop()
            #expect(try !connects(to: socket.path))
            #expect(FileSystem.status(ofPath: instance.cluster.socketDirectory) == nil)
        }
    }

    @Test("readiness is also read from postmaster.pid, whose changes can be watched")
    func readinessWithoutNotification() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let cluster = try workshop.store.prepare(directoryName: "t", databaseName: "t", mayCreate: true)
            let watch = try cluster.pidFileWatch()
            #expect(cluster.readiness() == .ignored)
            let postmaster = try workshop.store.spawn(cluster)
            var wakes = 0
            while cluster.readiness() != .ready {
                var watched = pollfd(fd: watch.number, events: Int16(POLLIN), revents: 0)
                try #require(unsafe poll(&watched, 1, 10_000) == 1, "the watch never woke")
                var bytes = [UInt8](repeating: 0, count: 4096)
                _ = unsafe read(watch.number, &bytes, bytes.count)
                wakes += 1
            }
            #expect(wakes > 0)
            postmaster.signal(SIGQUIT)
            var ending = unsafe siginfo_t()
            _ = unsafe waitid(P_PIDFD, id_t(try postmaster.exitWatch().number), &ending, WEXITED)
            workshop.store.retire(cluster)
        }
    }

    @Test("a boot that fails leaves its reason in the log's last line")
    func failedBoot() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let cluster = try workshop.store.prepare(directoryName: "bad", databaseName: "bad", mayCreate: true)
            let directory = try FileSystem.openDirectory("\(workshop.store.baseDirectory)/bad")
            try FileSystem.replace("postgresql.auto.conf", in: directory, with: Array("wal_level = nonsense\n".utf8))
            #expect(throws: NotReady.self) { try Instance(workshop: workshop, cluster: cluster) }
            let line = cluster.log.lastLine() ?? ""
            #expect(line.hasPrefix("FATAL:") || line.contains("invalid value for parameter \"wal_level\""), "\(line)")
        }
    }
}

/// Whether anybody accepts a connection there.
private func connects(to path: String) throws -> Bool {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: Array(path.utf8)) }
    let socket = Descriptor(owning: socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0))
    let number = socket.number
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    return unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe connect(number, $0, size) == 0 }
    }
}
