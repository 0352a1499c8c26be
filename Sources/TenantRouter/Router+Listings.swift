import Reactor
import TenantPool
import WireProtocol

// What SHOW shows, row by row.

extension Router {
    /// - Parameters:
    ///   - topic: anything but the tenants, which a worker reads.
    ///   - view: what the lanes were asked for it.
    func rows(of topic: ConsoleTopic, _ view: LaneView) -> [[ResultValue]] {
        let sessions = view.sessions
        return switch topic {
        case .help: Self.help
        case .version: [[.text("routerd \(RouterVersion.current) (PostgreSQL \(store.installation.version))")]]
        case .router: [routerRow]
        case .tenants, .sizes: []
        case .instances: instanceRows
        case .clients: sessions.map { clientRow($0) }
        case .servers: sessions.compactMap { serverRow($0) } + view.kept.map { serverRow($0) }
        case .queue: queueRows(sessions)
        case .pools: poolRows(view)
        case .databases: databaseRows
        case .users: users(sessions).map { [.text($0), .text("session")] }
        case .lists: lists(view).map { [.text($0), .int8(Int64($1))] }
        case .config: configRows
        case .state:
            [
                [.text("state"), .text(lifetime.word)], [.text("paused"), .text(pauses.coversAll ? "yes" : "no")],
                [.text("suspended"), .text("no")],
            ]
        case .stats: statsRows(view)
        case .statsTotals: statsTotalsRows(view)
        case .statsAverages: statsAveragesRows(view)
        case .totals: totalsRows(view)
        case .mem: memoryRows(view)
        }
    }

    private static let help: [[ResultValue]] =
        ConsoleTopic.allCases.map { [.text("SHOW \($0.rawValue.uppercased())"), .text($0.meaning)] } + [
            [.text("DROP name"), .text("stops a tenant and removes its directory for good")],
            [.text("HIBERNATE name"), .text("stops an instance until somebody connects")],
            [.text("WAKE name"), .text("starts an instance")],
            [.text("INSPECT name ON | OFF"), .text("prints the messages of a tenant's sessions to the log")],
            [.text("PAUSE [name]"), .text("lets new clients wait; done when the present ones have left")],
            [.text("RESUME [name]"), .text("ends a pause")],
            [.text("DISABLE name"), .text("refuses new clients")],
            [.text("ENABLE name"), .text("lets them in again")],
            [.text("RECONNECT [name]"), .text("replaces backends when their sessions end")],
            [.text("WAIT_CLOSE [name]"), .text("waits until those backends have gone")],
            [.text("KILL name"), .text("ends a tenant's sessions and its instance at once, and pauses it")],
            [.text("KILL_CLIENT id"), .text("ends one session; SHOW CLIENTS has the numbers")],
            [.text("RELOAD"), .text("reads the configuration file again")],
            [.text("SET name = value"), .text("changes an option until the next RELOAD or start")],
            [.text("SHUTDOWN [HURRY]"), .text("stops the router; a second one hurries")],
        ]
}

// MARK: - The router and its instances

extension Router {
    private var routerRow: [ResultValue] {
        let now = statistics
        return [
            .text(now.version), .text(now.postgresVersion), .int8(Int64(now.processID)), .int8(Int64(now.port)),
            .text(now.address), .text(now.baseDirectory), .timestamptz(startedAt),
            .int8(reactor.now.components.seconds), .text(now.state), .text(now.confinement),
            .int8(Int64(now.activeConnections)), .int8(Int64(now.waitingClients)), .int8(Int64(now.sessionsTotal)),
            .int8(Int64(now.instancesTotal)), .int8(Int64(now.pool.totalInstances)),
            .int8(Int64(now.pool.maxInstances)), .int8(Int64(now.pool.spares)), .int8(Int64(now.pool.maxConnections)),
            .int8(Int64(now.maxClients)),
        ]
    }

    private var instanceRows: [[ResultValue]] {
        pool.snapshot.sorted { $0.tenant.string < $1.tenant.string }.map { snapshot in
            let instance = snapshot.instance.flatMap { instances[$0] }
            return status(snapshot).row + [instance?.bootTime.map { .int8($0.inMilliseconds) } ?? .null]
        }
    }

