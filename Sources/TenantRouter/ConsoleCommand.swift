import TenantPool
import WireProtocol

/// One thing that the console can be asked.
enum ConsoleCommand: Equatable {
    case show(ConsoleTopic)
    case drop(TenantName)
    case hibernate(TenantName)
    case wake(TenantName)
    /// Prints the messages of a tenant's sessions, or no longer.
    case inspect(TenantName, isOn: Bool)
    /// By the number that `SHOW CLIENTS` and the log give a session.
    case killClient(UInt64)
    /// New clients of one tenant, or of all, wait; answered when the present ones have left.
    case pause(TenantName?)
    case resume(TenantName?)
    /// Ends a tenant's sessions and its instance, and pauses it.
    case kill(TenantName)
    /// New clients of a tenant are refused.
    case disable(TenantName)
    case enable(TenantName)
    /// Backends are replaced when their sessions end.
    case reconnect(TenantName?)
    /// Answered when the last of those that a reconnect meant has gone.
    case waitClose(TenantName?)
    /// Reads the configuration file again.
    case reload
    /// Changes one option.
    case set(String, to: String)
    /// Orderly, or in a hurry from the start; a second one hurries too.
    case shutdown(inAHurry: Bool)
    /// A driver's habit that changes nothing here: BEGIN, COMMIT, SET client_encoding.
    case formality(tag: String)

    /// What CommandComplete says.
    var tag: String {
        switch self {
        case .show: "SHOW"
        case .drop: "DROP"
        case .hibernate: "HIBERNATE"
        case .wake: "WAKE"
        case .inspect: "INSPECT"
        case .killClient: "KILL_CLIENT"
        case .pause: "PAUSE"
        case .resume: "RESUME"
        case .kill: "KILL"
        case .disable: "DISABLE"
        case .enable: "ENABLE"
        case .reconnect: "RECONNECT"
        case .waitClose: "WAIT_CLOSE"
        case .reload: "RELOAD"
        case .set: "SET"
        case .shutdown: "SHUTDOWN"
        case .formality(let tag): tag
        }
    }

    /// Whether it is answered when others have left, which nobody can make them do.
    var mayWaitLong: Bool {
        switch self {
        case .pause, .kill, .waitClose: true
        case .show, .drop, .hibernate, .wake, .inspect, .killClient, .resume, .disable, .enable, .reconnect, .reload,
            .set, .shutdown, .formality:
            false
        }
    }

    /// The columns of its result; nil where it returns no rows.
    var columns: [Column]? {
        switch self {
        case .show(let topic): topic.columns
        case .drop, .hibernate, .wake, .inspect, .killClient, .pause, .resume, .kill, .disable, .enable, .reconnect,
            .waitClose, .reload, .set, .shutdown, .formality:
            nil
        }
    }
}

/// What a console may be asked, which depends on the socket that its client came by.
enum ConsoleAccess {
    /// The control socket, whose clients know the token.
    case everything
    /// Every other way in: whoever may connect may look.
    case looking

    func permits(_ command: ConsoleCommand) -> Bool {
        switch self {
        case .everything: true
        case .looking:
            switch command {
            case .show, .formality: true
            case .drop, .hibernate, .wake, .inspect, .killClient, .pause, .resume, .kill, .disable, .enable, .reconnect,
                .waitClose, .reload, .set, .shutdown:
                false
            }
        }
    }
}

// MARK: - Reading

extension ConsoleCommand {
    /// The commands of a query, separated by semicolons.
    ///
    /// - Throws: `42601` for what is no command, `0A000` for what has no meaning here, and what a name that cannot be a
    ///   tenant's has of its own.
    static func parse(_ text: String) throws(ErrorMessage) -> [ConsoleCommand] {
        var commands: [ConsoleCommand] = []
        for words in try ConsoleLexer.statements(of: text) where !words.isEmpty {
            commands.append(try ConsoleCommand(words))
        }
        return commands
    }

    private init(_ words: [ConsoleWord]) throws(ErrorMessage) {
        let verb = words[0].keyword ?? ""
        let rest = Array(words.dropFirst())
        switch verb {
        case "show": self = .show(try ConsoleTopic(rest))
        case "drop": self = .drop(try Self.tenant(rest, of: "DROP"))
        case "hibernate": self = .hibernate(try Self.tenant(rest, of: "HIBERNATE"))
        case "wake": self = .wake(try Self.tenant(rest, of: "WAKE"))
        case "inspect": self = try Self.inspection(rest)
        case "kill_client": self = .killClient(try Self.number(rest))
        case "pause": self = .pause(try Self.tenantOrAll(rest, of: "PAUSE"))
        case "resume": self = .resume(try Self.tenantOrAll(rest, of: "RESUME"))
        case "kill": self = .kill(try Self.tenant(rest, of: "KILL"))
        case "disable": self = .disable(try Self.tenant(rest, of: "DISABLE"))
        case "enable": self = .enable(try Self.tenant(rest, of: "ENABLE"))
        case "reconnect": self = .reconnect(try Self.tenantOrAll(rest, of: "RECONNECT"))
        case "wait_close": self = .waitClose(try Self.tenantOrAll(rest, of: "WAIT_CLOSE"))
        case "reload": self = try Self.reload(rest)
        case "shutdown": self = .shutdown(inAHurry: try Self.isHurried(rest))
        case "set": self = try Self.setting(rest)
        case "begin", "start", "commit", "end", "rollback", "discard": self = .formality(tag: verb.uppercased())
        default:
            if let reason = Self.reasons[verb] { throw ErrorMessage(severity: .error, .featureNotSupported, reason) }
            throw .unknownCommand(words[0].text)
        }
    }

