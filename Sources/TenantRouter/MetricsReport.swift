import TenantPool
import WireProtocol

/// Everything that `/metrics` tells, copied at one moment.
struct MetricsReport: Sendable {
    let metrics: Metrics
    let clients: ClientMetrics
    let statistics: RouterStatistics
    let consoles: Int
    let keptBackends: Int
    let traffic: Traffic
    /// The tenants with the most sessions, and those only.
    let tenants: [(status: DatabaseStatus, traffic: Traffic)]

    /// Tenants that have series of their own: enough to find who fills the machine, and a bound to what is stored.
    static let mostTenants = 20

    /// Those with the most clients, and of as many the first by name.
    static func busiest(_ tenants: [DatabaseStatus]) -> ArraySlice<DatabaseStatus> {
        tenants.sorted { ($1.sessions + $1.queueLength, $0.dbName) < ($0.sessions + $0.queueLength, $1.dbName) }
            .prefix(mostTenants)
    }
}

extension Router {
    /// Lanes are asked for the traffic of those tenants only that the report names.
    mutating func reportMetrics(_ done: @escaping (inout Router, MetricsReport) -> Void) {
        let statistics = statistics
        let tenants = MetricsReport.busiest(statistics.pool.instances)
        let names = Set(tenants.compactMap { try? TenantName($0.dbName) })
        ask(.traffic(.of(names))) { router, view in
            let report = MetricsReport(
                metrics: router.metrics, clients: view.metrics, statistics: statistics,
                consoles: router.commons.counts.consoleClients, keptBackends: view.keptBackends,
                traffic: view.traffic.total,
                tenants: tenants.map { ($0, view.traffic.traffic(of: $0.dbName) ?? Traffic()) })
            done(&router, report)
        }
    }
}

// MARK: - Prometheus' text

extension MetricsReport {
    /// In Prometheus' text format, version 0.0.4, with what the system says of the process.
    func text(_ process: ProcessUsage) -> String {
        var page = MetricsPage()
        write(general: &page)
        write(instances: &page)
        write(durations: &page)
        write(traffic: &page)
        write(tenants: &page)
        process.write(to: &page)
        return page.text
    }

    private func write(general page: inout MetricsPage) {
        page.gauge(
            "routerd_info", "The versions that run.", 1,
            labels: [("version", statistics.version), ("postgres_version", statistics.postgresVersion)])
        page.gauge("routerd_serving", "1 while it serves, 0 while it stops.", statistics.state == "serving" ? 1 : 0)
        page.gauge(
            "routerd_clients", "Clients that are connected, except to the console.", statistics.activeConnections)
        page.gauge("routerd_clients_max", "Clients that may be connected.", statistics.maxClients)
        page.gauge("routerd_sessions", "Sessions that instances serve.", statistics.pool.sessions)
        page.gauge("routerd_clients_waiting", "Clients that wait for an instance.", statistics.waitingClients)
        page.gauge("routerd_console_clients", "Clients of the console.", consoles)
        page.gauge("routerd_backends_kept", "Backends that wait for another session.", keptBackends)
        page.counter(
            "routerd_backends_reused_total", "Sessions that were given such a backend.", clients.backendsReused)
        page.counter("routerd_clients_total", "Clients accepted.", UInt64(statistics.sessionsTotal))
        page.family("routerd_waits_total", "Clients' waits for a session, by what they came to.", .counter)
        for wait in ClientMetrics.Wait.allCases {
            page.sample("routerd_waits_total", [("outcome", wait.rawValue)], clients.waits[wait] ?? 0)
        }
        page.family("routerd_errors_total", "Errors of the router's own that clients were sent.", .counter)
        for (state, count) in clients.errors.sorted(by: { $0.key.description < $1.key.description }) {
            page.sample("routerd_errors_total", [("sqlstate", state.description)], count)
        }
        page.counter(
            "routerd_log_lines_dropped_total", "Log lines lost because standard error was not read.",
            UInt64(LineWriter.shared.dropped))
    }

    private func write(instances page: inout MetricsPage) {
        page.family("routerd_instances", "Tenants that are not cold, by state.", .gauge)
        for state in TenantState.allCases where state != .cold {
            let count = statistics.pool.instances.count { $0.state == state.rawValue }
            page.sample("routerd_instances", [("state", state.rawValue)], count)
        }
        page.gauge("routerd_instances_max", "Instances that may run at once.", statistics.pool.maxInstances)
        page.gauge("routerd_spares", "Instances that are ready for new names.", statistics.pool.spares)
        page.counter("routerd_instances_started_total", "Postmasters started.", UInt64(statistics.instancesTotal))
        page.family("routerd_instance_stops_total", "Instances stopped by the router, by reason.", .counter)
        for reason in Instance.StopReason.allCases {
            page.sample("routerd_instance_stops_total", [("reason", reason.rawValue)], metrics.stops[reason] ?? 0)
        }
        page.counter("routerd_instance_deaths_total", "Instances that died unasked.", metrics.deaths)
        page.counter("routerd_instance_start_failures_total", "Starts that failed.", metrics.startFailures)
    }

