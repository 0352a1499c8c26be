import Glibc
import TOMLKit
import TenantRouter

/// A configuration file: TOML, with the flags' names as keys and `set` as a table.
///
/// ```toml
/// max-instances = 50
/// idle-timeout = "10m"
///
/// [set]
/// work_mem = "8MB"
/// ```
struct OptionFile {
    enum Value: CustomStringConvertible {
        case integer(Int)
        case boolean(Bool)
        case string(String)
        /// A date, a fraction, an array, a table: no option has one.
        case other(String)

        var description: String {
            switch self {
            case .integer(let number): "\(number)"
            case .boolean(let isOn): "\(isOn)"
            case .string(let text): "\"\(text)\""
            case .other(let kind): "a TOML \(kind)"
            }
        }
    }

    struct Entry {
        let value: Value
        let line: Int
    }

    struct Setting {
        let name: String
        let value: String
        let line: Int
    }

    let path: String
    /// By key; `set` is not among them.
    private(set) var entries: [String: Entry] = [:]
    /// What stands in the table `set`, sorted by line.
    private(set) var settings: [Setting] = []

    /// Far more than all options with a comment each.
    private static let largestSize = 1 << 20

    /// Reads and understands it, unknown keys being a mistake.
    init(path: String) throws(Failure) {
        self.path = path
        let text = try Self.read(path)
        let table = try Self.parse(text, path: path)
        let places = OptionPlaces(text)
        for key in table.keys {
            let line = places.line(of: key)
            guard RouterOption.served.contains(where: { $0.name == key && $0.name != RouterOption.config.name }) else {
                throw .usage("\(path):\(line): there is no option \"\(key)\"\(Self.suggestion(for: key))")
            }
            guard let node = table[key] else { continue }
            if key == RouterOption.set.name {
                guard let inner = node.table else {
                    throw .usage(
                        "\(path):\(line): set is a table of PostgreSQL's settings: set = { work_mem = \"8MB\" }")
                }
                settings += try settings(in: inner, prefix: "", places)
            } else {
                entries[key] = Entry(value: Value(node), line: line)
            }
        }
        settings.sort { $0.line < $1.line }
    }

    func origin(line: Int) -> OptionOrigin { .file(path: path, line: line) }

    /// An extension's setting may be written as a key of a table of the extension's name.
    private func settings(
        in table: TOMLTable, prefix: String, _ places: OptionPlaces
    ) throws(Failure) -> [Setting] {
        var found: [Setting] = []
        for key in table.keys {
            guard let node = table[key] else { continue }
            let name = prefix + key
            if let inner = node.table {
                found += try settings(in: inner, prefix: name + ".", places)
                continue
            }
            let line = places.line(ofSetting: key)
            let value: String
            switch Value(node) {
            case .integer(let number): value = "\(number)"
            case .boolean(let isOn): value = isOn ? "on" : "off"
            case .string(let text): value = text
            case .other(let kind):
                guard let number = node.double else {
                    throw .usage("\(path):\(line): the setting \(name) cannot be a TOML \(kind): write a string")
                }
                value = "\(number)"
            }
            found.append(Setting(name: name, value: value, line: line))
        }
        return found
    }

    // MARK: Reading

    private static func read(_ path: String) throws(Failure) -> String {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw unreadable(path) }
        defer { close(file) }
        var content: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 64 * 1024)
        while content.count <= largestSize {
            let count = unsafe block.withUnsafeMutableBytes { unsafe Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0 { throw unreadable(path) }
            if count == 0 { break }
            content += block.prefix(count)
        }
        guard content.count <= largestSize, let text = String(validating: content, as: UTF8.self) else {
            throw .usage("\(path): this is no configuration file: it is too long, or not UTF-8")
        }
        return text
    }

    private static func unreadable(_ path: String) -> Failure {
        .usage("cannot read the configuration file \(path): \(Privileges.reason(errno))")
    }

    private static func parse(_ text: String, path: String) throws(Failure) -> TOMLTable {
        do {
            return try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            throw .usage("\(path):\(error.source.begin.line): \(error.description)")
        } catch {
            throw .usage("\(path): \(error)")
        }
    }

    // MARK: Mistakes

    /// The option that was probably meant.
    static func suggestion(for key: String) -> String {
        let names = RouterOption.served.map(\.name).filter { $0 != RouterOption.config.name }
        let ranked = names.map { (name: $0, distance: distance(from: key.lowercased(), to: $0)) }
        guard let nearest = ranked.min(by: { $0.distance < $1.distance }),
            nearest.distance <= max(2, key.count / 2)
        else { return "; routerd config lists what there is" }
        return "; did you mean \"\(nearest.name)\"?"
    }

    /// How many letters must be added, removed or replaced (Levenshtein).
    private static func distance(from one: String, to other: String) -> Int {
        let (one, other) = (Array(one.utf8), Array(other.utf8))
        var row = Array(0...other.count)
        for (i, letter) in one.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, wanted) in other.enumerated() {
                let replaced = diagonal + (letter == wanted ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
            }
        }
        return row[other.count]
    }
}

extension OptionFile.Value {
    fileprivate init(_ node: any TOMLValueConvertible) {
        switch node.type {
        case .int: self = node.int.map { .integer($0) } ?? .other("integer")
        case .bool: self = node.bool.map { .boolean($0) } ?? .other("boolean")
        case .string: self = node.string.map { .string($0) } ?? .other("string")
        case .double: self = .other("fraction")
        case .array: self = .other("array")
        case .table: self = .other("table")
        case .date, .time, .dateTime: self = .other("date or time")
        }
    }
}

/// Which line a key stands on. The parser keeps no places, so they are looked for as a reader would.
private struct OptionPlaces {
    private let lines: [Substring]

    init(_ text: String) {
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    func line(of key: String) -> Int {
        line { Self.begins($0, key) || Self.isHeader($0, of: key) } ?? 1
    }

    /// In the table `set`, or in the line that has it as a whole.
    func line(ofSetting key: String) -> Int {
        let table = line(of: RouterOption.set.name)
        return line(from: table) { Self.begins($0, key) || $0.contains(key) } ?? table
    }

    private func line(from first: Int = 1, where isMeant: (Substring) -> Bool) -> Int? {
        lines.indices.dropFirst(first - 1).first { isMeant(lines[$0].drop { $0 == " " || $0 == "\t" }) }.map { $0 + 1 }
    }

    /// `key =`, `"key" =`, `key.more =`
    private static func begins(_ line: Substring, _ key: String) -> Bool {
        for spelling in [key, "\"\(key)\"", "'\(key)'"] where line.hasPrefix(spelling) {
            let rest = line.dropFirst(spelling.count).drop { $0 == " " || $0 == "\t" }
            if rest.hasPrefix("=") || rest.hasPrefix(".") { return true }
        }
        return false
    }

    /// `[key]`, `[[key]]`, `[key.more]`
    private static func isHeader(_ line: Substring, of key: String) -> Bool {
        guard line.hasPrefix("[") else { return false }
        let name = line.drop { $0 == "[" || $0 == " " || $0 == "\"" || $0 == "'" }
        guard name.hasPrefix(key), let next = name.dropFirst(key.count).first else { return false }
        return "]. \"'".contains(next)
    }
}
