import Glibc
import PostgresEmbed
import Reactor

/// What was found about the machine or the configuration before a router starts.
public struct Finding: Sendable, Equatable, Codable {
    /// What it means for a router.
    public enum Verdict: String, Sendable, Codable, CaseIterable {
        /// As it should be.
        case ok
        /// A router serves, and somebody should know.
        case warn
        /// A router does not start, or serves nobody.
        case problem
    }

    /// What was looked at: `postgresql`, `descriptors`.
    public var topic: String
    /// What it means.
    public var verdict: Verdict
    /// One line.
    public var what: String
    /// One line about what to do; nil where nothing is to be done.
    public var advice: String?

    /// A finding.
    public init(_ topic: String, _ verdict: Verdict, _ what: String, advice: String? = nil) {
        self.topic = topic
        self.verdict = verdict
        self.what = what
        self.advice = advice
    }
}

extension RouterConfiguration {
    /// Looks at the machine, as the user of this process, and at these values; changes nothing and starts nothing but
    /// `postgres -V`.
    public func findings() -> [Finding] {
        do throws(RouterError) {
            try validate()
        } catch {
            return [Finding("options", .problem, error.description)]
        }
        let installations = Survey.installations(binDirectory: postgresBinDirectory)
        var found = [postgres(installations)]
        if let installation = installations.first { found += settings(installation) }
        found += [kernel(), ring(), confinementFinding(), descriptors(), processes(), memoryOfMachine()]
        switch storage {
        case .directory: found += directory(installations.first)
        case .memory, .temporary: found.append(memoryDirectory())
        }
        return found + [runtimeDirectory()]
    }
}

// MARK: - PostgreSQL

extension RouterConfiguration {
    private func postgres(_ installations: [PostgresInstallation]) -> Finding {
        guard let first = installations.first else {
            do throws(RouterError) {
                try check()
                return Finding("postgresql", .problem, "no PostgreSQL was found")
            } catch {
                return Finding("postgresql", .problem, error.description)
            }
        }
        let others = installations.dropFirst().map { "\($0.version) in \($0.binDirectory)" }.joined(separator: ", ")
        return Finding(
            "postgresql", .ok, "PostgreSQL \(first.version) in \(first.binDirectory)",
            advice: others.isEmpty ? nil : "--postgres-bin chooses another one: \(others)")
    }

    private func settings(_ installation: PostgresInstallation) -> [Finding] {
        guard !settings.isEmpty else { return [] }
        do throws(EmbedError) {
            try Survey.check(
                ClusterStoreOptions(
                    baseDirectory: baseDirectory, maxConnections: maxConnections, maxInstances: maxInstances,
                    settings: sizes.settings), with: installation)
            return [Finding("set", .ok, "PostgreSQL takes all \(settings.count) settings of --set")]
        } catch {
            return [Finding("set", .problem, RouterError(error).description)]
        }
    }
}

// MARK: - The kernel

extension RouterConfiguration {
    private func kernel() -> Finding {
        let release = KernelFile("/proc/sys/kernel/osrelease").line ?? "unknown"
        let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
        guard !numbers.lexicographicallyPrecedes([5, 4]) else {
            return Finding(
                "kernel", .problem, "Linux \(release) has no process descriptors to wait for",
                advice: "run Linux 5.4 or newer")
        }
        return Finding("kernel", .ok, "Linux \(release), with process descriptors")
    }

    private func ring() -> Finding {
        switch io {
        case .epoll: return Finding("io_uring", .ok, "--io epoll: io_uring is not used")
        case .auto, .ioUring: break
        }
        do throws(ReactorError) {
            // Sysctl, seccomp profile, limit of locked memory: who opens one knows.
            _ = try Reactor(engine: .ioUring)
            return Finding("io_uring", .ok, "io_uring is allowed")
        } catch {
            guard case .engineUnavailable = error, io != .ioUring else {
                return Finding("io_uring", .problem, RouterError(error).description)
            }
            return Finding("io_uring", .ok, "\(error); epoll is used")
        }
    }

