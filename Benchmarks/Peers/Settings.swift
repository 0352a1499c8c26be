/// A setting whose value is not the same behind routerd and behind the other peers.
struct SettingDifference: Codable {
    let name: String
    let routerd: String
    let others: String
}

/// What a running PostgreSQL is set to (pg_settings, in each setting's base unit).
struct Settings {
    private let values: [String: String]
    /// The ones that a command line can set and that are not at their default.
    private let chosen: [String: String]

    /// What says where a cluster is, and who may connect or read its log; it has no part in its speed.
    private static let ofThePlace: Set = [
        "application_name", "cluster_name", "config_file", "data_directory", "data_directory_mode", "external_pid_file",
        "hba_file", "ident_file", "listen_addresses", "log_destination", "log_directory", "log_file_mode",
        "log_filename", "log_rotation_age", "log_rotation_size", "logging_collector", "port", "ssl_ca_file",
        "ssl_cert_file", "ssl_key_file", "syslog_ident", "unix_socket_directories", "unix_socket_group",
        "unix_socket_permissions",
        // Shown as 0 to a session that came over a Unix socket.
        "tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout",
    ]

    init(tools: Tools, directory: WorkDirectory, port: Int) throws(Failure) {
        let psql = try Psql(
            tools: tools, directory: directory, port: port,
            """
            SELECT name, setting, context <> 'internal' AND setting IS DISTINCT FROM boot_val \
            AND source NOT IN ('client', 'session', 'database', 'user', 'database user') FROM pg_settings
            """)
        guard psql.hasSucceeded else { throw .program("Settings cannot be read.", output: psql.lastWords) }
        var values: [String: String] = [:]
        var chosen: [String: String] = [:]
        for row in psql.rows where row.count == 3 && !Self.ofThePlace.contains(String(row[0])) {
            values[String(row[0])] = String(row[1])
            if row[2] == "t" { chosen[String(row[0])] = String(row[1]) }
        }
        self.values = values
        self.chosen = chosen
    }

    /// For postgres: the same settings.
    var arguments: [String] {
        chosen.sorted { $0.key < $1.key }.flatMap { ["-c", "\($0.key)=\($0.value)"] }
    }

    /// For initdb: what is fixed when a cluster is made. WAL segments are given in megabytes.
    var initdbArguments: [String] {
        let segment = values["wal_segment_size"].flatMap(Int.init).map { ["--wal-segsize", "\($0 >> 20)"] } ?? []
        return segment + (values["data_checksums"] == "on" ? ["--data-checksums"] : [])
    }

    func differences(from others: Settings) -> [SettingDifference] {
        Set(values.keys).union(others.values.keys).sorted().compactMap { name in
            let (mine, theirs) = (values[name] ?? "(none)", others.values[name] ?? "(none)")
            return mine == theirs ? nil : SettingDifference(name: name, routerd: mine, others: theirs)
        }
    }
}
