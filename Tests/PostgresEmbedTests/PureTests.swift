import Glibc
import Reactor
import Testing

@testable import PostgresEmbed

@Suite("Stop ladder")
struct StopLadderTests {
    @Test("each rung has its signal and its deadline, and the last repeats")
    func rungs() {
        var ladder = StopLadder()
        let fast = ladder.begin(now: .seconds(100), speed: .orderly)
        #expect((fast.signal, fast.deadline) == (SIGINT, .seconds(110)))
        let immediate = ladder.expired(now: fast.deadline)
        #expect((immediate.signal, immediate.deadline) == (SIGQUIT, .seconds(116)))
        let kill = ladder.expired(now: immediate.deadline)
        #expect((kill.signal, kill.deadline) == (SIGKILL, .seconds(118)))
        #expect(ladder.expired(now: kill.deadline).signal == SIGKILL)
    }

    @Test("hurrying skips to SIGQUIT once, and never climbs back")
    func hurry() {
        var ladder = StopLadder()
        #expect(ladder.begin(now: .zero, speed: .hurried).deadline == .seconds(2))
        #expect(ladder.hurry(now: .seconds(1))?.signal == SIGQUIT)
        #expect(ladder.hurry(now: .seconds(1)) == nil)
        #expect(ladder.begin(now: .seconds(2), speed: .orderly).signal == SIGQUIT)
        #expect(ladder.expired(now: .seconds(8)).signal == SIGKILL)
        #expect(ladder.hurry(now: .seconds(8)) == nil)
        #expect(ladder.begin(now: .seconds(8), speed: .orderly).signal == SIGKILL)

        var fresh = StopLadder()
        #expect(fresh.hurry(now: .zero)?.signal == SIGQUIT)
        var skipped = StopLadder()
        #expect(skipped.expired(now: .zero).signal == SIGINT)
    }
}

@Suite("Messages and journals")
struct ParsingTests {
    @Test(
        "datagrams of sd_notify",
        arguments: [
            ("READY=1\nSTATUS=up", ReadinessMessage.ready), ("STATUS=starting\nREADY=1", .ready),
            ("STOPPING=1", .stopping),
            ("STATUS=recovering", .status("recovering")), ("MAINPID=4", .ignored), ("", .ignored),
            ("READY=0", .ignored),
            ("READY=11", .ignored),
        ])
    func notifications(datagram: String, message: ReadinessMessage) {
        let bytes = Array(datagram.utf8)
        let parsed = unsafe ReadinessMessage(parsing: bytes.span.bytes)
        #expect(parsed == message)
    }

    @Test(
        "the state in postmaster.pid",
        arguments: [
            ("1\n/d\n1\n5432\n/s\n\n1 2\nready   \n", ReadinessMessage.ready),
            ("1\n/d\n1\n5432\n/s\n\n1 2\nstarting\n", .status("starting")),
            ("1\n/d\n1\n5432\n/s\n\n1 2\nstopping\n", .stopping), ("1\n/d\n1\n5432\n/s\n\n1 2\n", .ignored),
            ("1\n/d\n", .ignored), ("", .ignored),
        ])
    func pidFile(content: String, message: ReadinessMessage) {
        #expect(ReadinessMessage(postmasterPID: Array(content.utf8)) == message)
    }