    private func write(durations page: inout MetricsPage) {
        page.histogram(
            "routerd_wake_seconds", "From a hibernated tenant being wanted to its serving.", metrics.wakes)
        page.histogram(
            "routerd_claim_seconds", "From a new name to a spare serving as it.", metrics.claims)
        page.histogram(
            "routerd_create_seconds", "From a new name to its serving, with no spare left.", metrics.creations)
        page.histogram(
            "routerd_backend_connect_seconds", "From a lease to the backend's first ReadyForQuery.",
            clients.backendConnects)
        page.histogram(
            "routerd_queue_wait_seconds", "From a client's startup packet to its lease.", clients.queueWaits)
    }

    private func write(traffic page: inout MetricsPage) {
        page.family("routerd_bytes_total", "Bytes relayed, by who sent them.", .counter)
        page.sample("routerd_bytes_total", [("from", "client")], traffic.bytesFromFrontends)
        page.sample("routerd_bytes_total", [("from", "backend")], traffic.bytesFromBackends)
        page.family("routerd_messages_total", "Messages relayed, by who sent them.", .counter)
        page.sample("routerd_messages_total", [("from", "client")], traffic.messagesFromFrontends)
        page.sample("routerd_messages_total", [("from", "backend")], traffic.messagesFromBackends)
        page.counter("routerd_queries_total", "Queries answered.", traffic.queries)
        page.counter("routerd_transactions_total", "Transactions ended.", traffic.transactions)
        page.counter(
            "routerd_query_seconds_total", "Time from queries to their answers.", Double(traffic.queryTime) / 1e9)
    }

    private func write(tenants page: inout MetricsPage) {
        guard !tenants.isEmpty else { return }
        func each(
            _ name: String, _ help: String, _ kind: MetricsPage.Kind, _ value: (DatabaseStatus, Traffic) -> UInt64
        ) {
            page.family(name, help, kind)
            for (status, traffic) in tenants { page.sample(name, [("tenant", status.dbName)], value(status, traffic)) }
        }
        each("routerd_tenant_sessions", "Sessions of the busiest tenants.", .gauge) { status, _ in
            UInt64(status.sessions)
        }
        each("routerd_tenant_waiting", "Clients that wait for the busiest tenants.", .gauge) { status, _ in
            UInt64(status.queueLength)
        }
        each("routerd_tenant_queries_total", "Queries of the busiest tenants.", .counter) { $1.queries }
        each("routerd_tenant_transactions_total", "Transactions of the busiest tenants.", .counter) { $1.transactions }
        each("routerd_tenant_bytes_total", "Bytes of the busiest tenants, both ways.", .counter) {
            $1.bytesFromFrontends + $1.bytesFromBackends
        }
    }
}

/// A page in Prometheus' text format. Source: https://prometheus.io/docs/instrumenting/exposition_formats/
struct MetricsPage {
    enum Kind: String { case gauge, counter, histogram }

    private(set) var text = ""

    mutating func family(_ name: String, _ help: String, _ kind: Kind) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    mutating func sample(_ name: String, _ labels: [(String, String)] = [], _ value: some CustomStringConvertible) {
        text += name
        if !labels.isEmpty {
            text += "{"
            for (index, (label, value)) in labels.enumerated() {
                text += "\(index > 0 ? "," : "")\(label)=\"\(Self.escaped(value))\""
            }
            text += "}"
        }
        text += " \(value)\n"
    }

    mutating func gauge(_ name: String, _ help: String, _ value: Int, labels: [(String, String)] = []) {
        family(name, help, .gauge)
        sample(name, labels, value)
    }

    mutating func gauge(_ name: String, _ help: String, _ value: Double) {
        family(name, help, .gauge)
        sample(name, [], value)
    }

    mutating func counter(_ name: String, _ help: String, _ value: some CustomStringConvertible) {
        family(name, help, .counter)
        sample(name, [], value)
    }

    mutating func histogram(_ name: String, _ help: String, _ histogram: DurationHistogram) {
        family(name, help, .histogram)
        var count: UInt64 = 0
        for (bound, here) in zip(DurationHistogram.bounds, histogram.counts) {
            count += here
            sample("\(name)_bucket", [("le", "\(Double(bound) / 1_000_000)")], count)
        }
        sample("\(name)_bucket", [("le", "+Inf")], histogram.count)
        sample("\(name)_sum", [], Double(histogram.sum) / 1_000_000)
        sample("\(name)_count", [], histogram.count)
    }

    /// A tenant's name may hold anything.
    private static func escaped(_ value: String) -> String {
        var escaped = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
