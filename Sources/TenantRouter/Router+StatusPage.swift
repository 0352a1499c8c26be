import Logging
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// What the status page's server answers. The reactor's thread copies what it knows; another one writes it down.

extension Router {
    mutating func answer(_ request: HTTPRequest, of connection: Token) {
        do throws(HTTPResponse) {
            try StatusAccess.check(request)
            let route = try StatusRoute(request)
            guard !route.needsToken || knowsToken(request) else { throw .noToken }
            answer(route, of: connection)
        } catch {
            respond(connection, error)
        }
    }

    private func knowsToken(_ request: HTTPRequest) -> Bool {
        request.bearer.map { ControlToken.matches($0, premises.control.token) } ?? false
    }

    private mutating func answer(_ route: StatusRoute, of connection: Token) {
        switch route {
        case .page: respond(connection, StatusPage.response())
        case .metrics: answerMetrics(of: connection)
        // That there is an answer is the answer: it comes from the thread that tenants and instances belong to.
        case .health: respond(connection, HTTPResponse(.text, Array("alive\n".utf8)))
        case .readiness: respond(connection, readiness)
        case .statistics: answer(connection) { [statistics] in HTTPResponse(statistics.json) }
        case .history(let samples, let starts):
            answer(connection) { [metrics] in HTTPResponse(metrics.history(samples: samples, starts: starts)) }
        case .tenants(let sizes): answerTenants(sizes ? .sizes : .names, of: connection)
        case .tenant(let tenant): answerTenant(tenant, of: connection)
        case .log(let tenant): answerLog(of: tenant, connection)
        case .wake(let tenant): wake(tenant, for: connection)
        case .hibernate(let tenant):
            note("hibernate", tenant, by: connection)
            hibernate(tenant) { router, result in router.respond(connection, .done(result)) }
        }
    }

    /// Wakes what there is: nothing is made by a request.
    private mutating func wake(_ tenant: TenantName, for connection: Token) {
        note("wake", tenant, by: connection)
        findTenant(tenant) { router, status in
            guard status != nil else { return router.respond(connection, .noSuchTenant) }
            router.wake(tenant) { router, result in router.respond(connection, .done(result.map { true })) }
        }
    }

    private var readiness: HTTPResponse {
        switch lifetime {
        case .serving: HTTPResponse(.text, Array("serving\n".utf8))
        case .stopping, .hurrying, .closing: HTTPResponse(.unavailable, .text, Array("stopping\n".utf8))
        }
    }

    /// What is changed by HTTP is worth a line, as what the console changes is.
    private func note(_ what: String, _ tenant: TenantName, by connection: Token) {
        let peer = reactor.peer(of: http.connections[connection].stream)
        log.info(
            "status page: \(what)", metadata: ["tenant": "\(tenant)", "address": "\(peer.map { "\($0)" } ?? "gone")"])
    }

    /// Answers with what another thread makes.
    private func answer(_ connection: Token, _ make: @escaping @Sendable () -> HTTPResponse) {
        http.queue.async { [mailbox] in
            let response = make()
            mailbox.post(.run { $0.respond(connection, response) })
        }
    }
}

// MARK: - Metrics

extension Router {
    private mutating func answerMetrics(of connection: Token) {
        if let text = http.metrics.text, reactor.now - text.at < MetricsCache.lifetime {
            return respond(connection, HTTPResponse(.metrics, text.bytes))
        }
        http.metrics.waiting.append(connection)
        guard http.metrics.waiting.count == 1 else { return }
        reportMetrics { router, report in router.writeMetrics(report) }
    }

    private func writeMetrics(_ report: MetricsReport) {
        http.queue.async { [mailbox] in
            let text = Array(report.text(.now(started: report.statistics.started)).utf8)
            mailbox.post(.run { $0.metricsWritten(text) })
        }
    }

    private mutating func metricsWritten(_ text: [UInt8]) {
        http.metrics.text = (text, reactor.now)
        let waiting = http.metrics.waiting
        http.metrics.waiting = []
        for connection in waiting { respond(connection, HTTPResponse(.metrics, text)) }
    }
}

// MARK: - Tenants

extension Router {
    private mutating func answerTenants(_ detail: TenantListing.Detail, of connection: Token) {
        listTenants(detail) { router, tenants in
            router.ask(.traffic(.all)) { router, view in
                let traffic = view.traffic
                router.answer(connection) {
                    HTTPResponse(.array(tenants.map { $0.json(traffic.traffic(of: $0.dbName)) }))
                }
            }
        }
    }

    private mutating func answerTenant(_ tenant: TenantName, of connection: Token) {
        findTenant(tenant) { router, status in
            guard let status else { return router.respond(connection, .noSuchTenant) }
            router.ask(.sessions(.full)) { router, view in
                let sessions = view.sessions.filter { tenant.isWritten($0.tenant) }
                router.ask(.traffic(.of([tenant]))) { router, view in
                    router.answer(connection, status, tenant, sessions, view.traffic.databases[tenant])
                }
            }
        }
    }

