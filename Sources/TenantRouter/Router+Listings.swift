import Reactor
import TenantPool
import WireProtocol

// What SHOW shows, row by row.

extension Router {
    /// - Parameter topic: anything but the tenants, which a worker reads.
    func rows(of topic: ConsoleTopic) -> [[ResultValue]] {
        switch topic {
        case .help: Self.help
        case .version: [[.text("routerd \(RouterVersion.current) (PostgreSQL \(store.installation.version))")]]
        case .router: [routerRow]
        case .tenants, .sizes: []
        case .instances: instanceRows
        case .clients: eachSession { clientRow($0) }
        case .servers: eachSession { serverRow($0) } + keptBackends.all.map { serverRow($0) }
        case .queue: queueRows
        case .pools: poolRows
        case .databases: databaseRows
        case .users: users.map { [.text($0), .text("session")] }
        case .lists: lists.map { [.text($0), .int8(Int64($1))] }
        case .config: configRows
        case .state:
            [
                [.text("state"), .text(lifetime.word)], [.text("paused"), .text(pauses.coversAll ? "yes" : "no")],
                [.text("suspended"), .text("no")],
            ]
        case .stats: statsRows
        case .statsTotals: statsTotalsRows
        case .statsAverages: statsAveragesRows
        case .totals: totalsRows
        case .mem: memoryRows
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
            .text(now.address), .text(now.baseDirectory), .timestamptz(wallTime(of: .zero)),
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
        let kept = pauses.named.subtracting(pool.snapshot.map(\.tenant))
        databases += kept.map { DatabaseStatus(dbName: $0.string, state: TenantState.cold.rawValue) }
        return databases.sorted { $0.dbName < $1.dbName }.map { databaseRow($0) }
    }

    private func databaseRow(_ database: DatabaseStatus) -> [ResultValue] {
        let name = database.dbName
        let tenant = try? TenantName(name)
        let isPaused = tenant.map { pauses.holds($0) } ?? false
        let isDisabled = tenant.map { pauses.disabled.contains($0) } ?? false
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

/// Where a client stands, in PgBouncer's words.
enum ClientState: String {
    /// It has not said what it wants.
    case login
    /// It waits for an instance.
    case waiting
    /// A backend is being connected.
    case connecting
    /// It has a backend, or talks to the console.
    case active
    /// Its end is under way.
    case closing

    init(_ stage: Session.Stage) {
        switch stage {
        case .awaitingStartup: self = .login
        case .arriving(_, .queued): self = .waiting
        case .arriving: self = .connecting
        case .relaying, .frontendEnded, .console: self = .active
        case .flushing, .cancelling, .lingering, .abandoning, .closed: self = .closing
        }
    }
}

extension Router {
    /// Every session's row, in the order they stand in.
    func eachSession<Row>(_ row: (Token) -> Row?) -> [Row] {
        var rows: [Row] = []
        var slot: UInt32 = 0
        while let session = sessions.first(from: slot) {
            if let row = row(session) { rows.append(row) }
            slot = session.slot + 1
        }
        return rows
    }

    private func clientRow(_ session: Token) -> [ResultValue]? {
        let (label, state) = (sessions[session].label, ClientState(sessions[session].stage))
        let (peer, number) = (reactor.peer(of: sessions[session].frontend), sessions[session].number)
        let (wait, waitMicroseconds) = waited(session)
        return [
            .text("C"), .text(label.user), .text(label.tenant), .text(state.rawValue),
            .text(peer.map { $0.port == nil ? "unix" : $0.host } ?? ""), (peer?.port).map { .int8(Int64($0)) } ?? .null,
            .null, peer?.port == nil ? .null : .int8(Int64(port)), .timestamptz(wallTime(of: label.connectedAt)),
            requestTime(session), wait, waitMicroseconds, .int8(0), .text("C\(number)"),
            .text(backendState(session) == nil ? "" : "S\(number)"), backendProcess(session), .text(""),
            .text(label.application), .int8(Int64(number)),
        ]
    }

    private func serverRow(_ session: Token) -> [ResultValue]? {
        guard let state = backendState(session) else { return nil }
        let (label, number) = (sessions[session].label, sessions[session].number)
        return [
            .text("S"), .text(label.user), .text(label.tenant), .text(state), .text("unix"), .null, .null, .null,
            .timestamptz(wallTime(of: label.connectedAt)), requestTime(session), .int8(0), .int8(0),
            .int8(isToReconnect(session) ? 1 : 0), .text("S\(number)"), .text("C\(number)"), backendProcess(session),
            .text(""), .text(label.application), .int8(Int64(number)),
        ]
    }

    /// Between two sessions it is nobody's.
    private func serverRow(_ backend: KeptBackend) -> [ResultValue] {
        let state =
            switch backend.stage {
            case .resetting: "tested"
            case .kept: "idle"
            case .leaving: "closing"
            }
        return [
            .text("S"), .text(backend.user), .text(backend.tenant), .text(state), .text("unix"), .null, .null, .null,
            .timestamptz(wallTime(of: backend.opening.openedAt)), .null, .int8(0), .int8(0), .int8(0),
            .text("K\(backend.number)"), .text(""), backend.processID.map { .int8(Int64($0)) } ?? .null, .text(""),
            .text(""), .null,
        ]
    }

    /// Where its backend stands; nil where it has none.
    private func backendState(_ session: Token) -> String? {
        switch sessions[session].stage {
        case .arriving(_, .connecting), .arriving(_, .startingUp): "login"
        case .relaying, .frontendEnded: "active"
        case .abandoning: "closing"
        case .awaitingStartup, .arriving, .flushing, .cancelling, .console, .lingering, .closed: nil
        }
    }

    private func backendProcess(_ session: Token) -> ResultValue {
        cancelKeys.backend(ofSession: session.slot).map { .int8(Int64($0)) } ?? .null
    }

    /// When the client last asked something; before it did, when it connected.
    private func requestTime(_ session: Token) -> ResultValue {
        let asked = sessions[session].meter.askedAt.map { Duration.nanoseconds($0) }
        return .timestamptz(wallTime(of: asked ?? sessions[session].label.connectedAt))
    }

    /// How long a client has waited that waits, in whole seconds and the microseconds beside them.
    private func waited(_ session: Token) -> (ResultValue, ResultValue) {
        guard ClientState(sessions[session].stage) == .waiting else { return (.int8(0), .int8(0)) }
        let microseconds = (reactor.now - sessions[session].label.connectedAt).inMicroseconds
        return (.int8(microseconds / 1_000_000), .int8(microseconds % 1_000_000))
    }

    /// Each tenant's queue in the order in which its clients came.
    private var queueRows: [[ResultValue]] {
        let waiting = eachSession { session -> (tenant: TenantName, session: Token)? in
            guard case .arriving(let arrival, .queued) = sessions[session].stage else { return nil }
            return (arrival.tenant, session)
        }
        var positions: [TenantName: Int64] = [:]
        let inOrder = waiting.sorted { left, right in
            let (leftNumber, rightNumber) = (sessions[left.session].number, sessions[right.session].number)
            return (left.tenant.string, leftNumber) < (right.tenant.string, rightNumber)
        }
        return inOrder.map { tenant, session in
            positions[tenant, default: 0] += 1
            let (wait, waitMicroseconds) = waited(session)
            return [
                .int8(positions[tenant] ?? 0), .text(tenant.string), .text(sessions[session].label.user), wait,
                waitMicroseconds, waitsFor(tenant),
                .int8(Int64(sessions[session].number)),
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

    private var poolRows: [[ResultValue]] {
        var pools: [PoolKey: PoolSums] = [:]
        for session in eachSession({ $0 }) {
            let label = sessions[session].label
            let key = PoolKey(database: label.tenant, user: label.user)
            switch sessions[session].stage {
            case .relaying, .frontendEnded: pools[key, default: PoolSums()].active += 1
            case .arriving(_, .queued):
                let wait = (reactor.now - label.connectedAt).inMicroseconds
                pools[key, default: PoolSums()].waiting += 1
                pools[key, default: PoolSums()].longestWait = max(wait, pools[key]?.longestWait ?? 0)
            case .arriving: pools[key, default: PoolSums()].login += 1
            case .awaitingStartup, .flushing, .cancelling, .console, .lingering, .abandoning, .closed: break
            }
        }
        for backend in keptBackends.all {
            let key = PoolKey(database: backend.tenant, user: backend.user)
            switch backend.stage {
            case .resetting: pools[key, default: PoolSums()].tested += 1
            case .kept: pools[key, default: PoolSums()].idle += 1
            case .leaving: break
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

    private var users: [String] {
        Set(eachSession { sessions[$0].label.user.isEmpty ? nil : sessions[$0].label.user }).sorted()
    }

    private var lists: [(String, Int)] {
        let states = eachSession { ClientState(sessions[$0].stage) }
        return [
            ("databases", pool.snapshot.count), ("users", users.count), ("pools", poolRows.count),
            ("free_clients", max(0, maxClients - admittedClients)), ("used_clients", sessions.count),
            ("login_clients", states.filter { $0 == .login }.count),
            ("free_servers", keptBackends.all.count(where: \.isKept)),
            ("used_servers", eachSession { backendState($0) }.count),
            // No names are resolved: every instance runs on this machine.
            ("dns_names", 0), ("dns_zones", 0), ("dns_queries", 0), ("dns_pending", 0),
        ]
    }
}
