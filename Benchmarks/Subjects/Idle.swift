import Foundation
import Glibc

/// What a connection takes that does nothing: established sessions, and connections before their startup packet.
struct Idle {
    let sessions: Int
    let tenants: Int
    let silent: Int
    let stage: Stage

    func run() throws(Failure) -> IdleReport {
        IdleReport(rows: [try establishedSessions(), try silentConnections()])
    }

    private func establishedSessions() throws(Failure) -> IdleReport.Row {
        let each = (sessions + tenants - 1) / tenants
        let server = try stage.startRouter(instances: tenants, .init(maxConnections: max(40, each + 2), spares: 0))
        defer { server.stop() }
        for index in 0..<tenants {
            if index.isMultiple(of: 10) { note("waking \(tenants) tenants, \(index) are up") }
            try WireClient(port: server.port, user: Psql.user, database: Stage.tenant(index)).terminate()
        }
        return try measure(.established, count: sessions, of: server) { index throws(Failure) in
            try WireClient(port: server.port, user: Psql.user, database: Stage.tenant(index % tenants)).connection
        }
    }

    private func silentConnections() throws(Failure) -> IdleReport.Row {
        let server = try stage.startRouter(instances: 1)
        defer { server.stop() }
        // What descriptors allow, a few left for this program's own use.
        let count = min(silent, DescriptorLimit.raise() - 200)
        return try measure(.silent, count: count, of: server) { _ throws(Failure) in
            try Connection(port: server.port)
        }
    }

    private func measure(
        _ kind: IdleReport.Row.Kind, count: Int, of server: RouterServer,
        _ open: (Int) throws(Failure) -> Connection
    ) throws(Failure) -> IdleReport.Row {
        try server.settle()
        let before = (try Memory.resident(server.process.pid), Memory.share(of: server.process.pid))
        var connections: [Connection] = []
        for index in 0..<count {
            if index.isMultiple(of: 500) { note("\(kind.text), \(index) of \(count)") }
            connections.append(try open(index))
        }
        try server.settle()
        let after = (try Memory.resident(server.process.pid), Memory.share(of: server.process.pid))
        let open = connections.count { $0.isOpenAndQuiet }
        func perConnection(_ before: Int?, _ after: Int?) -> Double? {
            guard let before, let after else { return nil }
            return Double(after - before) / Double(count)
        }
        return .init(
            kind: kind, count: count, open: open, before: before.0, after: after.0,
            resident: perConnection(before.0, after.0) ?? 0, share: perConnection(before.1, after.1))
    }

    private func note(_ text: String) { stage.progress.note("idle: \(text)") }
}

/// Memory of the router's own process, in bytes. What the kernel keeps for a socket is not in it.
struct IdleReport: SubjectReport {
    let rows: [Row]

    struct Row: Codable {
        let kind: Kind
        let count: Int
        /// How many of them the router still held when it was measured.
        let open: Int
        /// The whole process, before and with them.
        let before: Int
        let after: Int
        /// For each connection: resident set, and share of it where it may be looked at.
        let resident: Double
        let share: Double?

        enum Kind: String, Codable {
            case established, silent

            var text: String {
                switch self {
                case .established: "established sessions"
                case .silent: "before their startup packet"
                }
            }
        }
    }

    var sections: [Section] {
        var table = Table([
            "idle connections", "n", "still open", "bytes each", "PSS each", "goal", "routerd MB", "before MB",
        ])
        for row in rows {
            table.append([
                row.kind.text, "\(row.count)", "\(row.open)", fixed(row.resident, 0), fixed(row.share, 0), "≤ 2048",
                megabytes(Double(row.after)), megabytes(Double(row.before)),
            ])
        }
        return [
            Section(
                title: "idle: connections that do nothing", table: table,
                notes: ["Difference of the router's resident set; each kind has a fresh router."])
        ]
    }
}