    /// Tenants that are not cold, and those that clients are kept away from.
    private var databaseRows: [[ResultValue]] {
        var databases = statistics.pool.instances
        let kept = pauses.tenants.union(commons.disabled).subtracting(pool.snapshot.map(\.tenant))
        databases += kept.map { DatabaseStatus(dbName: $0.string, state: TenantState.cold.rawValue) }
        return databases.sorted { $0.dbName < $1.dbName }.map { databaseRow($0) }
    }

    private func databaseRow(_ database: DatabaseStatus) -> [ResultValue] {
        let name = database.dbName
        let tenant = try? TenantName(name)
        let isPaused = tenant.map { pauses.holds($0) } ?? false
        let isDisabled = tenant.map { commons.isDisabled($0) } ?? false
        return [
            .text(name), .null, .int8(Int64(port)), .text(name), .null, .int8(Int64(limits.maxConnections)), .int8(0),
            .int8(0), .text("session"), .int8(Int64(limits.maxConnections)), .int8(Int64(database.sessions)),
            .int8(isPaused ? 1 : 0), .int8(isDisabled ? 1 : 0),
        ]
    }

    private var configRows: [[ResultValue]] {
        RouterOption.all.map { option in
            let name = String(option.name.map { $0 == "-" ? "_" : $0 })
            let value = option.name == RouterOption.maxClients.name ? "\(maxClients)" : option.value(in: configuration)
            return [name, value, option.fallback, option.change == .restart ? "no" : "yes"].map(ResultValue.text)
        }
    }
}

// MARK: - Clients

extension Router {
    private func clientRow(_ session: SessionEntry) -> [ResultValue] {
        let (wait, waitMicroseconds) = waited(session)
        let number = session.number
        return [
            .text("C"), .text(session.user), .text(session.tenant), .text(session.state.rawValue),
            .text(session.peer.map { $0.port == nil ? "unix" : $0.host } ?? ""),
            (session.peer?.port).map { .int8(Int64($0)) } ?? .null, .null,
            session.peer?.port == nil ? .null : .int8(Int64(port)), .timestamptz(wallTime(before: session.age)),
            .timestamptz(wallTime(before: session.sinceRequest)), wait, waitMicroseconds, .int8(0), .text("C\(number)"),
            .text(session.serverState == nil ? "" : "S\(number)"), session.backend.map { .int8(Int64($0)) } ?? .null,
            .text(""), .text(session.application), .int8(Int64(number)),
        ]
    }

    private func serverRow(_ session: SessionEntry) -> [ResultValue]? {
        guard let state = session.serverState else { return nil }
        let number = session.number
        return [
            .text("S"), .text(session.user), .text(session.tenant), .text(state.rawValue), .text("unix"), .null, .null,
            .null, .timestamptz(wallTime(before: session.age)), .timestamptz(wallTime(before: session.sinceRequest)),
            .int8(0), .int8(0), .int8(isToReconnect(session) ? 1 : 0), .text("S\(number)"), .text("C\(number)"),
            session.backend.map { .int8(Int64($0)) } ?? .null, .text(""), .text(session.application),
            .int8(Int64(number)),
        ]
    }

    /// Between two sessions it is nobody's.
    private func serverRow(_ backend: KeptEntry) -> [ResultValue] {
        [
            .text("S"), .text(backend.user), .text(backend.tenant), .text(backend.state.rawValue), .text("unix"), .null,
            .null,
            .null, .timestamptz(wallTime(before: backend.age)), .null, .int8(0), .int8(0), .int8(0),
            .text("K\(backend.number)"), .text(""), backend.backend.map { .int8(Int64($0)) } ?? .null, .text(""),
            .text(""), .null,
        ]
    }

    private func wallTime(before age: Duration) -> Int64 { WallClock.now - age.inMicroseconds }

    /// How long a client has waited that waits, in whole seconds and the microseconds beside them.
    private func waited(_ session: SessionEntry) -> (ResultValue, ResultValue) {
        guard session.state == .waiting else { return (.int8(0), .int8(0)) }
        let microseconds = session.age.inMicroseconds
        return (.int8(microseconds / 1_000_000), .int8(microseconds % 1_000_000))
    }

