import Glibc
import Logging
import Testing

@testable import PostgresEmbed
@testable import TenantRouter

/// Real instances, in child processes: PostgreSQL refuses to run as root, and a process that has given root up cannot take
/// it back. Of an expectation that fails there only the comment is told.
@Suite("A pool of instances in a program")
struct InstancePoolTests {
    @Test("first asks of one name share one instance; rows are typed; errors are PostgreSQL's and typed")
    func queries() async {
        await #expect(processExitsWith: .success) {
            await telling {
                let home = try Home()
                let pool = try await home.open()
                try await withThrowingTaskGroup { group in
                    for _ in 0..<20 {
                        group.addTask { _ = try await pool.instance(named: "my db") }
                    }
                    try await group.waitForAll()
                }
                #expect(await pool.stats()?.totalInstances == 1, "one instance")
                #expect(await pool.databases()?.map(\.dbName) == ["my db"], "one database")

                let instance = try await pool.instance(named: "my db")
                let rows = try await instance.query(
                    """
                    CREATE TABLE t AS SELECT 7::bigint AS n;
                    SELECT n, 2.5::float8 AS d, true AS b, 'é' AS s, NULL AS nothing FROM t;
                    SELECT current_database()::text || ' ' || current_user AS who
                    """)
                #expect(rows.count == 2 && rows[0].columns == ["n", "d", "b", "s", "nothing"], "two rows")
                #expect(
                    try rows[0].decode("n") == 7 && rows[0].decode("d") == 2.5 && rows[0].decode("b") == true,
                    "typed values")
                #expect(rows[0]["s"] == "é" && rows[0]["nothing"] == nil, "text and null")
                #expect(rows[1]["who"] == "my db routerd", "the router's role")

                let refusals = [
                    ("SELECT 1/0", "22012"), ("SELEC", "42601"), ("COPY t FROM STDIN", "08P01"),
                    ("SELECT repeat('x', 1000) FROM generate_series(1, 3000)", "54000"),
                ]
                for (sql, state) in refusals {
                    await expectRefusal(state) { try await instance.query(sql) }
                }
                for (name, state) in [("", "22023"), ("routerd", "42939"), ("template0", "55000")] {
                    await expectRefusal(state) { try await pool.instance(named: name) }
                }
                #expect(try await instance.query("").isEmpty, "no statement, no rows")
                // More at once than there are connections, and than there are places.
                try await withThrowingTaskGroup { group in
                    for number in 0..<50 {
                        group.addTask { try await instance.query("SELECT \(number) AS n")[0].decode("n", as: Int.self) }
                    }
                    var numbers: Set<Int> = []
                    for try await number in group { numbers.insert(number) }
                    #expect(numbers.count == 50, "every answer came")
                }

                #expect(try await pool.drop("my db"), "it was there")
                #expect(try await !pool.drop("my db"), "it is not there any more")
                await expectRefusal("42P01") { try await instance.query("SELECT n FROM t") }
                await pool.close()
                await expectError(.closed) { try await instance.query("SELECT 1") }
                await expectError(.closed) { try await pool.acquire("my db") }
                #expect(await pool.stats() == nil, "no statistics of a closed pool")
                #expect(await pool.databases() == nil, "no databases of a closed pool")
                #expect(unsafe access(pool.socketPath, F_OK) != 0, "the socket is gone")
            }
        }
    }

    @Test("what takes too long or is cancelled ends at once, and its lease comes back when its backend has gone")
    func cancelling() async {
        await #expect(processExitsWith: .success) {
            await telling {
                let home = try Home()
                let pool = try await home.open()
                let instance = try await pool.instance(named: "slow")
                let began = ContinuousClock.now
                await expectRefusal("57014") {
                    try await instance.query("SELECT pg_sleep(60)", timeout: .milliseconds(500))
                }
                let asking = Task { await outcome { try await instance.query("SELECT pg_sleep(60)") } }
                try await eventually("the statement runs") {
                    try await instance.query("SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'").count
                        >= 1
                }
                asking.cancel()
                #expect(await asking.value == .cancelled, "a running statement is cancelled")
                #expect(ContinuousClock.now - began < .seconds(20), "at once")
                let cancelled = Task {
                    unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
                    return await outcome { try await instance.query("SELECT 1") }
                }
                #expect(await cancelled.value == .cancelled, "cancelled before it began")
                try await eventually("both backends have gone") { await sessions(of: "slow", in: pool) == 0 }

                // Two connections: a third waits for one to come free.
                let first = try await pool.acquire("slow")
                let second = try await pool.acquire("slow")
                await expectRefusal("53300") { try await pool.acquire("slow", timeout: .milliseconds(100)) }
                let waiting = Task { await outcome { try await pool.acquire("slow") } }
                try await eventually("one waits") { await queue(of: "slow", in: pool) == 1 }
                waiting.cancel()
                #expect(await waiting.value == .cancelled, "a waiting one is cancelled")
                #expect(await queue(of: "slow", in: pool) == 0, "it has left the queue")
                let next = Task { try await pool.acquire("slow") }
                try await eventually("one waits") { await queue(of: "slow", in: pool) == 1 }
                first.release()
                first.release()
                let third = try await next.value
                #expect(await sessions(of: "slow", in: pool) == 2, "the place was handed on")
                second.release()
                third.release()
                await pool.close()
            }
        }
    }

    @Test("a lease holds its instance awake; without one it hibernates, and a driver or a query wakes it")
    func leases() async {
        await #expect(processExitsWith: .success) {
            await telling {
                let home = try Home()
                let pool = try await home.open(idleTimeout: .milliseconds(100))
                var lease: InstanceLease? = try await pool.acquire("held")
                let processID = await pool.databases()?.first?.processID
                #expect(processID != nil, "it runs")
                try await Task.sleep(for: .milliseconds(700))
                #expect(await pool.databases()?.first?.processID == processID, "it still runs")
                let psql = Program(
                    path: try PostgresInstallation.find(binDirectory: nil).binDirectory + "/psql",
                    arguments: [try #require(lease).connectionString, "-XAtqc", "SELECT current_database()"])
                // The first session is told that its database is new.
                let output = try psql.run().output
                #expect(output.contains("created new database") && output.hasSuffix("held\n"), "\(output)")

                lease = nil
                try await eventually("it hibernates") { await pool.databases()?.first?.state == "cold" }
                let next = try psql.run().output
                #expect(next == "held\n", "\(next)")
                try await eventually("it hibernates") { await pool.databases()?.first?.state == "cold" }
                #expect(
                    await outcome { try await PooledInstance(name: "held", pool: pool).query("SELECT 1") } == nil,
                    "it serves")

                // A lease outlives the instance that it was of.
                lease = try await pool.acquire("held")
                let killed = try #require(await pool.databases()?.first?.processID)
                _ = kill(killed, SIGKILL)
                try await eventually("another one serves") {
                    try await pool.instance(named: "held").query("SELECT 1").count == 1
                }
                lease?.release()
                #expect(await outcome { try await pool.instance(named: "held").query("SELECT 1") } == nil, "it serves")

                // What runs and what waits hears of the end.
                let running = Task {
                    await outcome { try await pool.instance(named: "held").query("SELECT pg_sleep(60)") }
                }
                try await eventually("the statement runs") { await sessions(of: "held", in: pool) == 1 }
                await pool.close()
                let end = await running.value
                #expect(end == .closed || end?.state == "57P01" || end?.state == "57P03", "\(String(describing: end))")
            }
        }
    }

    @Test("two pools and a router live in one program; a directory has one of them; a pool that nobody holds stops")
    func several() async {
        await #expect(processExitsWith: .success) {
            await telling {
                let (one, two) = (try Home(), try Home())
                let first = try await one.open()
                let router = try await MultiTenantRouter.start(two.configuration(port: 0))
                try await first.instance(named: "same").query("CREATE TABLE t AS SELECT 0 AS n")
                let psql = Program(
                    path: try PostgresInstallation.find(binDirectory: nil).binDirectory + "/psql",
                    arguments: [
                        "postgresql://127.0.0.1:\(router.port)/same", "-XAtqc", "SELECT to_regclass('t') IS NULL",
                    ])
                let output = try psql.run().output
                #expect(output.hasSuffix("\nt\n"), "\(output)")
                #expect(await router.stats()?.port == router.port, "the router answers")
                let error = await #expect(throws: RouterError.self) { try await one.open() }
                #expect(error?.kind == .environment, "the directory is taken")
                await router.stop()

                let second = try await two.open(autoProvision: false)
                await expectRefusal("3D000") { try await second.instance(named: "unknown") }
                #expect(
                    try await second.instance(named: "same").query("SELECT 1").count == 1,
                    "the router's database is there")
                await second.close()

                weak let gone = first
                #expect(
                    try await first.instance(named: "same").query("SELECT n FROM t")[0]["n"] == "0",
                    "what was written is there")
                _ = consume first
                #expect(gone == nil, "nothing holds it")
                try await eventually("the directory is free") {
                    guard let again = try? await one.open() else { return false }
                    await again.close()
                    return true
                }
            }
        }
    }

    @Test("root is told at once") func root() async throws {
        guard geteuid() == 0 else { return }
        let error = await #expect(throws: RouterError.self) {
            try await InstancePool.open(baseDirectory: "/tmp/routerd-never-made-\(getpid())")
        }
        #expect(error?.description.contains("root") == true)
        #expect(unsafe access("/tmp/routerd-never-made-\(getpid())", F_OK) != 0)
    }
}

