import Glibc
import Reactor

/// The cluster that new tenants are copied from: made by `initdb` once for each PostgreSQL and each set of arguments,
/// then never booted.
struct TemplateCluster: Sendable {
    private let installation: PostgresInstallation
    /// Absolute path of `.routerd`.
    private let privateDirectory: String

    private let durability: Durability
    /// For a directory that is gone with its server, and its template with it.
    private let cache: TemplateCache?

    init(installation: PostgresInstallation, privateDirectory: String, durability: Durability) {
        self.installation = installation
        self.privateDirectory = privateDirectory
        self.durability = durability
        switch durability {
        case .full: cache = nil
        case .none: cache = .ofUser()
        }
    }

    /// Absolute path; there once ``ensure(progress:)`` has returned.
    var path: String { "\(privateDirectory)/template/\(name)" }

    /// The version in full and a digest of what `initdb` is told and what is taken away afterwards: another of either is
    /// another template.
    private var name: String {
        let digest = CRC32C(of: (Self.arguments + [Self.trimming]).joined(separator: "\n").utf8).value
        return "\(installation.version)-\(String(digest, radix: 16))"
    }

    private static let arguments = [
        "--username=\(RouterSQL.role)",
        "--encoding=UTF8",
        // Sorts by code point, the same on every machine and after every upgrade of the C library.
        "--locale=C.UTF-8",
        // Whoever reaches the socket has been let in by the router.
        "--auth=trust",
        // The smallest: a cluster's first segment is most of its write-ahead log, and all of it is copied.
        "--wal-segsize=1",
        // Costs nothing measurable (pgbench, 15 MB of buffers and 300 MB of data, CPU per transaction: select-only 49
        // µs against 49, updates 410 against 408) and tells a damaged disk from a damaged program.
        "--data-checksums",
        // Synced here, after the files below have been changed.
        "--no-sync",
    ]

    /// Makes the template unless it is there. A template is whole or absent: made aside, synced, renamed.
    func ensure(progress: (String) -> Void) throws(EmbedError) {
        if FileSystem.status(ofPath: path + "/PG_VERSION") != nil { return }
        let parent = try FileSystem.openDirectory(privateDirectory + "/template")
        let staging = try FileSystem.openDirectory(privateDirectory + "/staging")
        let staged = Random.name()
        do throws(EmbedError) {
            if try !isFetched(staged, in: staging) { try make(staged, in: staging, progress: progress) }
            try durability.syncFileSystem(of: try FileSystem.openDirectory(staged, in: staging), path: path)
        } catch {
            try? Removal.remove(staged, in: staging)
            throw error
        }
        // Templates of other versions and settings have had their day; so has a broken one of this.
        for old in try FileSystem.entries(of: parent, path: "template") { try Removal.remove(old, in: parent) }
        guard unsafe renameat(staging.number, staged, parent.number, name) == 0 else {
            throw .fileSystem(operation: "rename", path: path, .last)
        }
        try durability.sync(parent, path: "template")
    }

    private func isFetched(_ staged: String, in staging: borrowing Descriptor) throws(EmbedError) -> Bool {
        guard let cache else { return false }
        try FileSystem.makeDirectory(staged, in: staging)
        if cache.fetch(name, to: try FileSystem.openDirectory(staged, in: staging)) { return true }
        try Removal.remove(staged, in: staging)
        return false
    }

    private func make(
        _ staged: String, in staging: borrowing Descriptor, progress: (String) -> Void
    ) throws(EmbedError) {
        progress("making the template cluster with initdb (PostgreSQL \(installation.version)), once")
        try initialize("\(privateDirectory)/staging/\(staged)")
        let cluster = try FileSystem.openDirectory(staged, in: staging)
        try configure(cluster)
        cache?.keep(cluster, as: name)
        progress("template cluster is ready")
    }

    private func initialize(_ directory: String) throws(EmbedError) {
        var initdb = Program(path: installation.initdb, arguments: Self.arguments + ["--pgdata=\(directory)"])
        initdb.environment = ["PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"]
        let (status, output) = try initdb.run()
        guard status == 0 else {
            let lines = output.split(separator: "\n").map(String.init)
            let reason = lines.last { $0.contains("error:") || $0.contains("FATAL:") }
            throw .templateFailed(lastLine: reason ?? lines.last ?? "exit status \(status)")
        }
    }

    /// The configuration files that every clone begins with.
    private func configure(_ cluster: borrowing Descriptor) throws(EmbedError) {
        let line = "include '\(Self.defaultsFile)'  # routerd's defaults; settings below override them\n"
        try FileSystem.replace("postgresql.conf", in: cluster, with: Array(line.utf8))
        // Who may enter is decided by files outside the cluster.
        for name in ["pg_hba.conf", "pg_ident.conf"] { try FileSystem.unlinkIfPresent(name, in: cluster) }
        try trimWriteAheadLog(of: cluster)
        try removeMaps(from: cluster)
        try removeStatistics(from: cluster)
    }

    private static let trimming = "without free space and visibility maps and statistics"

    /// A quarter of a cluster's files, and every clone makes a file of each. PostgreSQL takes a relation without a map
    /// for one that is full and that not all see, and writes both when it vacuums. Source: PostgreSQL manual, sections
    /// 73.3 and 73.4.
    private func removeMaps(from directory: borrowing Descriptor) throws(EmbedError) {
        for name in try FileSystem.entries(of: directory, path: path) {
            if name.hasSuffix("_fsm") || name.hasSuffix("_vm") {
                try FileSystem.unlinkIfPresent(name, in: directory)
            } else if try FileSystem.status(of: name, in: directory)?.kind == .directory {
                try removeMaps(from: try FileSystem.openDirectory(name, in: directory))
            }
        }
    }

    /// What `initdb` itself inserted and vacuumed, counted: enough for autovacuum to go over the catalogs of every clone a
    /// minute after its boot, half a megabyte of write-ahead log for each. PostgreSQL begins with empty ones. Source:
    /// PostgreSQL manual, section 28.2.
    private func removeStatistics(from cluster: borrowing Descriptor) throws(EmbedError) {
        let directory = try FileSystem.openDirectory("pg_stat", in: cluster)
        for name in try FileSystem.entries(of: directory, path: "pg_stat") {
            try FileSystem.unlinkIfPresent(name, in: directory)
        }
    }

    /// `initdb` leaves segments behind the one that its last checkpoint is in, empty and ready for use: megabytes that
    /// every clone would carry.
    private func trimWriteAheadLog(of cluster: borrowing Descriptor) throws(EmbedError) {
        let global = try FileSystem.openDirectory("global", in: cluster)
        guard let content = try FileSystem.contents(of: "pg_control", in: global), let control = ControlFile(content)
        else {
            throw .notACluster(path: path, reason: "global/pg_control has no valid checksum.")
        }
        let directory = try FileSystem.openDirectory("pg_wal", in: cluster)
        let names = try FileSystem.entries(of: directory, path: "pg_wal").filter(WriteAheadLog.isSegment)
        let current = control.currentSegment(bytes: 1 << 20)
        guard names.contains(current) else { return }
        for name in names where name != current { try FileSystem.unlinkIfPresent(name, in: directory) }
    }

    static let defaultsFile = "routerd.conf"
}
