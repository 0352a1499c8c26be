/// A part of a report: a table, what it means, and pictures of it.
struct Section {
    let title: String
    var table: Table
    var notes: [String] = []
    var charts: [Chart] = []

    /// For a terminal.
    var text: String {
        ([title, "", table.text] + notes.map { "  " + $0 }).joined(separator: "\n")
    }
}

/// What a subject found out.
protocol SubjectReport: Encodable {
    var sections: [Section] { get }
}