    private func confinementFinding() -> Finding {
        let abi = Survey.landlockABI ?? 0
        let isPossible = abi >= 3 && Survey.filtersCalls
        let loss = "tenants share one system user without walls; their users own their database and are not superusers"
        switch (confinement, isPossible) {
        case (.off, _):
            return Finding("confinement", .warn, "--confine off: \(loss)", advice: "leave --confine at auto")
        case (_, true):
            return Finding(
                "confinement", .ok, "each tenant is confined to its own directory (Landlock ABI \(abi), seccomp)")
        case (.auto, false):
            return Finding(
                "confinement", .warn, "this kernel cannot confine (Landlock ABI \(abi)): \(loss)",
                advice: "run Linux 6.2 or newer with Landlock among CONFIG_LSM, or lsm=landlock,… on its command line")
        case (.require, false):
            return Finding(
                "confinement", .problem, "--confine require: this kernel cannot confine (Landlock ABI \(abi))",
                advice: "run Linux 6.2 or newer with Landlock among CONFIG_LSM, or lsm=landlock,… on its command line")
        }
    }
}

// MARK: - Limits

extension RouterConfiguration {
    private func descriptors() -> Finding {
        // The program raises the soft limit to this.
        let limit = hardLimit(RLIMIT_NOFILE)
        let fitting = Limits.clientsThatFit(
            maxInstances: maxInstances, workers: workers, descriptors: limit)
        let room =
            "the descriptor limit of \(limit) leaves room for \(max(fitting, 0)) clients beside \(maxInstances) instances"
        let advice = "raise the limit (ulimit -Hn, LimitNOFILE= of a systemd unit) or lower --max-instances"
        guard fitting > 0 else { return Finding("descriptors", .problem, room, advice: advice) }
        guard (maxClients ?? 1) <= fitting else {
            return Finding("descriptors", .warn, "\(room): --max-clients is lowered to that", advice: advice)
        }
        return Finding("descriptors", .ok, room)
    }

    private func processes() -> Finding {
        let sources = [
            ("the user's process limit (ulimit -u)", hardLimit(__RLIMIT_NPROC)),
            ("kernel.pid_max", KernelFile("/proc/sys/kernel/pid_max").number),
            ("the control group's pids.max", KernelFile("/sys/fs/cgroup/pids.max").number),
        ]
        let limits = sources.compactMap { name, limit in limit.map { (name: name, limit: $0) } }
        let wanted = maxInstances * Limits.processesPerInstance + min(maxInstances * maxConnections, maxClients ?? .max)
        guard let least = limits.min(by: { $0.limit < $1.limit }) else {
            return Finding("processes", .ok, "nothing limits the number of processes")
        }
        let idle = maxInstances * Limits.processesPerInstance
        let what = "\(least.name) is \(least.limit); \(maxInstances) instances take \(idle), and each session one more"
        let advice = "raise it, or lower --max-instances to \(max(1, least.limit / (2 * Limits.processesPerInstance)))"
        if least.limit < idle { return Finding("processes", .warn, what, advice: advice) }
        return least.limit < wanted
            ? Finding("processes", .ok, "\(what): \(wanted) if all were full")
            : Finding("processes", .ok, what)
    }

    private func memoryOfMachine() -> Finding {
        let megabytes = Survey.memoryBytes >> 20
        let wanted = maxInstances * Limits.megabytesPerInstance
        let what = "\(megabytes) MB of memory; \(maxInstances) idle instances take about \(wanted)"
        return wanted <= megabytes
            ? Finding("memory", .ok, what)
            : Finding(
                "memory", .warn, what,
                advice: "lower --max-instances to \(megabytes / (2 * Limits.megabytesPerInstance))")
    }

