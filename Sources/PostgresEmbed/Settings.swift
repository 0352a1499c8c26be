/// What every instance is started with: two tables, each value with its reason.
///
/// *Pinned* values are arguments of the postmaster, which nothing inside the cluster overrides. *Defaults* are written
/// to `routerd.conf` before each boot; the tenant's `postgresql.conf` includes it in its first line, so that lines
/// behind it, and `ALTER SYSTEM`, win. Source: PostgreSQL manual, chapter 20.
struct Settings {
    /// Client sessions that always fit.
    var clients: Int
    /// Processors that all instances share.
    var processors: Int
    /// Bytes of memory that an instance may count on when all of them run.
    var memoryShare: Int
    /// Bytes of memory that all instances share.
    var memory: Int
    var majorVersion: Int
    /// A name of the time zone database.
    var timeZone: String
    var durability: Durability
    /// Asked for, for all tenants; in the order given, behind the defaults.
    var additional: [(name: String, value: String)]

    /// Sizes for `options`, from what the machine has where they do not say.
    init(options: ClusterStoreOptions, majorVersion: Int, machine: Machine) {
        self.clients = options.maxConnections
        self.processors = options.processors ?? machine.processors
        self.memory = options.memoryBytes ?? machine.memoryBytes
        self.memoryShare = memory / max(options.maxInstances, 1)
        self.majorVersion = majorVersion
        self.timeZone = machine.timeZone
        self.durability = options.durability
        self.additional = options.settings
    }
}

extension Settings {
    // MARK: Pinned

    /// Where an instance's files outside its own directory are.
    struct Places {
        var dataDirectory: String
        var socketDirectory: String
        var hostBasedAuthentication: String
        var identityMap: String
    }

    /// The arguments of the postmaster. `name` is what `ps` shows.
    func pinned(_ places: Places, name: String) -> [String] {
        pinnedValues(places, name: name).flatMap { ["-c", "\($0.name)=\($0.value)"] }
    }

    private func pinnedValues(_ places: Places, name: String) -> [(name: String, value: String)] {
        let values: [(name: String, value: String)] = [
            // Both set, so that no line in the cluster leads the postmaster into another directory.
            ("data_directory", places.dataDirectory),
            // Who may enter is decided before the tenant's files are read, in files that it cannot write.
            ("hba_file", places.hostBasedAuthentication),
            ("ident_file", places.identityMap),
            // The router is the only way in.
            ("listen_addresses", ""),
            ("unix_socket_directories", places.socketDirectory),
            // Nobody connects while the socket has a name, which others of this user could guess; the router gives
            // itself the right once it has taken the name away.
            ("unix_socket_permissions", "0000"),
            ("port", Self.port),
            // One stream to the file that the router gave it and bounds; a collector would write inside the cluster,
            // without a bound.
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
            // Shared memory of statistics and parallel queries in files of the cluster: /dev/shm is one for all tenants.
            // The kernel writes what changes in them to the disk, over and over, so the first megabytes come from the
            // main segment (untouched until used): one is what statistics grow by, the others are parallel queries'.
            ("shared_memory_type", "mmap"),
            ("dynamic_shared_memory_type", "mmap"),
            ("min_dynamic_shared_memory", majorVersion >= 14 ? "4MB" : ""),
            // Would be taken at boot, as a whole, by every instance.
            ("huge_pages", "off"),
            // LLVM is 100 MB of libraries for each backend that meets one expensive plan.
            ("jit", "off"),
            // The router speaks to it without, on a socket nobody else reaches.
            ("ssl", "off"),
            // An instance whose backend crashed comes back by itself, in its own crash domain.
            ("restart_after_crash", "on"),
            ("cluster_name", name),
        ]
        return values.filter { $0.name != "min_dynamic_shared_memory" || !$0.value.isEmpty }
    }

    /// The port is part of the socket's name only.
    static let port = "5432"

    // MARK: Defaults

    /// The content of `routerd.conf`.
    func defaults() -> String {
        var lines = [
            "# Rewritten by routerd before each boot. Settings of your own belong in postgresql.conf, below the",
            "# include line, or in ALTER SYSTEM: both override what is here.",
        ]
        for (name, value) in table() + additional { lines.append("\(name) = '\(value.quoted())'") }
        return lines.joined(separator: "\n") + "\n"
    }

