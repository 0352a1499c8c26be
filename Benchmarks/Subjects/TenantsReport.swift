/// What tenants cost. Times are in milliseconds, sizes in bytes.
struct TenantsReport: SubjectReport {
    let hasSpares: Bool
    var connects: [Connect] = []
    var warm: [Warm] = []
    var burst: Rush?
    /// New names by a few clients, one after the other.
    var making: Rush?
    var memory: [Memory] = []
    var storm: Storm?
    var directories: [Directories] = []

    init(hasSpares: Bool) {
        self.hasSpares = hasSpares
    }

    /// One way into a database that was not up.
    struct Connect: Codable {
        let kind: Kind
        let summary: Latencies.Summary
        let curve: [Latencies.Point]

        /// Also part of the databases' names.
        enum Kind: String, Codable {
            case firstFromSpare = "from-spare"
            case firstWithoutSpare = "without-spare"
            case wake

            var text: String {
                switch self {
                case .firstFromSpare: "first connect, from a spare"
                case .firstWithoutSpare: "first connect, no spare"
                case .wake: "wake, to the first answer"
                }
            }

            /// What the project promises.
            var goal: String {
                switch self {
                case .firstFromSpare: "≤ 10, p99 ≤ 60"
                case .firstWithoutSpare: "≤ 90"
                case .wake: "≤ 40"
                }
            }
        }
    }

    /// Connecting to a database that is up.
    struct Warm: Codable {
        let peer: Peer.Kind
        let summary: Latencies.Summary
        let curve: [Latencies.Point]
    }

    /// Many clients, at once or a few at a time.
    struct Rush: Codable {
        let count: Int
        /// Until the last of them was done.
        let total: Double
        let errors: Int
        let firstError: String?
        let summary: Latencies.Summary
    }

    /// Idle instances. The router's own size is its resident set, before any instance and with all of them. The
    /// instances' `share` leaves out what the kernel keeps for them, and does not see what else the machine does.
    struct Memory: Codable {
        /// None: the default.
        let maxConnections: Int?
        let live: Int
        let perInstance: Double
        let share: Double?
        let router: Int
        let routerWithNone: Int
        /// Of all cores, by the router and everything below it.
        let cpu: Double
    }

    /// After a crash of everything.
    struct Storm: Codable {
        let start: Double
        let rush: Rush
    }

    /// A server whose base directory holds `lookalikes` more directories than there are tenants.
    struct Directories: Codable {
        let lookalikes: Int
        let start: Latencies.Summary
        let firstConnect: Latencies.Summary
        let wake: Latencies.Summary
        let warmConnect: Latencies.Summary
    }

    // MARK: For people

    var sections: [Section] {
        [connectSection, warmSection, rushSection, memorySection, directorySection].filter { $0.table.rows.count > 1 }
    }

    private var connectSection: Section {
        var table = Table(["tenants", "n", "median ms", "p99 ms", "max ms", "goal ms"])
        for row in connects {
            table.append([row.kind.text] + Self.figures(row.summary) + [row.kind.goal])
        }
        return Section(
            title: "tenants: a database that is not up", table: table,
            notes: ["First connects are to new databases by new users, up to ReadyForQuery."]
                + (hasSpares ? [] : ["This routerd keeps no spares."]),
            charts: [
                .bars(
                    title: "A database that is not up: median", unit: "ms",
                    connects.map { .init(label: $0.kind.text, value: $0.summary.median, peer: .routerd) })
            ])
    }

    private var warmSection: Section {
        var table = Table(["warm connect", "n", "median ms", "p99 ms", "max ms"])
        for row in warm { table.append([row.peer.title] + Self.figures(row.summary)) }
        return Section(
            title: "tenants: connecting to a database that is up", table: table,
            notes: ["One client after the other, up to ReadyForQuery."],
            charts: [
                .bars(
                    title: "Connecting to a database that is up: median", unit: "ms",
                    warm.map { .init(label: $0.peer.title, value: $0.summary.median, peer: $0.peer) })
            ])
    }

    private var rushSection: Section {
        var table = Table(["at once", "clients", "all done ms", "median ms", "p99 ms", "errors"])
        func append(_ name: String, _ rush: Rush) {
            table.append([
                name, "\(rush.count)", fixed(rush.total, 0), fixed(rush.summary.median, 0), fixed(rush.summary.p99, 0),
                "\(rush.errors)",
            ])
        }
        if let burst { append("burst of new names", burst) }
        if let making { append("new names, eight at a time", making) }
        if let storm { append("boot storm after a crash", storm.rush) }
        let errors = [burst?.firstError, making?.firstError, storm?.rush.firstError].compactMap(\.self)
        let start = storm.map { ["After the crash, routerd itself was ready in \(fixed($0.start, 0)) ms."] } ?? []
        return Section(
            title: "tenants: all at once", table: table, notes: start + errors.map { "First error: \($0)" })
    }

    private var memorySection: Section {
        var table = Table([
            "idle instances", "live", "MB each", "goal MB", "PSS MB each", "routerd MB", "with none MB",
            "CPU, all cores",
        ])
        for row in memory {
            table.append([
                row.maxConnections.map { "--max-connections \($0)" } ?? "default", "\(row.live)",
                megabytes(row.perInstance), row.maxConnections == nil ? "≤ 11" : "≤ 9", megabytes(row.share),
                megabytes(Double(row.router)), megabytes(Double(row.routerWithNone)), percent(row.cpu),
            ])
        }
        return Section(
            title: "tenants: what idle instances take", table: table,
            notes: [
                "MB each: difference of MemAvailable, which the whole machine changes.",
                "PSS: of all their processes; what the kernel keeps for them is not in it.",
                "CPU: routerd and everything below it, over a minute that begins two minutes after the last was woken.",
            ])
    }

    private var directorySection: Section {
        var table = Table(["directories", "start ms", "first connect ms", "wake ms", "warm connect ms"])
        for row in directories {
            table.append(
                ["\(row.lookalikes) lookalikes"]
                    + [row.start, row.firstConnect, row.wake, row.warmConnect].map { fixed($0.median, 2) })
        }
        return Section(title: "tenants: many directories", table: table, notes: ["Medians."])
    }

    private static func figures(_ summary: Latencies.Summary) -> [String] {
        ["\(summary.count)", fixed(summary.median, 2), fixed(summary.p99, 2), fixed(summary.greatest, 2)]
    }
}