    private mutating func answer(
        _ connection: Token, _ status: DatabaseStatus, _ tenant: TenantName, _ sessions: [SessionEntry],
        _ traffic: Traffic?
    ) {
        let (store, limit, now) = (store, limits.maxConnections, WallClock.now)
        answer(connection) {
            var status = status
            status.sizeBytes = store.size(directoryName: tenant.directoryName)
            return HTTPResponse(
                .object([
                    ("tenant", status.json(traffic)), ("maxConnections", .count(limit)),
                    ("sessions", .array(sessions.map { $0.json(now: now) })),
                ]))
        }
    }

    private func answerLog(of tenant: TenantName, _ connection: Token) {
        let log = store.log(directoryName: tenant.directoryName)
        answer(connection) {
            HTTPResponse(.object([("lines", .array(log.lastLines(200).map(JSON.string)))]))
        }
    }
}

// MARK: - JSON

extension SessionEntry {
    /// As the page shows it.
    ///
    /// - Parameter now: the time of day, in microseconds since 1970.
    fileprivate func json(now: Int64) -> JSON {
        .object([
            ("id", .count(number)), ("user", .string(user)), ("application", .string(application)),
            ("address", .string(peer.map { $0.port == nil ? "unix" : "\($0)" } ?? "")),
            ("state", .string(state.rawValue)),
            ("connected", .number(Double(now - age.inMicroseconds) / 1_000_000)),
            ("processID", .optional(backend.map { Int($0) })), ("queries", .count(traffic.queries)),
            ("transactions", .count(traffic.transactions)), ("bytesFromClient", .count(traffic.bytesFromFrontends)),
            ("bytesFromBackend", .count(traffic.bytesFromBackends)),
        ])
    }
}

extension HTTPResponse {
    fileprivate static let noSuchTenant = HTTPResponse.failure(.notFound, "there is no such tenant")

    /// What came of an act.
    fileprivate static func done(_ result: Result<Bool, ErrorMessage>) -> HTTPResponse {
        switch result {
        case .success(true): HTTPResponse(.object([("done", .bool(true))]))
        case .success(false): .failure(.conflict, "no instance of it is running")
        case .failure(let error): .failure(.conflict, error.message, hint: error.hint ?? error.detail)
        }
    }
}

extension RouterStatistics {
    /// The keys of `routerd stats --json`, without the instances.
    fileprivate var json: JSON {
        .object([
            ("version", .string(version)), ("postgresVersion", .string(postgresVersion)),
            ("processID", .count(processID)), ("port", .count(port)), ("address", .string(address)),
            ("baseDirectory", .string(baseDirectory)), ("started", .number(started)), ("state", .string(state)),
            ("confinement", .string(confinement)), ("activeConnections", .count(activeConnections)),
            ("waitingClients", .count(waitingClients)), ("maxClients", .count(maxClients)),
            ("sessionsTotal", .count(sessionsTotal)), ("instancesTotal", .count(instancesTotal)),
            (
                "pool",
                .object([
                    ("totalInstances", .count(pool.totalInstances)), ("maxInstances", .count(pool.maxInstances)),
                    ("maxConnections", .count(pool.maxConnections)), ("spares", .count(pool.spares)),
                    ("sessions", .count(pool.sessions)),
                ])
            ), ("memoryBytes", .count(ProcessUsage.residentPages * ProcessUsage.pageSize)),
            ("now", .number(Double(WallClock.now) / 1_000_000)),
        ])
    }
}

extension DatabaseStatus {
    /// The keys of `routerd list --json`, and what passes and stays in memory.
    fileprivate func json(_ traffic: Traffic?) -> JSON {
        var members: [(String, JSON)] = [
            ("dbName", .string(dbName)), ("state", .string(state)), ("sessions", .count(sessions)),
            ("queueLength", .count(queueLength)), ("locked", .bool(locked)),
        ]
        if let processID {
            members.append(("processID", .count(processID)))
            members.append(("memoryBytes", .optional(InstanceMemory.bytes(ofPostmaster: processID))))
        }
        if let since { members.append(("since", .number(since))) }
        if let sizeBytes { members.append(("sizeBytes", .count(sizeBytes))) }
        if let traffic {
            members += [
                ("queries", .count(traffic.queries)), ("transactions", .count(traffic.transactions)),
                ("bytes", .count(traffic.bytesFromFrontends + traffic.bytesFromBackends)),
            ]
        }
        return .object(members)
    }
}

extension Metrics {
    /// What the charts are drawn of, behind the numbers that the page has already.
    fileprivate func history(samples known: Int, starts seen: Int) -> JSON {
        let points = samples.since(known).map { sample in
            JSON.array([
                .number(Double(sample.at) / 1_000_000), .count(sample.clients), .count(sample.sessions),
                .count(sample.waiting), .count(sample.instances), .count(sample.traffic.queries),
                .count(sample.traffic.transactions), .count(sample.traffic.bytesFromFrontends),
                .count(sample.traffic.bytesFromBackends),
            ])
        }
        let events = starts.since(seen).map { start in
            JSON.array([
                .number(Double(start.at) / 1_000_000), .string(start.kind.rawValue), .string(start.tenant.string),
                .number(Double(start.took.inMicroseconds) / 1000),
            ])
        }
        return .object([
            ("samples", .array(points)), ("lastSample", .count(samples.last)), ("starts", .array(events)),
            ("lastStart", .count(starts.last)),
        ])
    }
}