    private func table() -> [(name: String, value: String)] {
        var values: [(name: String, value: String)] = [
            // Connections: the clients', the router's own, one that PostgreSQL keeps free for superusers, and two for
            // backends that are still ending while their successors begin.
            ("max_connections", "\(clients + 1 + Self.superuserReserve + 2)"),
            ("superuser_reserved_connections", "\(Self.superuserReserve)"),

            // Memory. A buffer costs memory once it is used and then stays, so an idle instance is small with any of
            // these; a sixteenth of its share lets all of them be busy at once, beside the page cache that they share.
            ("shared_buffers", kilobytes(memoryShare / 16, atLeast: 1 << 20, atMost: 128 << 20)),
            ("wal_buffers", "256kB"),
            // Only what sorts and hashes ask for; PostgreSQL's own.
            ("work_mem", "4MB"),
            ("maintenance_work_mem", kilobytes(memoryShare / 4, atLeast: 4 << 20, atMost: 64 << 20)),
            // What the planner may expect of the page cache: busy instances share it, idle ones leave it.
            ("effective_cache_size", kilobytes(memory / 4, atLeast: 16 << 20, atMost: 64 << 30)),

            // Never below what replication, a backup and a subscription need.
            ("wal_level", "replica"),
            ("max_wal_senders", "2"),
            ("max_replication_slots", "2"),
            // One follows a subscription, another one copies the tables that are new to it: with less than two nothing
            // ever arrives.
            ("max_logical_replication_workers", "2"),
            ("max_sync_workers_per_subscription", "1"),
            // The launcher of logical replication, its workers, and those of parallel queries.
            ("max_worker_processes", "\(3 + parallelWorkers)"),
            ("max_parallel_workers", "\(parallelWorkers)"),
            ("max_parallel_workers_per_gather", "\(min(parallelWorkers, 2))"),
            ("max_parallel_maintenance_workers", "\(min(parallelWorkers, 2))"),
            // A tenant has one database, mostly.
            ("autovacuum_max_workers", "1"),

            // Durability as the manual promises it, or none; said here so that `SHOW` and the file tell.
            ("fsync", durability == .full ? "on" : "off"),
            ("synchronous_commit", durability == .full ? "on" : "off"),
            ("full_page_writes", durability == .full ? "on" : "off"),
            // Segments are 1 MB: an idle tenant keeps two, a busy one checkpoints by time rather than by volume.
            ("min_wal_size", "2MB"),
            ("max_wal_size", "512MB"),

            // As many pages a second as PostgreSQL's own 100 in 200 ms, at a fifth of the wakeups: after the last query
            // it looks for two minutes more before it sleeps, which was most of what a hundred idle tenants cost.
            ("bgwriter_delay", "1s"),
            ("bgwriter_lru_maxpages", "500"),

            // A log that is read when something went wrong: no line for a healthy checkpoint.
            ("log_checkpoints", "off"),
            ("log_line_prefix", "%m [%p] "),
            ("log_timezone", timeZone),

            // What initdb would have written for the locale of the template.
            ("timezone", timeZone),
            ("datestyle", "iso, mdy"),
            ("lc_messages", "C.UTF-8"),
            ("lc_monetary", "C.UTF-8"),
            ("lc_numeric", "C.UTF-8"),
            ("lc_time", "C.UTF-8"),
            ("default_text_search_config", "pg_catalog.english"),
        ]
        if majorVersion >= 14 {
            // A client that vanished in the middle of a long query has its query ended.
            values.append(("client_connection_check_interval", "2s"))
        }
        return values
    }

    private static let superuserReserve = 1

    /// As many as there are processors, within reason: each slot costs shared memory whether it is used or not.
    private var parallelWorkers: Int { min(max(processors, 2), 8) }

    private func kilobytes(_ bytes: Int, atLeast: Int, atMost: Int) -> String {
        "\(min(max(bytes, atLeast), atMost) >> 10)kB"
    }
}

extension Settings {
    // MARK: Additional ones

    /// Whether the settings that were asked for can be had; asks PostgreSQL, and only when there are any.
    ///
    /// - Throws: `settingPinned`, `settingRefused`.
    func check(with installation: PostgresInstallation) throws(EmbedError) {
        let places = Places(dataDirectory: "", socketDirectory: "", hostBasedAuthentication: "", identityMap: "")
        let pinned = Set(pinnedValues(places, name: "").map(\.name) + ["config_file"])
        for (name, value) in additional {
            guard Self.isName(name) else {
                throw .settingRefused(name: name, reason: "this is not the name of a setting")
            }
            // PostgreSQL's names know no case.
            if pinned.contains(name.lowercased()) { throw .settingPinned(name: name) }
            if value.utf8.contains(0) {
                throw .settingRefused(name: name, reason: "its value contains a zero byte")
            }
            try ask(installation, about: name, value)
        }
    }

    /// `[A-Za-z_][A-Za-z0-9_.]*`
    private static func isName(_ name: String) -> Bool {
        let isInitial = { (byte: UInt8) in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_")
        }
        let isDigitOrStop = { (byte: UInt8) in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: ".")
        }
        guard let first = name.utf8.first, isInitial(first) else { return false }
        return name.utf8.allSatisfy { isInitial($0) || isDigitOrStop($0) }
    }

    /// 20 ms for each. `-C` first, or PostgreSQL would look at who runs it. Any directory and no configuration will do: PostgreSQL judges its arguments first.
    private func ask(_ installation: PostgresInstallation, about name: String, _ value: String) throws(EmbedError) {
        var postgres = Program(
            path: installation.postgres,
            arguments: ["-C", name, "-D", "/", "-c", "config_file=/dev/null", "-c", "\(name)=\(value)"])
        postgres.environment = ["PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"]
        let (status, output) = try postgres.run()
        if status == 0 { return }
        let marker = "FATAL:  "
        let line = output.split(separator: "\n").first { $0.contains(marker) } ?? "PostgreSQL does not take it"
        throw .settingRefused(name: name, reason: String(line.split(separator: marker).last ?? line))
    }
}

extension String {
    /// For a value between single quotes in a configuration file. Source: PostgreSQL manual, section 20.1.2.
    fileprivate func quoted() -> String {
        var result = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "'", "\\": result.unicodeScalars.append(contentsOf: [scalar, scalar])
            // Would end the line, and begin one of its own.
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
