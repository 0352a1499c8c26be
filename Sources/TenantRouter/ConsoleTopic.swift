import WireProtocol

/// What `SHOW` can show. Columns bear PgBouncer's names where they mean the same.
enum ConsoleTopic: String, CaseIterable {
    case help, version, router, tenants, sizes, instances, clients, servers, queue, pools, databases, users, lists,
        config
    case state

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
            + "HIBERNATE name, WAKE name, INSPECT name ON | OFF, KILL_CLIENT id, SHUTDOWN."
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
        case .state: "whether the router serves or stops"
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
        Column("addr", .text), Column("port", .int8), Column("connect_time", .timestamptz), Column("wait", .int8),
        Column("wait_us", .int8), Column("remote_pid", .int8), Column("application_name", .text), Column("id", .int8),
    ]

    private static let serverColumns = [
        Column("type", .text), Column("user", .text), Column("database", .text), Column("state", .text),
        Column("addr", .text), Column("remote_pid", .int8), Column("link", .int8),
    ]

    private static let queueColumns = [
        Column("position", .int8), Column("database", .text), Column("user", .text), Column("wait", .int8),
        Column("wait_us", .int8), Column("waits_for", .text), Column("id", .int8),
    ]

    private static let poolColumns = [
        Column("database", .text), Column("user", .text), Column("cl_active", .int8), Column("cl_waiting", .int8),
        Column("sv_active", .int8), Column("sv_idle", .int8), Column("sv_login", .int8), Column("maxwait", .int8),
        Column("maxwait_us", .int8), Column("pool_mode", .text),
    ]

    private static let databaseColumns = [
        Column("name", .text), Column("host", .text), Column("port", .int8), Column("database", .text),
        Column("pool_size", .int8), Column("pool_mode", .text), Column("max_connections", .int8),
        Column("current_connections", .int8), Column("paused", .int8), Column("disabled", .int8),
    ]

    /// What PgBouncer shows, and why it is not shown here.
    private static let reasons: [String: String] = [
        "stats": unmeasured, "stats_totals": unmeasured, "stats_averages": unmeasured, "totals": unmeasured,
        "mem": "routerd keeps no caches that SHOW MEM could list: ask the system for the memory of its process",
        "fds": "routerd hands no descriptors over to a successor",
        "sockets": "routerd shows no sockets: SHOW CLIENTS and SHOW SERVERS list both ends of every session",
        "active_sockets": "routerd shows no sockets: SHOW CLIENTS and SHOW SERVERS list both ends of every session",
        "dns_hosts": "routerd resolves no names: every instance runs on this machine",
        "dns_zones": "routerd resolves no names: every instance runs on this machine",
        "peers": "routerd has no peers", "peer_pools": "routerd has no peers",
    ]

    private static let unmeasured =
        "routerd does not count transactions, queries and bytes yet: SHOW ROUTER has what it counts"
}
