import CConfine
import Glibc
import Reactor
import Testing

@testable import PostgresEmbed

@Suite("The store of clusters", .serialized)
struct StoreTests {
    @Test("directories that are not this PostgreSQL's clusters are refused in words and not touched")
    func foreignDirectories() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            func refusal(_ name: String, mayCreate: Bool = true) -> EmbedError? {
                do throws(EmbedError) {
                    _ = try store.prepare(directoryName: name, databaseName: name, mayCreate: mayCreate)
                    return nil
                } catch {
                    return error
                }
            }
            #expect(refusal("absent", mayCreate: false) == .absent(databaseName: "absent"))
            #expect(FileSystem.status(ofPath: store.baseDirectory + "/absent") == nil)

            let base = try FileSystem.openDirectory(store.baseDirectory)
            try FileSystem.makeDirectory("empty", in: base)
            #expect(refusal("empty")?.message.contains("is not a PostgreSQL cluster") == true)
            try FileSystem.makeDirectory("old", in: base)
            try FileSystem.replace(
                "PG_VERSION", in: try FileSystem.openDirectory("old", in: base), with: Array("9.6\n".utf8))
            let version = "\(store.installation.majorVersion)"
            #expect(
                refusal("old")
                    == .otherMajorVersion(path: store.baseDirectory + "/old", found: "9.6", expected: version))
            // A FIFO in place of a file must not block the thread that looks at it.
            try FileSystem.makeDirectory("fifo", in: base)
            let made = unsafe mkfifo(store.baseDirectory + "/fifo/PG_VERSION", 0o600)
            #expect(made == 0)
            #expect(refusal("fifo")?.detail == "It has no file PG_VERSION.")
            try FileSystem.replace("file", in: base, with: [])
            #expect(refusal("file")?.detail == "It is not a directory.")

            for (name, content) in [("empty", []), ("old", ["PG_VERSION"]), ("fifo", ["PG_VERSION"])] {
                let directory = try FileSystem.openDirectory(name, in: base)
                #expect(try FileSystem.entries(of: directory, path: name) == content)
            }
            #expect(try store.directoryNames().sorted() == ["fifo", "old"])

            // Who prepares a cluster keeps repairs from it, until it is up or has failed: its postmaster may read the
            // configuration at any time until then.
            func isFree(_ cluster: CInt) -> Bool { flock(cluster, LOCK_EX | LOCK_NB) == 0 }
            for isUp in [true, false] {
                let prepared = try store.prepare(directoryName: "good", databaseName: "good", mayCreate: true)
                let repairer = try FileSystem.openDirectory("good", in: base)
                #expect(!isFree(repairer.number))
                if isUp {
                    let sockets = try FileSystem.openDirectory(prepared.socketDirectory)
                    try FileSystem.replace(".s.PGSQL.5432", in: sockets, with: [])
                    _ = try prepared.takeSocket()
                    #expect(isFree(repairer.number))
                }
                withExtendedLifetime(prepared) {}
            }
            let repairer = try FileSystem.openDirectory("good", in: base)
            #expect(isFree(repairer.number), "a boot that came to nothing")
        }
    }

    @Test("a cluster of a 32-bit build, as PGlite's are, is recognised and refused with what to do")
    func clusterOf32BitBuild() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            try workshop.boot("tenant").stop()
            let path = store.baseDirectory + "/tenant"
            let global = try FileSystem.openDirectory(path + "/global")
            let whole = try #require(try FileSystem.contents(of: "pg_control", in: global))
            #expect(ControlFile(whole)?.isOf32BitBuild == false)

            try FileSystem.replace("pg_control", in: global, with: try #require(pass(whole, byValue: false)))
            // PostgreSQL's own reading of the byte that was changed.
            let report = Program(
                path: store.installation.binDirectory + "/pg_controldata", arguments: ["-D", path])
            let lines = try report.run().output.split(separator: "\n")
            #expect(lines.contains { $0.hasPrefix("Float8 argument passing:") && $0.hasSuffix("by reference") })
            #expect(!lines.contains { $0.contains("CRC") })

            let version = "\(store.installation.majorVersion)"
            // PGlite's is another major version as a rule, and no PostgreSQL of that version would help.
            for found in [version, "17"] {
                let cluster = try FileSystem.openDirectory(path)
                try FileSystem.replace("PG_VERSION", in: cluster, with: Array("\(found)\n".utf8))
                let before = try FileSystem.entries(of: cluster, path: path).sorted()
                #expect(throws: EmbedError.otherBuild(path: path, version: found)) {
                    try store.prepare(directoryName: "tenant", databaseName: "tenant", mayCreate: true)
                }
                #expect(try FileSystem.entries(of: cluster, path: path).sorted() == before)
            }
            #expect(EmbedError.otherBuild(path: path, version: "17").hint?.contains("PGlite") == true)
            #expect(EmbedError.otherBuild(path: path, version: "17").isRetryable == false)
        }
    }

    @Test("one server per base directory; the next one clears up after one that was killed")
    func oneServer() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            let options = ClusterStoreOptions(baseDirectory: store.baseDirectory)
            #expect(throws: EmbedError.directoryInUse(path: store.baseDirectory, processID: getpid())) {
                try ClusterStore(installation: store.installation, options: options)
            }
            // As a kill leaves it: a note of the runtime directory, and something half-made.
            let privateDirectory = try FileSystem.openDirectory(store.baseDirectory + "/.routerd")
            let note = String(
                decoding: try #require(try FileSystem.contents(of: "lock", in: privateDirectory)), as: UTF8.self)
            let runtimeDirectory = String(note.split(separator: "\n")[1])
            store.close()
            #expect(FileSystem.status(ofPath: runtimeDirectory) == nil)
            try FileSystem.makeDirectory(runtimeDirectory)
            try FileSystem.makeDirectory(runtimeDirectory + "/1")
            let staging = try FileSystem.openDirectory("staging", in: privateDirectory)
            try FileSystem.makeDirectory("half", in: staging)

            let next = try ClusterStore(installation: store.installation, options: options)
            #expect(FileSystem.status(ofPath: runtimeDirectory) == nil)
            #expect(try FileSystem.entries(of: staging, path: "staging").isEmpty)
            // The template is there: no second initdb.
            var said: [String] = []
            try next.ensureTemplate { said.append($0) }
            #expect(said.isEmpty)
            next.close()
            next.close()
        }
    }

    @Test("a base directory that cannot be made is one clear error; as root there is no store")
    func unusableBaseDirectory() async throws {
        let installation = try PostgresInstallation.find(binDirectory: nil)
        if geteuid() == 0 {
            #expect(throws: EmbedError.runningAsRoot) {
                try ClusterStore(installation: installation, options: ClusterStoreOptions(baseDirectory: "/tmp/never"))
            }
        }
        await #expect(processExitsWith: .success) {
            Workshop.becomeOrdinaryUser()
            let installation = try PostgresInstallation.find(binDirectory: nil)
            for path in ["/proc/nowhere", "/dev/null/data", "/root/data"] {
                do {
                    _ = try ClusterStore(
                        installation: installation, options: ClusterStoreOptions(baseDirectory: path))
                    Issue.record("\(path) was usable")
                } catch EmbedError.directoryUnusable {
                }
            }
        }
    }

    @Test("PostgreSQL is found, or the error says where it was looked for")
    func installation() throws {
        let installation = try PostgresInstallation.find(binDirectory: nil)
        #expect(installation.majorVersion >= 13)
        #expect(try PostgresInstallation.find(binDirectory: installation.binDirectory) == installation)
        #expect(throws: EmbedError.postgresNotFound(lookedIn: ["/nowhere"])) {
            try PostgresInstallation.find(binDirectory: "/nowhere")
        }
        #expect(PostgresInstallation.version(in: "postgres (PostgreSQL) 15.18 (Debian 15.18-0)\n") == "15.18")
        #expect(PostgresInstallation.version(in: "postgres (PostgreSQL) 19beta1\n") == "19beta1")
        #expect(PostgresInstallation.version(in: "postgres (EnterpriseDB)\n") == nil)
    }
}