    /// `name`, or `DATABASE name` as one is used to. A name is taken as it is written: upper case is not folded, since
    /// connection strings do not fold it either.
    private static func tenant(_ words: [ConsoleWord], of verb: String) throws(ErrorMessage) -> TenantName {
        let isSpelledOut = words.count == 2 && ["database", "tenant"].contains(words[0].keyword)
        guard words.count == (isSpelledOut ? 2 : 1), let name = words.last, name.isName else {
            throw .syntax("\(verb) takes the name of one tenant", hint: "Write \(verb) name, or \(verb) \"any name\".")
        }
        do throws(TenantNameError) {
            return try TenantName(name.text)
        } catch {
            var message = ErrorMessage.badName(error)
            message.severity = .error
            throw message
        }
    }

    private static func tenantOrAll(_ words: [ConsoleWord], of verb: String) throws(ErrorMessage) -> TenantName? {
        words.isEmpty ? nil : try tenant(words, of: verb)
    }

    private static func reload(_ words: [ConsoleWord]) throws(ErrorMessage) -> ConsoleCommand {
        guard words.isEmpty else {
            throw .syntax("RELOAD takes nothing", hint: "It reads the configuration file again.")
        }
        return .reload
    }

    private static func inspection(_ words: [ConsoleWord]) throws(ErrorMessage) -> ConsoleCommand {
        let tenant = try tenant(Array(words.dropLast()), of: "INSPECT")
        switch words.last?.keyword {
        case "on": return .inspect(tenant, isOn: true)
        case "off": return .inspect(tenant, isOn: false)
        default: throw .syntax("INSPECT takes a name and ON or OFF", hint: "Write INSPECT name ON.")
        }
    }

    private static func number(_ words: [ConsoleWord]) throws(ErrorMessage) -> UInt64 {
        guard words.count == 1, let number = UInt64(words[0].text) else {
            throw .syntax("KILL_CLIENT takes the number of one client", hint: "SHOW CLIENTS has them in column id.")
        }
        return number
    }

    private static func isHurried(_ words: [ConsoleWord]) throws(ErrorMessage) -> Bool {
        switch words.map(\.keyword) {
        case []: return false
        case ["hurry"]: return true
        default: throw .syntax("SHUTDOWN takes nothing, or HURRY", hint: "A second SHUTDOWN hurries too.")
        }
    }

    /// `name = value` or `name TO value`. What drivers set at the beginning of every session is taken and changes
    /// nothing.
    private static func setting(_ words: [ConsoleWord]) throws(ErrorMessage) -> ConsoleCommand {
        let named = words.first?.keyword == "session" ? words.dropFirst() : words[...]
        guard let name = named.first?.keyword else { throw .settingSyntax }
        if clientSettings.contains(name) { return .formality(tag: "SET") }
        let rest = Array(named.dropFirst())
        guard rest.count == 2, rest[0].text == "=" || rest[0].keyword == "to", rest[1].isName else {
            throw .settingSyntax
        }
        return .set(name, to: rest[1].text)
    }

    private static let clientSettings: Set<String> = [
        "application_name", "bytea_output", "characteristics", "client_encoding", "client_min_messages", "datestyle",
        "extra_float_digits", "idle_in_transaction_session_timeout", "intervalstyle", "lock_timeout", "names",
        "search_path", "standard_conforming_strings", "statement_timeout", "time", "timezone", "transaction",
    ]

    /// What is a command elsewhere, and why it is none here.
    private static let reasons: [String: String] = [
        "suspend": "routerd has no SUSPEND: SHUTDOWN stops it, and nothing is lost",
        "create": "a database is created by connecting to it",
        "alter": "the console is no database: connect to the tenant to change it",
        "select": "the console is no database: it knows SHOW and a few commands, and no SELECT",
        "insert": "the console is no database: it has no tables",
        "update": "the console is no database: it has no tables",
        "delete": "the console is no database: it has no tables",
        "copy": "the console is no database: it has no tables",
        "listen": "the console sends no notifications",
        "declare": "the console has no cursors",
    ]
}

extension ErrorMessage {
    static func unknownCommand(_ word: String) -> ErrorMessage {
        .syntax("the console has no command \"\(word)\"", hint: ConsoleTopic.whatThereIs)
    }

    fileprivate static let settingSyntax = syntax(
        "SET takes a name and a value", hint: "Write SET name = value; SHOW CONFIG has the names.")

    static func syntax(_ message: String, hint: String) -> ErrorMessage {
        ErrorMessage(severity: .error, .syntaxError, message, hint: hint)
    }
}