/// A place for a base directory, gone with the object.
private final class Home: Sendable {
    let path: String

    init() throws {
        try Self.becomeOrdinaryUser()
        let parent = unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        var template = Array("\(parent)/routerd-test-XXXXXX".utf8CString)
        try #require(unsafe mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { RuntimeDirectory.remove(path) }

    func open(
        idleTimeout: Duration = .seconds(300), autoProvision: Bool = true
    ) async throws(RouterError) -> InstancePool {
        var configuration = configuration()
        configuration.idleTimeout = idleTimeout
        configuration.autoProvision = autoProvision
        return try await InstancePool.open(configuration)
    }

    func configuration(port: UInt16 = 1) -> RouterConfiguration {
        RouterConfiguration(
            port: port, baseDirectory: path + "/data", maxInstances: 3, maxConnections: 2, spares: 0,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    private static func becomeOrdinaryUser() throws {
        guard geteuid() == 0 else { return }
        guard let user = unsafe getpwnam("postgres") ?? getpwnam("nobody") else { fatalError("no ordinary user") }
        let (userID, groupID) = unsafe (user.pointee.pw_uid, user.pointee.pw_gid)
        try #require(setgroups(0, nil) == 0 && setgid(groupID) == 0 && setuid(userID) == 0)
    }
}

private func sessions(of name: String, in pool: InstancePool) async -> Int? {
    await pool.databases()?.first { $0.dbName == name }?.sessions
}

private func queue(of name: String, in pool: InstancePool) async -> Int? {
    await pool.databases()?.first { $0.dbName == name }?.queueLength
}

/// Tells what `body` throws, which ends the process as a crash does, without a word.
private func telling(_ body: () async throws -> Void) async {
    do { try await body() } catch { Issue.record("\(error)") }
}

/// Looks again and again, for at most 20 s.
private func eventually(_ what: String, _ isTrue: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while (try? await isTrue()) != true {
        guard ContinuousClock.now < deadline else {
            Issue.record("waited in vain: \(what)")
            return
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// How it failed; nil where it did not.
private func outcome<Value>(_ body: () async throws -> Value) async -> InstanceError? {
    do {
        _ = try await body()
        return nil
    } catch {
        if !(error is InstanceError) { Issue.record("an error of another type: \(error)") }
        return error as? InstanceError
    }
}

private func expectError<Value>(
    _ error: InstanceError, _ location: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async {
    #expect(await outcome(body) == error, sourceLocation: location)
}

private func expectRefusal<Value>(
    _ state: String, _ location: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async {
    let error = await outcome(body)
    #expect(error?.state == state, "\(error.map { "\($0)" } ?? "it succeeded")", sourceLocation: location)
}

extension InstanceError {
    fileprivate var state: String? {
        guard case .refused(let error) = self else { return nil }
        return error.sqlState
    }
}
