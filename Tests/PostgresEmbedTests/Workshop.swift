import Glibc
import Reactor
import Testing

@testable import PostgresEmbed

/// A base directory of a test's own, and a store in it. PostgreSQL refuses to run as root, so tests that boot do so in
/// a child process (an exit test) that has become an ordinary user first; a child's failed expectations are the test's.
final class Workshop {
    let directory: String
    private(set) var store: ClusterStore
    private let options: ClusterStoreOptions

    init(_ options: (inout ClusterStoreOptions) -> Void = { _ in }) throws {
        Workshop.becomeOrdinaryUser()
        // In memory where possible: ext4 without a journal looks at every inode that was deleted within minutes before
        // it makes a file, and tests delete many.
        let parent = unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        var template = Array("\(parent)/routerd-test-XXXXXX".utf8CString)
        try #require(unsafe mkdtemp(&template) != nil)
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var settings = ClusterStoreOptions(baseDirectory: directory + "/data", maxConnections: 20)
        options(&settings)
        self.options = settings
        store = try ClusterStore(installation: try .find(binDirectory: nil), options: settings)
        try store.ensureTemplate { _ in }
    }

    /// As after a kill -9: the next server opens the same directory.
    func reopen() throws {
        store.close()
        store = try ClusterStore(installation: store.installation, options: options)
        try store.ensureTemplate { _ in }
    }

    deinit {
        store.close()
        RuntimeDirectory.remove(directory)
    }

    /// Root becomes the user `postgres`, or `nobody`; anybody else stays.
    static func becomeOrdinaryUser() {
        guard geteuid() == 0 else { return }
        guard let user = unsafe getpwnam("postgres") ?? getpwnam("nobody") else { fatalError("no ordinary user") }
        let (userID, groupID) = unsafe (user.pointee.pw_uid, user.pointee.pw_gid)
        guard setgroups(0, nil) == 0, setgid(groupID) == 0, setuid(userID) == 0 else {
            fatalError("cannot become an ordinary user")
        }
    }

    /// Prepares, spawns and waits for READY.
    func boot(_ name: String, mayCreate: Bool = true) throws -> Instance {
        let cluster = try store.prepare(directoryName: name, databaseName: name, mayCreate: mayCreate)
        let instance = try Instance(workshop: self, cluster: cluster)
        try finishClaim(of: instance)
        return instance
    }

    /// The claim's end, as the router does it.
    func finishClaim(of instance: Instance) throws {
        let cluster = instance.cluster
        if let claim = cluster.claim {
            let result = try instance.query(
                RouterSQL.claim(claim, roles: ["alice"], privileges: store.privileges), user: RouterSQL.role,
                database: RouterSQL.adminDatabase)
            try #require(result.isEmpty, "claim: \(result)")
            try store.finishClaim(cluster)
        }
    }

    /// A spare that is up and has had its first connection.
    func bootSpare() throws -> Instance {
        let instance = try Instance(workshop: self, cluster: try store.prepareSpare())
        _ = try instance.query("SELECT 1", user: RouterSQL.role, database: RouterSQL.adminDatabase)
        return instance
    }

    /// Names in a directory below the base directory.
    func names(in path: String) throws -> [String] {
        let path = "\(store.baseDirectory)/\(path)"
        return try FileSystem.entries(of: try FileSystem.openDirectory(path), path: path).sorted()
    }
}

/// Looks again and again, for at most 20 s.
func wait(for what: String, _ isTrue: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while try !isTrue() {
        if ContinuousClock.now > deadline {
            Issue.record("waited in vain for \(what)")
            throw NotReady(reason: what)
        }
        usleep(5_000)
    }
}

struct NotReady: Error {
    let reason: String
}

/// A booted postmaster; the end of its life stops it.
final class Instance {
    private(set) var cluster: PreparedCluster
    let processID: Int32
    /// Kept: the base directory must outlive the instance.
    private let workshop: Workshop
    private var store: ClusterStore { workshop.store }
    private let exit: Descriptor

    init(workshop: Workshop, cluster: PreparedCluster) throws {
        self.workshop = workshop
        self.cluster = cluster
        let notify = cluster.takeNotifySocket()
        let postmaster = try workshop.store.spawn(cluster)
        self.processID = postmaster.processID
        self.exit = try postmaster.exitWatch()
        if let notify {
            try Self.waitForReady(notify, exit: exit, log: cluster.log)
        } else {
            try wait(for: "READY") { cluster.readiness() == .ready }
        }
        // The tests come by the socket's name, which lets nobody in by itself.
        let admitted = unsafe chmod(PreparedCluster.socketPath(in: cluster.socketDirectory), 0o600)
        try #require(admitted == 0)
    }

    private static func waitForReady(
        _ notify: borrowing Descriptor, exit: borrowing Descriptor, log: InstanceLog
    ) throws {
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            var watched = [
                pollfd(fd: notify.number, events: Int16(POLLIN), revents: 0),
                pollfd(fd: exit.number, events: Int16(POLLIN), revents: 0),
            ]
            let count = unsafe poll(&watched, 2, 20_000)
            guard count > 0 && watched[1].revents == 0 else { throw NotReady(reason: log.lastLine() ?? "no log") }
            let received = unsafe recv(notify.number, &bytes, bytes.count, 0)
            try #require(received > 0)
            let message = ReadinessMessage(parsing: String(decoding: bytes[..<received], as: UTF8.self))
            if message == .ready { return }
        }
    }

    /// A spare becomes a tenant's.
    func claim(_ name: String) throws {
        cluster = try store.claim(cluster, by: Claim(ofSpareFor: name, directoryName: name))
        try workshop.finishClaim(of: self)
    }

    /// The rows of a query, by psql through the instance's socket directory; an error's text instead of rows.
    func query(_ sql: String, user: String = "alice", database: String? = nil) throws -> String {
        try Self.psql(
            ["-h", cluster.socketDirectory, "-U", user, "-d", database ?? cluster.databaseName, "-XAtqc", sql],
            of: store.installation)
    }

    func expect(_ sql: String, user: String = "alice", gives rows: String) throws {
        let answer = try query(sql, user: user)
        if answer != rows { Issue.record("\(sql) gave: \(answer)") }
    }

    func expect(_ sql: String, user: String = "alice", contains words: String) throws {
        let answer = try query(sql, user: user)
        if !answer.contains(words) { Issue.record("\(sql) gave: \(answer)") }
    }

    static func psql(_ arguments: [String], of installation: PostgresInstallation) throws -> String {
        let psql = Program(path: installation.binDirectory + "/psql", arguments: arguments)
        return try psql.run().output.trimmed()
    }

    /// Sends a signal and waits for the end.
    func stop(_ number: CInt = SIGINT) {
        guard !hasEnded else { return }
        _ = kill(processID, number)
        reap()
        store.retire(cluster)
    }

    /// Waits for the end after a signal from elsewhere.
    func awaitEnd() { reap() }

    /// As when the router is killed with it: nobody clears up.
    func killWithoutRetiring(_ number: CInt = SIGKILL) {
        _ = kill(processID, number)
        reap()
    }

    private var hasEnded = false

    private func reap() {
        var ending = unsafe siginfo_t()
        _ = unsafe waitid(P_PIDFD, id_t(exit.number), &ending, WEXITED)
        hasEnded = true
    }

    deinit { stop(SIGQUIT) }
}

extension String {
    func trimmed() -> String { String(drop { $0 == "\n" }.reversed().drop { $0 == "\n" }.reversed()) }
}