    @Test("a claim survives being written down, and nothing that was cut short is one")
    func claims() {
        let claim = Claim(databaseName: "new\nline ✓", oldName: "postgres", directoryName: "new%0Aline")
        #expect(Claim(claim.content) == claim)
        for length in 0..<claim.content.count { #expect(Claim(Array(claim.content.prefix(length))) == nil) }
        #expect(Claim(claim.content + [1]) == nil)
        // As an earlier version wrote them.
        let earlier = Claim(Array("routerd claim 1\0postgres\0name\0".utf8))
        #expect(earlier?.databaseName == "name" && earlier?.oldName == "postgres" && earlier?.directoryName == nil)
    }

    @Test("CRC-32C of the standard's check string")
    func checksum() {
        #expect(CRC32C(of: "123456789".utf8).value == 0xe306_9283)
    }

    @Test(
        "a control file's checksum is found wherever it is, and renewed with the identity", arguments: [288, 296, 328])
    func controlFile(checksumOffset: Int) throws {
        var bytes = (0..<8192).map { UInt8(truncatingIfNeeded: $0 * 7 + 3) }
        bytes.replaceSubrange(8..<12, with: [0x14, 0x05, 0, 0])
        let checksum = CRC32C(of: bytes[..<checksumOffset]).value
        for index in 0..<4 { bytes[checksumOffset + index] = UInt8(truncatingIfNeeded: checksum >> (8 * index)) }
        var control = try #require(ControlFile(bytes))
        let nonce = [UInt8](repeating: 0xab, count: 32)
        control.identify(systemIdentifier: 0x0102_0304_0506_0708, nonce: nonce)
        let content = control.content
        #expect(ControlFile(content)?.systemIdentifier == 0x0102_0304_0506_0708)
        #expect(Array(content[checksumOffset - 32..<checksumOffset]) == nonce)
        let changed = content.indices.filter { content[$0] != bytes[$0] }
        #expect(changed.allSatisfy { $0 < 8 || (checksumOffset - 32..<checksumOffset + 4).contains($0) })
        bytes[100] ^= 1
        #expect(ControlFile(bytes) == nil)
    }
}

extension ParsingTests {
    @Test(
        "a 32-bit build is told by how it passes eight bytes, where the fields are known",
        arguments: [(1300, 0), (1300, 1), (1700, 0), (1800, 0), (1800, 1)])
    func build(format: Int, byValue: UInt8) throws {
        let nonce = format >= 1800 ? 253 : 252
        func control(format: Int, floatFormat: Double) -> ControlFile? {
            var bytes = [UInt8](repeating: 0, count: 8192)
            for index in 0..<4 { bytes[8 + index] = UInt8(truncatingIfNeeded: format >> (8 * index)) }
            let end = nonce - (format >= 1800 ? 1 : 0)
            for index in 0..<8 {
                bytes[end - 48 + index] = UInt8(truncatingIfNeeded: floatFormat.bitPattern >> (8 * index))
            }
            bytes[end - 8] = byValue
            let checksumOffset = nonce + (format >= 1800 ? 35 : 32)
            let checksum = CRC32C(of: bytes[..<checksumOffset]).value
            for index in 0..<4 { bytes[checksumOffset + index] = UInt8(truncatingIfNeeded: checksum >> (8 * index)) }
            return ControlFile(bytes)
        }
        #expect(try #require(control(format: format, floatFormat: 1_234_567)).isOf32BitBuild == (byValue == 0))
        #expect(try #require(control(format: format, floatFormat: 0)).isOf32BitBuild == nil)
    }
}

@Suite("Settings")
struct SettingsTests {
    private func settings(memory: Int, instances: Int, clients: Int = 40) -> String {
        var options = ClusterStoreOptions(baseDirectory: "/", maxConnections: clients, maxInstances: instances)
        options.memoryBytes = memory
        options.processors = 2
        return Settings(options: options, majorVersion: 15, machine: .current()).defaults()
    }

    @Test("buffers follow the share of memory, within bounds")
    func sharedBuffers() {
        #expect(settings(memory: 24 << 30, instances: 100).contains("shared_buffers = '15728kB'"))
        #expect(settings(memory: 1 << 30, instances: 1000).contains("shared_buffers = '1024kB'"))
        #expect(settings(memory: 1 << 40, instances: 1).contains("shared_buffers = '131072kB'"))
    }

    @Test("clients, the router and PostgreSQL's reserve all fit")
    func connections() {
        #expect(settings(memory: 1 << 30, instances: 1, clients: 20).contains("max_connections = '24'"))
    }