    /// Each tenant's queue in the order in which its clients came.
    private func queueRows(_ sessions: [SessionEntry]) -> [[ResultValue]] {
        let waiting = sessions.compactMap { session in session.queuedFor.map { (tenant: $0, session: session) } }
        var positions: [TenantName: Int64] = [:]
        let inOrder = waiting.sorted { left, right in
            (left.tenant.string, left.session.number) < (right.tenant.string, right.session.number)
        }
        return inOrder.map { tenant, session in
            positions[tenant, default: 0] += 1
            let (wait, waitMicroseconds) = waited(session)
            return [
                .int8(positions[tenant] ?? 0), .text(tenant.string), .text(session.user), wait,
                waitMicroseconds, waitsFor(tenant),
                .int8(Int64(session.number)),
            ]
        }
    }
}

extension Router {
    private func waitsFor(_ tenant: TenantName) -> ResultValue {
        if pauses.holds(tenant) { return .text("the end of the pause (RESUME)") }
        return pool.limit(holding: tenant).map { .text($0.word) } ?? .null
    }
}

extension PoolLimit {
    /// What is waited for.
    fileprivate var word: String {
        switch self {
        case .instances: "another instance to become idle (--max-instances)"
        case .connections: "a session to end (--max-connections)"
        case .starts: "other instances to start"
        case .startup: "the instance to start"
        }
    }
}

// MARK: - Sums

extension Router {
    private struct PoolKey: Hashable {
        let database: String
        let user: String
    }

    private struct PoolSums {
        var active: Int64 = 0
        var idle: Int64 = 0
        var tested: Int64 = 0
        var waiting: Int64 = 0
        var login: Int64 = 0
        var longestWait: Int64 = 0
    }

    private func poolRows(_ view: LaneView) -> [[ResultValue]] {
        var pools: [PoolKey: PoolSums] = [:]
        for session in view.sessions where session.serverState != nil || session.state != .active {
            let key = PoolKey(database: session.tenant, user: session.user)
            switch session.state {
            case .active: pools[key, default: PoolSums()].active += 1
            case .waiting:
                let wait = session.age.inMicroseconds
                pools[key, default: PoolSums()].waiting += 1
                pools[key, default: PoolSums()].longestWait = max(wait, pools[key]?.longestWait ?? 0)
            case .connecting: pools[key, default: PoolSums()].login += 1
            case .login, .closing: break
            }
        }
        for backend in view.kept {
            let key = PoolKey(database: backend.tenant, user: backend.user)
            switch backend.state {
            case .tested: pools[key, default: PoolSums()].tested += 1
            case .idle: pools[key, default: PoolSums()].idle += 1
            case .closing: break
            }
        }
        return pools.sorted { ($0.key.database, $0.key.user) < ($1.key.database, $1.key.user) }.map { key, sums in
            [
                .text(key.database), .text(key.user), .int8(sums.active), .int8(sums.waiting), .int8(0), .int8(0),
                .int8(sums.active), .int8(0), .int8(0), .int8(sums.idle), .int8(0), .int8(sums.tested),
                .int8(sums.login),
                .int8(sums.longestWait / 1_000_000), .int8(sums.longestWait % 1_000_000), .text("session"),
            ]
        }
    }

    private func users(_ sessions: [SessionEntry]) -> [String] {
        Set(sessions.map(\.user).filter { !$0.isEmpty }).sorted()
    }

    private func lists(_ view: LaneView) -> [(String, Int)] {
        let sessions = view.sessions
        return [
            ("databases", pool.snapshot.count), ("users", users(sessions).count),
            ("pools", poolRows(view).count), ("free_clients", max(0, maxClients - commons.counts.admitted)),
            ("used_clients", sessions.count), ("login_clients", sessions.filter { $0.state == .login }.count),
            ("free_servers", view.kept.count { $0.state == .idle }),
            ("used_servers", sessions.filter { $0.serverState != nil }.count),
            // No names are resolved: every instance runs on this machine.
            ("dns_names", 0), ("dns_zones", 0), ("dns_queries", 0), ("dns_pending", 0),
        ]
    }
}
