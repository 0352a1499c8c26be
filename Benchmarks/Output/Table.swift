/// Columns of text, as wide as they need to be: names to the left, figures to the right.
struct Table {
    /// The titles first.
    private(set) var rows: [[String]]
    /// The columns that hold names.
    let names: Set<Int>

    init(_ titles: [String], names: Set<Int> = [0]) {
        rows = [titles]
        self.names = names
    }

    /// `row` has as many elements as there are titles.
    mutating func append(_ row: [String]) {
        precondition(row.count == rows[0].count)
        rows.append(row)
    }

    var text: String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            row.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                return names.contains(column) ? row[column] + padding : padding + row[column]
            }.joined(separator: "  ")
        }
        let rule = String(repeating: "─", count: widths.reduce(0, +) + 2 * (widths.count - 1))
        return ([lines[0], rule] + lines.dropFirst()).joined(separator: "\n")
    }
}