@Suite("Spawning")
struct SpawnTests {
    @Test("a program that cannot be executed is an error with its stage, and leaves no child")
    func failures() throws {
        let null = try FileSystem.open("/dev/null", O_RDWR)
        func failure(_ program: Program) -> EmbedError? {
            do throws(EmbedError) {
                _ = try program.spawn(input: null, output: null).wait()
                return nil
            } catch {
                return error
            }
        }
        #expect(
            failure(Program(path: "/nowhere", arguments: []))
                == .spawnFailed(program: "/nowhere", stage: "exec", Errno(code: ENOENT)))
        #expect(
            failure(Program(path: "/bin/true", arguments: [], directory: "/nowhere"))
                == .spawnFailed(program: "/bin/true", stage: "working directory", Errno(code: ENOENT)))
        #expect(failure(Program(path: "/bin/true", arguments: [])) == nil)
    }

    @Test("exit status, output, environment and umask are what they should be")
    func surroundings() throws {
        var shell = Program(
            path: "/bin/sh", arguments: ["-c", "umask; pwd; echo $A; ls /proc/self/fd | wc -l; exit 7"])
        shell.environment = ["A=b c", "PATH=/usr/bin:/bin"]
        shell.directory = "/usr"
        let (status, output) = try shell.run()
        #expect(status == 7)
        // 0, 1, 2 and the one that ls reads.
        #expect(output == "0077\n/usr\nb c\n4\n")
        #expect(try Program(path: "/bin/sh", arguments: ["-c", "kill -9 $$"]).run().status == 128 + 9)
    }

    @Test("a child starts with no signal blocked or ignored, whatever its parent does with them")
    func signals() throws {
        let before = signal(SIGUSR2, SIG_IGN)
        defer { _ = signal(SIGUSR2, before) }
        let look = Program(path: "/bin/grep", arguments: ["-E", "Sig(Blk|Ign)", "/proc/self/status"])
        #expect(try look.run().output == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n")
    }

    @Test("a child gets the credentials it is given, and no supplementary group", .enabled(if: geteuid() == 0))
    func credentials() throws {
        var ends: [CInt] = [-1, -1]
        let made = unsafe pipe(&ends)
        try #require(made == 0)
        let reading = Descriptor(owning: ends[0])
        let arguments = CStrings(["/usr/bin/id"])
        var spec = unsafe confine_spec()
        unsafe spec.path = UnsafePointer(arguments.first)
        unsafe spec.argv = UnsafePointer(arguments.pointer)
        unsafe spec.envp = UnsafePointer(arguments.pointer + 1)
        unsafe spec.stdio = (ends[1], ends[1], ends[1])
        unsafe spec.ruleset = -1
        unsafe spec.changes_credentials = 1
        unsafe spec.user = 12_345
        unsafe spec.group = 54_321
        var child = confine_child()
        var failure = confine_failure()
        let result = unsafe confine_spawn(&spec, &child, &failure)
        close(ends[1])
        try #require(result == 0)
        _ = Child(processID: child.pid, pidfd: Descriptor(owning: child.pidfd)).wait()
        let output = String(decoding: try FileSystem.read(reading, path: "pipe", limit: 4096), as: UTF8.self)
        #expect(output == "uid=12345 gid=54321 groups=54321\n")
    }
}

/// The control file with another way of passing values of eight bytes, and a checksum that says so.
private func pass(_ content: [UInt8], byValue: Bool) -> [UInt8]? {
    let format = bytes(Double(1_234_567).bitPattern, count: 8)
    guard let start = (0..<500).first(where: { content[$0..<$0 + 8].elementsEqual(format) }),
        let end = stride(from: 128, to: 508, by: 4).first(where: { offset in
            content[offset..<offset + 4].elementsEqual(checksum(of: content[..<offset]))
        })
    else { return nil }
    var changed = content
    changed[start + 40] = byValue ? 1 : 0
    changed.replaceSubrange(end..<end + 4, with: checksum(of: changed[..<end]))
    return changed
}

private func checksum(of content: ArraySlice<UInt8>) -> [UInt8] {
    bytes(UInt64(CRC32C(of: content).value), count: 4)
}

/// Little-endian.
private func bytes(_ value: UInt64, count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