    private func hardLimit(_ resource: __rlimit_resource) -> Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0 else { return .max }
        return Int(clamping: limit.rlim_max)
    }
}

// MARK: - Directories

extension RouterConfiguration {
    private func directory(_ installation: PostgresInstallation?) -> [Finding] {
        guard unsafe access(baseDirectory, F_OK) == 0 else {
            let parent = FileSystemFacts(ofNearest: baseDirectory)
            return [Finding("directory", .ok, "\(baseDirectory) is not there yet and will be made")] + space(parent)
        }
        guard unsafe access(baseDirectory, R_OK | W_OK | X_OK) == 0 else {
            return [
                Finding(
                    "directory", .problem, "this user cannot use \(baseDirectory)",
                    advice: "give it away with chown, or choose another --dir or --run-as")
            ]
        }
        let versions = Survey.versions(in: baseDirectory)
        let what = "\(baseDirectory) holds \(versions.count) \(versions.count == 1 ? "tenant" : "tenants")"
        let findings = [Finding("directory", .ok, what)] + space(FileSystemFacts(ofNearest: baseDirectory))
        guard let major = installation?.majorVersion else { return findings }
        let foreign = versions.filter { $0.value != "\(major)" }
        guard !foreign.isEmpty else { return findings }
        let names = foreign.keys.sorted().prefix(5).joined(separator: ", ")
        return findings + [
            Finding(
                "versions", .warn,
                "\(foreign.count) of them are not of PostgreSQL \(major) and cannot be connected to: \(names)\(foreign.count > 5 ? ", …" : "")",
                advice:
                    "name the PostgreSQL that made them with --postgres-bin, or move them with pg_dump or pg_upgrade")
        ]
    }

    private func space(_ facts: FileSystemFacts?) -> [Finding] {
        guard let facts else { return [] }
        let tenants = min(facts.freeBytes / Limits.bytesPerTenant, facts.freeFiles / Limits.filesPerTenant)
        let what = "\(facts.freeBytes >> 20) MB free on \(facts.kind), room for about \(tenants) new tenants"
        var findings = [
            tenants >= 20
                ? Finding("space", .ok, what)
                : Finding(
                    "space", tenants > 0 ? .warn : .problem, what,
                    advice: "free some space or files (df -h, df -i), or choose another --dir")
        ]
        if let doubt = facts.doubt {
            findings.append(Finding("file system", .warn, doubt, advice: "choose another --dir"))
        }
        return findings
    }

    private func memoryDirectory() -> Finding {
        guard let place = MemoryDirectory.place else {
            return Finding(
                "memory directory", .problem, "--memory needs a file system in memory, and there is none",
                advice: "mount a tmpfs on /dev/shm, or serve from a directory")
        }
        let tenants = place.freeBytes / Limits.bytesPerTenant
        let what = "\(place.freeBytes >> 20) MB free in \(place.path), room for about \(tenants) tenants"
        return tenants >= 10
            ? Finding("memory directory", .ok, what)
            : Finding(
                "memory directory", .warn, what,
                advice: "enlarge it: docker run --shm-size=2g, or mount -o remount,size=2g \(place.path)")
    }

    private func runtimeDirectory() -> Finding {
        guard let place = Survey.runtimePlace else {
            return Finding("runtime directory", .problem, "there is no place for sockets", advice: "make /tmp writable")
        }
        guard let cleaner = TemporaryFileCleaner(of: place) else {
            return Finding("runtime directory", .ok, "sockets go to \(place), which nobody clears")
        }
        return Finding(
            "runtime directory", .warn, "sockets go to \(place), and \(cleaner.rule) clears it of what is old",
            advice:
                "let systemd give routerd a RuntimeDirectory=routerd, or add \"x \(place)/routerd-*\" to /etc/tmpfiles.d"
        )
    }
}

// MARK: - What files say

/// A file of one line that the kernel writes.
private struct KernelFile {
    let line: String?
    var number: Int? { line.flatMap { Int($0) } }