    @Test("settings for all tenants stand behind the defaults, and no value breaks out of its line")
    func additional() {
        var options = ClusterStoreOptions(baseDirectory: "/")
        options.settings = [("work_mem", "8MB"), ("search_path", "it's\nport = 1\\"), ("log_line_prefix", "'\u{301}")]
        let lines = Settings(options: options, majorVersion: 15, machine: .current()).defaults().split(separator: "\n")
        #expect(lines.filter { $0.hasPrefix("work_mem = ") } == ["work_mem = '4MB'", "work_mem = '8MB'"])
        let last = [#"search_path = 'it''s\nport = 1\\'"#, "log_line_prefix = '''\u{301}'"]
        #expect(lines.suffix(2).map(String.init) == last)
    }

    @Test("settings that are pinned, unknown to PostgreSQL or nonsense are refused before anything is served")
    func refusals() throws {
        let installation = try PostgresInstallation.find(binDirectory: nil)
        func refusal(_ name: String, _ value: String) -> EmbedError? {
            var options = ClusterStoreOptions(baseDirectory: "/")
            options.settings = [(name, value)]
            let settings = Settings(options: options, majorVersion: installation.majorVersion, machine: .current())
            do throws(EmbedError) {
                try settings.check(with: installation)
                return nil
            } catch {
                return error
            }
        }
        for (name, value) in [("work_mem", "8MB"), ("my.own", "x"), ("TimeZone", "Europe/Berlin")] {
            #expect(refusal(name, value) == nil)
        }
        for name in ["port", "Listen_Addresses", "data_directory", "config_file", "hba_file", "cluster_name"] {
            #expect(refusal(name, "1") == .settingPinned(name: name))
        }
        #expect(
            refusal("wrk_mem", "8MB")
                == .settingRefused(name: "wrk_mem", reason: #"unrecognized configuration parameter "wrk_mem""#))
        let refused = [
            ("work_mem", "much"), ("block_size", "8192"), ("include", "/etc/passwd"), ("", "1"), ("a b", "1"),
            ("1a", "1"), ("-C", "1"), ("a=b", "1"), ("ä", "1"), ("search_path", "a\0b"),
        ]
        for (name, value) in refused {
            guard case .settingRefused? = refusal(name, value) else {
                Issue.record("\(name)=\(value) was taken")
                continue
            }
        }
    }

    @Test("without durability PostgreSQL waits for no disk either")
    func withoutDurability() {
        var options = ClusterStoreOptions(baseDirectory: "/")
        let names = ["fsync", "synchronous_commit", "full_page_writes"]
        for (durability, value) in [(Durability.full, "on"), (.none, "off")] {
            options.durability = durability
            let text = Settings(options: options, majorVersion: 15, machine: .current()).defaults()
            for name in names { #expect(text.contains("\n\(name) = '\(value)'\n")) }
        }
    }

    @Test("what the program is given cannot be taken for something else")
    func quoting() {
        #expect(RouterSQL.identifier("a\"b") == "\"a\"\"b\"")
        #expect(RouterSQL.identifier("\"\u{301}") == "\"\"\"\u{301}\"")
        #expect(RouterSQL.literal("it's") == "'it''s'")
        #expect(RouterSQL.literal(#"\'"#) == #" E'\\'''"#)
    }
}

@Suite("Files")
struct FileTests {
    /// A directory of the test's own, removed at the end.
    private func inDirectory(_ body: (borrowing Descriptor, String) throws -> Void) throws {
        var template = Array("/tmp/routerd-files-XXXXXX".utf8CString)
        let made = unsafe mkdtemp(&template) != nil
        try #require(made)
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { RuntimeDirectory.remove(path) }
        try body(try FileSystem.openDirectory(path), path)
    }

    /// A sweep that follows `<alias>/` would empty a tenant.
    @Test("removal never follows a symbolic link")
    func removal() throws {
        try inDirectory { directory, path in
            try FileSystem.makeDirectory("tenant", in: directory)
            try FileSystem.replace("row", in: try FileSystem.openDirectory("tenant", in: directory), with: [1])
            try FileSystem.makeDirectory("doomed", in: directory)
            for (target, link) in [(path + "/tenant", "/doomed/alias"), (path + "/tenant", "/alias")] {
                let made = unsafe symlink(target, path + link)
                #expect(made == 0)
            }
            try Removal.remove("doomed", in: directory)
            try Removal.remove("alias", in: directory)
            try Removal.remove("absent", in: directory)
            #expect(try FileSystem.entries(of: directory, path: path) == ["tenant"])
            #expect(FileSystem.status(ofPath: path + "/tenant/row")?.size == 1)
        }
    }

    /// A tenant's superuser can make a database of another encoding and write files with names in it, and native code
    /// can do what it likes with its own directories. What it leaves must still be removable.
    @Test("names that are no text, closed directories and great depth do not stop a removal")
    func hostileTrees() throws {
        try inDirectory { directory, path in
            try FileSystem.makeDirectory("doomed", in: directory)
            let noText: [CChar] = [CChar(bitPattern: 0xff), CChar(bitPattern: 0xfe), 0]
            var level = try FileSystem.openDirectory("doomed", in: directory)
            for depth in 0..<300 {
                if depth % 50 == 0 {
                    let file = unsafe openat(level.number, noText, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
                    #expect(file >= 0)
                    close(file)
                    try FileSystem.makeDirectory("closed", in: level)
                    let inside = try FileSystem.openDirectory("closed", in: level)
                    try FileSystem.replace("file", in: inside, with: [1])
                    #expect(fchmod(inside.number, 0) == 0)
                }
                try FileSystem.makeDirectory("d", in: level)
                level = try FileSystem.openDirectory("d", in: level)
            }
            try Removal.remove("doomed", in: directory)
            #expect(try FileSystem.entries(of: directory, path: path).isEmpty)
        }
    }

    @Test("a removal that is cut short anywhere is finished by the next")
    func interruptedRemoval() throws {
        for steps in 0..<30 {
            try inDirectory { directory, path in
                try FileSystem.makeDirectory("doomed", in: directory)
                var level = try FileSystem.openDirectory("doomed", in: directory)
                for _ in 0..<70 {
                    for name in ["a", "b"] { try FileSystem.replace(name, in: level, with: []) }
                    try FileSystem.makeDirectory("d", in: level)
                    level = try FileSystem.openDirectory("d", in: level)
                }
                var left = steps * 9
                try Removal.remove("doomed", in: directory) {
                    left -= 1
                    return left < 0
                }
                for name in try FileSystem.entries(of: directory, path: path) {
                    try Removal.remove(name, in: directory)
                }
                #expect(try FileSystem.entries(of: directory, path: path).isEmpty)
            }
        }
    }

    @Test("a tree is copied in content and shape")
    func copy() throws {
        try inDirectory { directory, path in
            let large = [UInt8](repeating: 7, count: 1_000_001)
            for name in ["from", "to"] { try FileSystem.makeDirectory(name, in: directory) }
            let source = try FileSystem.openDirectory("from", in: directory)
            try FileSystem.replace("large", in: source, with: large)
            try FileSystem.replace("empty", in: source, with: [])
            try FileSystem.makeDirectory("deep", in: source)
            try FileSystem.replace("small", in: try FileSystem.openDirectory("deep", in: source), with: [1, 2])
            let target = try FileSystem.openDirectory("to", in: directory)
            try TreeCopy(durability: .full).copy(source, to: target, path: path)
            try Durability.full.syncFileSystem(of: target, path: path)
            #expect(try FileSystem.contents(of: "large", in: target, limit: 2_000_000) == large)
            #expect(try FileSystem.contents(of: "empty", in: target) == [])
            #expect(try FileSystem.contents(of: "small", in: FileSystem.openDirectory("deep", in: target)) == [1, 2])
            // A second copy into the same place would mix two clusters.
            #expect(throws: EmbedError.self) {
                try TreeCopy(durability: .full).copy(source, to: target, path: path)
            }
        }
    }

    /// Unbounded, a tenant with `log_statement = all` fills the disk of all.
    @Test("a log past its bound keeps its end, and is written on from its start")
    func trimming() throws {
        try inDirectory { _, path in
            let log = InstanceLog(path: path + "/t.log")
            #expect(log.lastLine() == nil)
            let output = try log.open()
            let line = Array("2026-01-01 00:00:00.000 UTC [1] LOG:  line\n".utf8)
            let block = Array(repeatElement(line, count: 1000).joined())
            while FileSystem.status(ofPath: log.path)!.size <= InstanceLog.bound {
                log.trim()
                try FileSystem.write(block, to: output, path: log.path)
            }
            #expect(log.lastLine() == "LOG:  line")
            log.trim()
            #expect(FileSystem.status(ofPath: log.path)?.size == 0)
            #expect(FileSystem.status(ofPath: log.path + ".1")?.size == InstanceLog.kept)
            try FileSystem.write(line, to: output, path: log.path)
            #expect(FileSystem.status(ofPath: log.path)?.size == line.count)
            let farewell =
                "2026-01-01 00:00:00.000 UTC [1] FATAL:  the reason\n2026-01-01 00:00:00.000 UTC [1] LOG:  bye\n"
            try FileSystem.write(Array(farewell.utf8), to: output, path: log.path)
            #expect(log.lastLine() == "FATAL:  the reason")
        }
    }
}

@Suite("Control groups")
struct ControlGroupTests {
    /// A machine's files that say so, below a directory of the test's own.
    private func limits(
        _ membership: String?, _ files: [String: String]
    ) throws -> (processors: Int?, memoryBytes: Int?) {
        var template = Array("/tmp/routerd-test-XXXXXX".utf8CString)
        try #require(unsafe mkdtemp(&template) != nil)
        let root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { RuntimeDirectory.remove(root) }
        for (path, content) in files.merging(membership.map { ["/proc/self/cgroup": $0] } ?? [:], uniquingKeysWith: +) {
            let parts = path.split(separator: "/")
            for count in 1..<parts.count {
                try FileSystem.makeDirectory(root + "/" + parts.prefix(count).joined(separator: "/"))
            }
            let file = try FileSystem.open(root + path, O_WRONLY | O_CREAT | O_EXCL)
            try FileSystem.write(Array(content.utf8), to: file, path: path)
        }
        let group = ControlGroup(root: root)
        return (group.processors, group.memoryBytes)
    }

    /// The kernel's root has no such files, and a container sees its own cgroup as the root, which does.
    @Test("what our own group may use, in whole processors, at least one")
    func own() throws {
        for (group, path) in [("0::/\n", ""), ("0::/a.slice/b.service\n", "/a.slice/b.service")] {
            let own = "/sys/fs/cgroup" + path
            for (time, processors) in ["300000 100000\n": 3, "250000 100000\n": 2, "5000 100000\n": 1] {
                let found = try limits(group, [own + "/cpu.max": time, own + "/memory.max": "536870912\n"])
                #expect(found == (processors, 536_870_912), "\(group) \(time)")
            }
        }
    }

    @Test("a group above may give less than our own has")
    func nested() throws {
        let files = [
            "/sys/fs/cgroup/a/cpu.max": "100000 100000\n", "/sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            "/sys/fs/cgroup/a/b/c/cpu.max": "400000 100000\n", "/sys/fs/cgroup/a/memory.max": "max\n",
            "/sys/fs/cgroup/a/b/memory.max": "1000000\n", "/sys/fs/cgroup/a/b/c/memory.max": "2000000\n",
            "/sys/fs/cgroup/other/cpu.max": "10000 100000\n", "/sys/fs/cgroup/other/memory.max": "1\n",
        ]
        #expect(try limits("0::/a/b/c\n", files) == (1, 1_000_000))
        #expect(try limits("0::/a/b/c/d\n", files) == (1, 1_000_000), "without files of its own")
    }

    @Test("nothing is limited: max, no files, nonsense, version 1, a group outside of what we see")
    func unlimited() throws {
        let directory = "/sys/fs/cgroup"
        let limiting = [directory + "/cpu.max": "100000 100000\n", directory + "/memory.max": "1000000\n"]
        #expect(try limits("0::/\n", limiting) == (1, 1_000_000), "or nothing is shown below")
        let none: (Int?, Int?) = (nil, nil)
        #expect(
            try limits("0::/\n", [directory + "/cpu.max": "max 100000\n", directory + "/memory.max": "max\n"]) == none)
        #expect(try limits("0::/\n", [:]) == none)
        #expect(try limits(nil, limiting) == none)
        #expect(try limits("", limiting) == none)
        for content in ["", "\n", "100000\n", "100000 0\n", "one 100000\n"] {
            let files = [directory + "/cpu.max": content, directory + "/memory.max": "x" + content]
            #expect(try limits("0::/\n", files) == none, "\(content)")
        }
        #expect(try limits("12:memory:/\n0::/\n", limiting) == none)
    }
}
