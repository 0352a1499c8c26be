import WireProtocol

// `SET name = value`: an option that a running router can change, until it is restarted or reads its file again.

extension RouterConfiguration {
    /// Takes one option's value as the flags take it.
    ///
    /// - Throws: `42704` for a name that is no option's, `0A000` for one that cannot be changed this way, `22023` for an
    ///   impossible value.
    mutating func set(_ name: String, to text: String) throws(ErrorMessage) {
        let dashed = String(name.map { $0 == "_" ? "-" : $0 })
        guard let option = RouterOption.all.first(where: { $0.name == dashed }) else { throw .unknownOption(name) }
        switch option.name {
        case RouterOption.autoProvision.name: autoProvision = try Self.isOn(text, option)
        case RouterOption.maxInstances.name: maxInstances = try Self.count(text, option)
        case RouterOption.spares.name: spares = try Self.count(text, option)
        case RouterOption.maxClients.name: maxClients = try Self.count(text, option)
        case RouterOption.queueTimeout.name: queueTimeout = try Self.time(text, option)
        case RouterOption.idleTimeout.name: idleTimeout = try Self.time(text, option)
        case RouterOption.startupTimeout.name: startupTimeout = try Self.time(text, option)
        case RouterOption.logLevel.name:
            guard let level = LogLevel(rawValue: text.lowercased()) else { throw .invalidValue(text, option) }
            logger.logLevel = level.level
        // Those that a restart changes, or the next boot of an instance.
        default: throw .unchangeable(option)
        }
        do throws(RouterError) {
            try validate()
        } catch {
            throw ErrorMessage(severity: .error, .invalidParameterValue, error.description)
        }
    }

    private static func count(_ text: String, _ option: RouterOption) throws(ErrorMessage) -> Int {
        guard let count = Int(text) else { throw .invalidValue(text, option) }
        return count
    }

    private static func time(_ text: String, _ option: RouterOption) throws(ErrorMessage) -> Duration {
        guard let time = Duration(asWritten: text) else { throw .invalidValue(text, option) }
        return time
    }

    private static func isOn(_ text: String, _ option: RouterOption) throws(ErrorMessage) -> Bool {
        switch text.lowercased() {
        case "on", "true", "yes", "1": return true
        case "off", "false", "no", "0": return false
        default: throw .invalidValue(text, option)
        }
    }
}

extension Router {
    /// Changes one option at once.
    mutating func set(_ name: String, to text: String) throws(ErrorMessage) {
        var wanted = configuration
        try wanted.set(name, to: text)
        for change in reload(wanted).changes {
            guard change.change == .atOnce else {
                throw ErrorMessage(
                    severity: .error, .invalidParameterValue,
                    "\(change.option) cannot become \(change.after) while routerd runs",
                    hint: "Its tables have no room for so many: start it with the new value.")
            }
            log.info("\(change.option): \(change.before) → \(change.after)")
        }
    }
}

extension Duration {
    /// A span of time as people write it: `500ms`, `30s`, `5m`, `1h`; a bare number means seconds.
    package init?(asWritten text: String) {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        // A year of milliseconds fits many times over; what does not fit ten digits is a slip of the finger.
        guard !digits.isEmpty, digits.count <= 10, let count = Int(digits) else { return nil }
        switch text.dropFirst(digits.count) {
        case "ms": self = .milliseconds(count)
        case "s", "": self = .seconds(count)
        case "m", "min": self = .seconds(count * 60)
        case "h": self = .seconds(count * 3600)
        default: return nil
        }
    }
}

extension ErrorMessage {
    fileprivate static func unknownOption(_ name: String) -> ErrorMessage {
        ErrorMessage(
            severity: .error, .undefinedObject, "there is no option \"\(name)\"", hint: "SHOW CONFIG lists them.")
    }

    fileprivate static func invalidValue(_ text: String, _ option: RouterOption) -> ErrorMessage {
        ErrorMessage(
            severity: .error, .invalidParameterValue, "invalid value for \(option.name): \"\(text)\"",
            hint: "It is written as for the flag: --\(option.name) \(option.placeholder).")
    }

    fileprivate static func unchangeable(_ option: RouterOption) -> ErrorMessage {
        let hint =
            switch option.change {
            case .nextBoot, .atOnce: "Change it in the configuration file and say RELOAD."
            case .restart: "Start routerd with --\(option.name)."
            }
        return ErrorMessage(
            severity: .error, .featureNotSupported, "\(option.name) cannot be changed by SET", hint: hint)
    }
}