    init(_ path: String) { line = Self.text(path)?.split(separator: "\n").first.map(String.init) }

    /// The first kilobytes of a file.
    static func text(_ path: String) -> String? {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 64 * 1024)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
        return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}

/// What the file system of a path has left.
private struct FileSystemFacts {
    let kind: String
    let freeBytes: Int
    let freeFiles: Int
    let doubt: String?

    /// Of the path itself, or of the nearest directory above it that is there.
    init?(ofNearest path: String) {
        var path = path
        var status = statvfs()
        while unsafe statvfs(path, &status) != 0 {
            guard let slash = path.lastIndex(of: "/"), path != "/" else {
                guard !["/", "."].contains(path) else { return nil }
                path = "."
                continue
            }
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
        freeBytes = Int(clamping: status.f_bavail) * Int(clamping: status.f_frsize)
        // Some file systems make files as long as there is space, and say 0.
        freeFiles = status.f_files == 0 ? .max : Int(clamping: status.f_favail)
        switch Survey.fileSystemType(of: path) {
        case 0xEF53: (kind, doubt) = ("ext4", nil)
        case 0x5846_5342: (kind, doubt) = ("XFS", nil)
        case 0x9123_683E: (kind, doubt) = ("Btrfs", nil)
        case 0x2FC1_2FC1: (kind, doubt) = ("ZFS", nil)
        case 0x0102_1994: (kind, doubt) = ("tmpfs", "\(path) is in memory: data there does not survive the machine")
        case 0x6969: (kind, doubt) = ("NFS", "\(path) is on NFS: locks and fsync are what its server makes of them")
        case 0x794C_7630:
            (kind, doubt) = (
                "overlayfs", "\(path) belongs to a container's own layer: data there goes with the container"
            )
        case 0x6573_5546: (kind, doubt) = ("FUSE", "\(path) is on FUSE: fsync is what its program makes of it")
        case let type: (kind, doubt) = ("a file system of type 0x\(String(type ?? 0, radix: 16))", nil)
        }
    }
}

/// What removes old files below a directory. Sources: tmpfiles.d(5), tmpreaper(8).
private struct TemporaryFileCleaner {
    /// The line or the program.
    let rule: String

    init?(of place: String) {
        for program in ["/usr/sbin/tmpreaper", "/usr/sbin/tmpwatch"] where unsafe access(program, X_OK) == 0 {
            guard place.hasPrefix("/tmp") else { continue }
            rule = program
            return
        }
        guard unsafe access("/run/systemd/system", F_OK) == 0, let found = Self.ageingRule(of: place) else {
            return nil
        }
        rule = found
    }

    /// A line that gives the directory an age; the first directory of these overrides a file of the same name in others.
    private static func ageingRule(of place: String) -> String? {
        var lines: [(file: String, words: [Substring])] = []
        var seen: Set<String> = []
        for directory in ["/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/lib/tmpfiles.d"] {
            for name in names(in: directory) where name.hasSuffix(".conf") && seen.insert(name).inserted {
                let text = KernelFile.text("\(directory)/\(name)") ?? ""
                lines += text.split(separator: "\n").map {
                    ("\(directory)/\(name)", $0.split { $0 == " " || $0 == "\t" })
                }
            }
        }
        let isExcluded = lines.contains { line in
            line.words.count >= 2 && ["x", "X"].contains(line.words[0]) && line.words[1].hasPrefix("\(place)/routerd")
        }
        if isExcluded { return nil }
        return lines.first { line in
            line.words.count >= 6 && "dDqQv".contains(line.words[0].first ?? "#") && line.words[1] == place
                && line.words[5] != "-"
        }?.file
    }

    private static func names(in directory: String) -> [String] {
        guard let stream = unsafe opendir(directory) else { return [] }
        defer { unsafe _ = closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            names.append(
                unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
                    unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names
    }
}
