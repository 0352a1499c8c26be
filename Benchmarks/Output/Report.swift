import Foundation

/// All that a run found out.
struct Report: Encodable {
    let machine: Machine
    /// The arguments of this program.
    let arguments: [String]
    var settingDifferences: [SettingDifference] = []
    /// By subject, in the order measured.
    private(set) var subjects: [(subject: Subject, report: any SubjectReport)] = []

    init(machine: Machine) {
        self.machine = machine
        arguments = Array(CommandLine.arguments.dropFirst())
    }

    mutating func add(_ report: any SubjectReport, of subject: Subject) {
        subjects.append((subject, report))
    }

    var sections: [Section] { subjects.flatMap(\.report.sections) }

    /// For people.
    var text: String {
        let settings = settingDifferences.map { "  \($0.name): \($0.routerd), others \($0.others)" }
        return
            ([machine.text] + sections.map(\.text)
            + (settings.isEmpty ? [] : [(["PostgreSQL's settings that differ:"] + settings).joined(separator: "\n")]))
            .joined(separator: "\n\n")
    }

    /// For programs.
    func write(to path: String) throws(Failure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        do {
            try encoder.encode(self).write(to: URL(filePath: path))
        } catch {
            throw .system("Cannot write \(path): \(error)")
        }
    }

    // MARK: Encoding

    private enum Key: CodingKey {
        case machine, arguments, settingDifferences, subjects
    }

    private struct SubjectKey: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(_ subject: Subject) { stringValue = subject.rawValue }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(machine, forKey: .machine)
        try container.encode(arguments, forKey: .arguments)
        try container.encode(settingDifferences, forKey: .settingDifferences)
        var nested = container.nestedContainer(keyedBy: SubjectKey.self, forKey: .subjects)
        for (subject, report) in subjects { try nested.encode(report, forKey: SubjectKey(subject)) }
    }
}
