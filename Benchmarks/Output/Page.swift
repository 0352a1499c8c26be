import Foundation

/// A report as one HTML page that needs nothing beside it: its charts are drawn in it, light or dark as the reader's
/// system is.
struct Page {
    let report: Report

    /// Writes `index.html` into `directory`, which is created if it is missing.
    func write(to directory: String) throws(Failure) {
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try html.write(toFile: "\(directory)/index.html", atomically: false, encoding: .utf8)
        } catch {
            throw .system("Cannot write \(directory)/index.html: \(error)")
        }
    }

    private var html: String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>routerd: benchmarks</title>
        <style>
        \(Self.style)
        </style>
        </head>
        <body>
        <header>
        <h1>routerd <span>benchmarks</span></h1>
        \(paragraphs(report.machine.text.split(separator: "\n").map(String.init)))
        <p>\(escaped(date)) · <code>Benchmarks \(escaped(report.arguments.joined(separator: " ")))</code></p>
        <ul class="legend">\(legend)</ul>
        </header>
        \(report.sections.map(section).joined(separator: "\n"))
        \(settings)
        </body>
        </html>

        """
    }

    private var date: String {
        report.machine.date.formatted(.iso8601.year().month().day().time(includingFractionalSeconds: false))
    }

    private var legend: String {
        Peer.Kind.allCases.map { #"<li class="\#($0.rawValue)">\#(escaped($0.title))</li>"# }.joined()
    }

    private func section(_ section: Section) -> String {
        let charts = section.charts.map(\.svg).filter { !$0.isEmpty }.map { "<figure>\($0)</figure>" }
        return """
            <section>
            <h2>\(escaped(section.title))</h2>
            \(charts.isEmpty ? "" : #"<div class="charts">\#(charts.joined(separator: "\n"))</div>"#)
            \(table(section.table))
            \(paragraphs(section.notes))
            </section>
            """
    }

    private func table(_ table: Table) -> String {
        func cells(_ row: [String], _ tag: String) -> String {
            row.indices.map { column in
                let style = table.names.contains(column) ? #" class="name""# : ""
                return "<\(tag)\(style)>\(escaped(row[column]))</\(tag)>"
            }.joined()
        }
        let body = table.rows.dropFirst().map { row in
            // The row of the program that all is about stands out.
            "<tr\(row.contains(Peer.Kind.routerd.title) ? #" class="own""# : "")>\(cells(row, "td"))</tr>"
        }
        return """
            <div class="table"><table>
            <thead><tr>\(cells(table.rows[0], "th"))</tr></thead>
            <tbody>\(body.joined(separator: "\n"))</tbody>
            </table></div>
            """
    }

    private var settings: String {
        guard !report.settingDifferences.isEmpty else { return "" }
        var table = Table(["setting", "routerd", "others"])
        for difference in report.settingDifferences {
            table.append([difference.name, difference.routerd, difference.others])
        }
        return "<section><h2>PostgreSQL's settings that differ</h2>\(self.table(table))</section>"
    }

    private func paragraphs(_ lines: [String]) -> String {
        lines.map { "<p>\(escaped($0))</p>" }.joined(separator: "\n")
    }

    private static let style = """
        :root {
          --paper: #fbfbfa; --card: #ffffff; --ink: #1d2330; --faint: #667085; --line: #e2e5ea;
          --direct: #98a2b3; --forwarder: #2f9e8f; --pgbouncer: #d98a1f; --routerd: #2f62d9; --workers: #8a4fd3;
          --epoll: #c2468f; --unconfined: #8a7a3c;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --paper: #12151b; --card: #1a1f28; --ink: #e6e9ef; --faint: #98a2b3; --line: #2c3340;
            --direct: #7d8799; --forwarder: #3fb8a6; --pgbouncer: #e8a545; --routerd: #6b96ff; --workers: #b388f0;
            --epoll: #e57fb9; --unconfined: #c9b566;
          }
        }
        * { box-sizing: border-box; }
        body {
          margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 68rem;
          background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, sans-serif;
        }
        h1 { margin: 0 0 .75rem; font-size: 1.9rem; letter-spacing: -.02em; }
        h1 span { color: var(--faint); font-weight: 400; }
        h2 { margin: 0 0 1rem; font-size: 1.15rem; }
        p { margin: .15rem 0; color: var(--faint); font-size: .87rem; }
        code { font: .85em ui-monospace, monospace; }
        section {
          margin-top: 1.5rem; padding: 1.25rem 1.5rem; background: var(--card); border: 1px solid var(--line);
          border-radius: 10px;
        }
        .charts {
          display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem 2rem;
        }
        figure { margin: 0 0 1rem; }
        svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
        svg text { fill: var(--ink); }
        svg .title { font-weight: 600; font-size: 13px; }
        svg .faint { fill: var(--faint); }
        svg .grid { stroke: var(--line); }
        svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
        rect.direct { fill: var(--direct); } path.direct { stroke: var(--direct); }
        rect.forwarder { fill: var(--forwarder); } path.forwarder { stroke: var(--forwarder); }
        rect.pgbouncer { fill: var(--pgbouncer); } path.pgbouncer { stroke: var(--pgbouncer); }
        rect.routerd { fill: var(--routerd); } path.routerd { stroke: var(--routerd); }
        rect.workers { fill: var(--workers); } path.workers { stroke: var(--workers); }
        rect.epoll { fill: var(--epoll); } path.epoll { stroke: var(--epoll); }
        rect.unconfined { fill: var(--unconfined); } path.unconfined { stroke: var(--unconfined); }
        .legend {
          display: flex; flex-wrap: wrap; gap: .3rem 1.25rem; margin: .75rem 0 0; padding: 0; list-style: none;
        }
        .legend li::before {
          content: ""; display: inline-block; width: .7em; height: .7em; margin-right: .45em; border-radius: 2px;
        }
        .legend .direct::before { background: var(--direct); }
        .legend .forwarder::before { background: var(--forwarder); }
        .legend .pgbouncer::before { background: var(--pgbouncer); }
        .legend .routerd::before { background: var(--routerd); }
        .legend .workers::before { background: var(--workers); }
        .legend .epoll::before { background: var(--epoll); }
        .legend .unconfined::before { background: var(--unconfined); }
        .table { overflow-x: auto; margin-bottom: .75rem; }
        table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
        th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
        th { color: var(--faint); font-weight: 500; }
        .name { text-align: left; }
        th:first-child, td:first-child { padding-left: 0; }
        .own td { font-weight: 600; }
        """
}

/// Text as HTML's and SVG's.
func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
        .replacingOccurrences(of: ">", with: "&gt;").replacingOccurrences(of: "\"", with: "&quot;")
}
