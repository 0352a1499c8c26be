import Glibc
import TenantRouter

/// Columns for people: as wide as they must be, numbers to the right.
struct Table {
    private enum Alignment { case left, right }

    private let alignments: [Alignment]
    private let rows: [[String]]

    /// Words, to the left.
    init(header: [String], rows: [[String]]) {
        alignments = header.map { _ in .left }
        self.rows = [header] + rows
    }

    /// Tenants and what they do.
    init(databases: [DatabaseStatus]) {
        let header = ["DATABASE", "STATE", "SESSIONS", "QUEUE", "PID", "FOR"]
        let hasSizes = databases.contains { $0.sizeBytes != nil }
        alignments = [.left, .left] + [Alignment](repeating: .right, count: hasSizes ? 5 : 4)
        rows =
            [header + (hasSizes ? ["SIZE"] : [])]
            + databases.map { database in
                let cells = [
                    Self.printable(database.dbName), database.state,
                    "\(database.sessions)\(database.locked ? " (all)" : "")", "\(database.queueLength)",
                    database.processID.map { "\($0)" } ?? "-", database.since.map { Self.span(since: $0) } ?? "-",
                ]
                return cells + (hasSizes ? [database.sizeBytes.map { Self.size($0) } ?? "-"] : [])
            }
    }

    /// All lines, without a newline at the end.
    var text: String {
        let widths = alignments.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.indices.map { pad(row[$0], to: widths[$0], alignments[$0]) }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n")
    }

    private func pad(_ text: String, to width: Int, _ alignment: Alignment) -> String {
        let space = String(repeating: " ", count: width - text.count)
        return switch alignment {
        case .left: text + space
        case .right: space + text
        }
    }

    /// A name without what a terminal would obey.
    static func printable(_ name: String) -> String {
        String(String.UnicodeScalarView(name.unicodeScalars.map { Self.isHarmless($0) ? $0 : "\u{FFFD}" }))
    }

    private static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }

    /// As du(1) -h has it, by the thousand-and-twenty-fourth.
    static func size(_ bytes: Int) -> String {
        var (rest, unit) = (Double(bytes), 0)
        let units = ["B", "KB", "MB", "GB", "TB"]
        while rest >= 1024, unit < units.count - 1 { (rest, unit) = (rest / 1024, unit + 1) }
        let tenths = Int((rest * 10).rounded())
        return unit == 0 || tenths >= 100
            ? "\(Int(rest.rounded())) \(units[unit])" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }

    /// The time that has passed, in its two largest units.
    static func span(since instant: Double) -> String {
        var now = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        let seconds = max(0, now.tv_sec - Int(instant))
        switch seconds {
        case ..<60: return "\(seconds)s"
        case ..<3600: return "\(seconds / 60)m \(seconds % 60)s"
        case ..<86_400: return "\(seconds / 3600)h \(seconds / 60 % 60)m"
        default: return "\(seconds / 86_400)d \(seconds / 3600 % 24)h"
        }
    }
}
