import Foundation

/// All that a run found out.
struct Report: Codable {
    let machine: Machine
    let settingDifferences: [SettingDifference]
    var routing: RoutingReport?

    init(machine: Machine, settingDifferences: [SettingDifference]) {
        self.machine = machine
        self.settingDifferences = settingDifferences
    }

    /// For people.
    var text: String {
        let differences = settingDifferences.map { "  \($0.name): \($0.routerd), others \($0.others)" }
        let settings = differences.isEmpty ? [] : ["PostgreSQL's settings that differ:"] + differences
        return ([machine.text, ""] + [routing?.text].compactMap(\.self) + settings).joined(separator: "\n")
    }

    /// For programs.
    func write(to path: String) throws(Failure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.dateEncodingStrategy = .iso8601
        do {
            try encoder.encode(self).write(to: URL(filePath: path))
        } catch {
            throw .system("Cannot write \(path): \(error)")
        }
    }
}
