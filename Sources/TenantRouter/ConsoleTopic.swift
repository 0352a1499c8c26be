import WireProtocol

/// What `SHOW` can show. Columns bear PgBouncer's names where they mean the same.
enum ConsoleTopic: String, CaseIterable {
    case help, version, router, tenants, sizes, instances, clients, servers, queue, pools, databases, users, lists,
        config
    case state, stats
    case statsTotals = "stats_totals"
    case statsAverages = "stats_averages"
    case totals, mem

    /// The word behind SHOW.
    init(_ words: [ConsoleWord]) throws(ErrorMessage) {
        guard words.count == 1, let word = words[0].keyword else {
            throw .syntax("SHOW takes one word", hint: Self.whatThereIs)
        }
        guard let topic = Self(rawValue: word) else {
            if let reason = Self.reasons[word] { throw ErrorMessage(severity: .error, .featureNotSupported, reason) }
            throw .unknownCommand("SHOW \(word.uppercased())")
        }
        self = topic
    }

    /// The hint of whoever was not understood.
    static var whatThereIs: String {
        "There are SHOW \(allCases.map { $0.rawValue.uppercased() }.joined(separator: " | ")), DROP name, "
            + "HIBERNATE name, WAKE name, KILL name, PAUSE [name], RESUME [name], DISABLE name, ENABLE name, "
            + "RECONNECT [name], WAIT_CLOSE [name], INSPECT name ON | OFF, KILL_CLIENT id, RELOAD, SET name = value, "
            + "SHUTDOWN."
    }

    var columns: [Column] {
        switch self {
        case .help: [Column("command", .text), Column("meaning", .text)]
        case .version: [Column("version", .text)]
        case .router: Self.routerColumns
        case .tenants: Self.tenantColumns
        case .sizes: Self.tenantColumns + [Column("size_bytes", .int8)]
        case .instances: Self.instanceColumns
        case .clients: Self.clientColumns
        case .servers: Self.serverColumns
        case .queue: Self.queueColumns
        case .pools: Self.poolColumns
        case .databases: Self.databaseColumns
        case .users: [Column("name", .text), Column("pool_mode", .text)]
        case .lists: [Column("list", .text), Column("items", .int8)]
        case .config:
            [Column("key", .text), Column("value", .text), Column("default", .text), Column("changeable", .text)]
        case .state: [Column("key", .text), Column("value", .text)]
        case .stats: Self.statsColumns
        case .statsTotals, .statsAverages: [Column("database", .text)] + Self.figureColumns
        case .totals: [Column("name", .text), Column("value", .int8)]
        case .mem: [Column("name", .text)] + ["size", "used", "free", "memtotal"].map { Column($0, .int8) }
        }
    }

    /// What `SHOW HELP` says of it.
    var meaning: String {
        switch self {
        case .help: "this list"
        case .version: "the versions of routerd and of its PostgreSQL"
        case .router: "the router itself, one row"
        case .tenants: "every tenant on disk, running or not; wakes nobody"
        case .sizes: "the same, with what each takes of the disk"
        case .instances: "every tenant that is not cold"
        case .clients: "every client"
        case .servers: "every backend connection"
        case .queue: "the clients that wait, and for what"
        case .pools: "clients by tenant and user, in PgBouncer's columns"
        case .databases: "the tenants that are not cold, in PgBouncer's columns"
        case .users: "the users that are connected"
        case .lists: "how many there are of everything"
        case .config: "the options and their values"
        case .state: "whether the router serves or stops, and whether it is paused"
        case .stats: "transactions, queries, bytes and times by tenant, since the start and in the last minute"
        case .statsTotals: "the same since the start"
        case .statsAverages: "the same in the last minute"
        case .totals: "the same of all tenants together"
        case .mem: "what the router itself takes of the memory"
        }
    }

