import ArgumentParser
import TenantRouter

/// Where the value of an option comes from.
enum OptionOrigin: Equatable, CustomStringConvertible {
    case fallback
    case file(path: String, line: Int)
    case variable(String)
    case flag(String)

    var description: String {
        switch self {
        case .fallback: "default"
        case .file(let path, let line): "\(path):\(line)"
        case .variable(let name): name
        case .flag(let name): "--\(name)"
        }
    }
}

/// A value that a flag, a variable or the file can hold.
protocol OptionValue: ExpressibleByArgument {
    init?(_ value: OptionFile.Value)
}

extension OptionValue {
    /// Whatever is a word on the command line is a string in the file.
    init?(_ value: OptionFile.Value) {
        guard case .string(let text) = value else { return nil }
        self.init(argument: text)
    }
}

extension String: OptionValue {}

extension OptionValue where Self: FixedWidthInteger {
    init?(_ value: OptionFile.Value) {
        guard case .integer(let number) = value else { return nil }
        self.init(exactly: number)
    }
}

extension Int: OptionValue {}
extension UInt16: OptionValue {}

extension Switch: OptionValue {
    init?(_ value: OptionFile.Value) {
        guard case .boolean(let isOn) = value else { return nil }
        self = isOn ? .on : .off
    }
}

extension Span: OptionValue {
    /// `"30s"`, or seconds as a number.
    init?(_ value: OptionFile.Value) {
        switch value {
        case .string(let text): self.init(argument: text)
        case .integer(let seconds): self.init(argument: "\(seconds)")
        case .boolean, .other: return nil
        }
    }
}

/// The variables and the file, behind the flags; remembers who had the last word.
struct OptionSources {
    let file: OptionFile?
    private(set) var origins: [String: OptionOrigin] = [:]

    /// Reads the file that the flag `--config` names, or the variable.
    init(config: String?) throws(Failure) {
        let flag = config.map { ($0, OptionOrigin.flag(RouterOption.config.name)) }
        let variable = Environment.text(of: RouterOption.config.variable).map {
            ($0, OptionOrigin.variable(RouterOption.config.variable))
        }
        guard let (path, origin) = flag ?? variable else {
            file = nil
            return
        }
        file = try OptionFile(path: path)
        origins[RouterOption.config.name] = origin
    }

    /// The value of an option, or nil where nobody has said anything.
    mutating func value<Value: OptionValue>(_ row: RouterOption, _ flag: Value?) throws(Failure) -> Value? {
        if let flag {
            origins[row.name] = .flag(row.name)
            return flag
        }
        if let text = Environment.text(of: row.variable) {
            guard let value = Value(argument: text) else {
                throw .usage(
                    "the environment variable \(row.variable) has the value \"\(text)\", which is not valid for it")
            }
            origins[row.name] = .variable(row.variable)
            return value
        }
        guard let file, let entry = file.entries[row.name] else { return nil }
        guard let value = Value(entry.value) else {
            throw .usage("\(file.path):\(entry.line): \(row.name) cannot be \(entry.value): \(row.expectation)")
        }
        origins[row.name] = .file(path: file.path, line: entry.line)
        return value
    }

    mutating func isOn(_ row: RouterOption, _ flag: Bool?) throws(Failure) -> Bool? {
        try value(row, flag.map { $0 ? Switch.on : .off })?.isOn
    }

    /// The file's, the variable's and the flags' together: the last of a name wins.
    mutating func settings(_ flags: [PostgresSetting]) throws(Failure) -> [PostgresSetting] {
        let row = RouterOption.set
        var said: [(setting: PostgresSetting, origin: OptionOrigin)] = []
        if let file {
            said += file.settings.map { (PostgresSetting(name: $0.name, value: $0.value), file.origin(line: $0.line)) }
        }
        for part in (Environment.text(of: row.variable) ?? "").split(separator: ";") {
            guard let setting = PostgresSetting(argument: String(part)) else {
                throw .usage("the environment variable \(row.variable) contains \"\(part)\", which is not name=value")
            }
            said.append((setting, .variable(row.variable)))
        }
        said += flags.map { ($0, .flag(row.name)) }
        for (setting, origin) in said {
            origins[row.name] = origin
            origins["\(row.name).\(setting.name)"] = origin
        }
        return said.map(\.setting)
    }
}

extension RouterOption {
    /// What the file may say for it.
    fileprivate var expectation: String {
        switch placeholder {
        case "", "switch": "it is true or false"
        case "number", "count": "it is a whole number"
        case "time": "it is a time such as \"500ms\", \"30s\" or \"5m\""
        default: "it is a string\(summary.contains(" or ") && !summary.contains(",") ? "" : ": \(summary)")"
        }
    }
}