    private static let routerColumns = [
        Column("version", .text), Column("postgres_version", .text), Column("pid", .int8), Column("port", .int8),
        Column("address", .text), Column("base_directory", .text), Column("started", .timestamptz),
        Column("uptime_s", .int8), Column("state", .text), Column("confinement", .text),
        Column("active_connections", .int8), Column("waiting_clients", .int8), Column("sessions_total", .int8),
        Column("instances_total", .int8), Column("total_instances", .int8), Column("max_instances", .int8),
        Column("spares", .int8), Column("max_connections", .int8), Column("max_clients", .int8),
    ]

    private static let tenantColumns = [
        Column("name", .text), Column("state", .text), Column("sessions", .int8), Column("waiting", .int8),
        Column("locked", .bool), Column("pid", .int8), Column("since", .timestamptz),
    ]

    private static let instanceColumns = tenantColumns + [Column("boot_ms", .int8)]

    private static let clientColumns = [
        Column("type", .text), Column("user", .text), Column("database", .text), Column("state", .text),
        Column("addr", .text), Column("port", .int8), Column("local_addr", .text), Column("local_port", .int8),
        Column("connect_time", .timestamptz), Column("request_time", .timestamptz), Column("wait", .int8),
        Column("wait_us", .int8), Column("close_needed", .int8), Column("ptr", .text), Column("link", .text),
        Column("remote_pid", .int8), Column("tls", .text), Column("application_name", .text), Column("id", .int8),
    ]

    /// A session's backend has its session's number.
    private static let serverColumns = clientColumns

    private static let queueColumns = [
        Column("position", .int8), Column("database", .text), Column("user", .text), Column("wait", .int8),
        Column("wait_us", .int8), Column("waits_for", .text), Column("id", .int8),
    ]

    private static let poolColumns = [
        Column("database", .text), Column("user", .text), Column("cl_active", .int8), Column("cl_waiting", .int8),
        Column("cl_active_cancel_req", .int8), Column("cl_waiting_cancel_req", .int8), Column("sv_active", .int8),
        Column("sv_active_cancel", .int8), Column("sv_being_canceled", .int8), Column("sv_idle", .int8),
        Column("sv_used", .int8), Column("sv_tested", .int8), Column("sv_login", .int8), Column("maxwait", .int8),
        Column("maxwait_us", .int8), Column("pool_mode", .text),
    ]

    private static let databaseColumns = [
        Column("name", .text), Column("host", .text), Column("port", .int8), Column("database", .text),
        Column("force_user", .text), Column("pool_size", .int8), Column("min_pool_size", .int8),
        Column("reserve_pool", .int8), Column("pool_mode", .text), Column("max_connections", .int8),
        Column("current_connections", .int8), Column("paused", .int8), Column("disabled", .int8),
    ]

    private static let figureColumns = [
        "xact_count", "query_count", "bytes_received", "bytes_sent", "xact_time", "query_time", "wait_time",
    ].map { Column($0, .int8) }

    private static let statsColumns =
        [Column("database", .text)]
        + [
            "total_xact_count", "total_query_count", "total_received", "total_sent", "total_xact_time",
            "total_query_time", "total_wait_time", "avg_xact_count", "avg_query_count", "avg_recv", "avg_sent",
            "avg_xact_time", "avg_query_time", "avg_wait_time",
            // As PgBouncer called total_query_count up to 1.7; exporters of that time still ask for it.
            "total_requests",
        ].map { Column($0, .int8) }

    /// What PgBouncer shows, and why it is not shown here.
    private static let reasons: [String: String] = [
        "fds": "routerd hands no descriptors over to a successor",
        "sockets": "routerd shows no sockets: SHOW CLIENTS and SHOW SERVERS list both ends of every session",
        "active_sockets": "routerd shows no sockets: SHOW CLIENTS and SHOW SERVERS list both ends of every session",
        "dns_hosts": "routerd resolves no names: every instance runs on this machine",
        "dns_zones": "routerd resolves no names: every instance runs on this machine",
        "peers": "routerd has no peers", "peer_pools": "routerd has no peers",
    ]
}
