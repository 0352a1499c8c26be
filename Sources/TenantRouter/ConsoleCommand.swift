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
        case .shutdown: "SHUTDOWN"
        case .formality(let tag): tag
        }
    }

    /// The columns of its result; nil where it returns no rows.
    var columns: [Column]? {
        switch self {
        case .show(let topic): topic.columns
        case .drop, .hibernate, .wake, .inspect, .killClient, .shutdown, .formality: nil
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
            case .drop, .hibernate, .wake, .inspect, .killClient, .shutdown: false
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

    /// What drivers set at the beginning of every session is taken and changes nothing.
    private static func setting(_ words: [ConsoleWord]) throws(ErrorMessage) -> ConsoleCommand {
        let named = words.first?.keyword == "session" ? words.dropFirst() : words[...]
        guard let name = named.first?.keyword, clientSettings.contains(name) else {
            throw ErrorMessage(
                severity: .error, .featureNotSupported, "options cannot be changed by SQL",
                hint:
                    "Start routerd with other flags, or change its configuration file and send it SIGHUP; SHOW CONFIG "
                    + "has the present values.")
        }
        return .formality(tag: "SET")
    }

    private static let clientSettings: Set<String> = [
        "application_name", "bytea_output", "characteristics", "client_encoding", "client_min_messages", "datestyle",
        "extra_float_digits", "idle_in_transaction_session_timeout", "intervalstyle", "lock_timeout", "names",
        "search_path", "standard_conforming_strings", "statement_timeout", "time", "timezone", "transaction",
    ]

    /// What is a command elsewhere, and why it is none here.
    private static let reasons: [String: String] = [
        "pause": "routerd has no PAUSE: HIBERNATE name stops one instance until somebody connects",
        "resume": "routerd has no RESUME, as nothing is ever paused: WAKE name starts an instance",
        "suspend": "routerd has no SUSPEND: SHUTDOWN stops it, and nothing is lost",
        "reconnect": "routerd has no RECONNECT: each session has a backend of its own, made when it begins",
        "disable": "routerd has no DISABLE: --no-auto-provision keeps new databases from being made",
        "enable": "routerd has no ENABLE, as no database is ever disabled",
        "kill": "routerd has no KILL: HIBERNATE name stops an instance, KILL_CLIENT id ends one session",
        "reload": "routerd has no RELOAD: options are flags and variables, read when it starts",
        "wait_close": "routerd has no WAIT_CLOSE: SHOW INSTANCES tells who is still connected",
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

    static func syntax(_ message: String, hint: String) -> ErrorMessage {
        ErrorMessage(severity: .error, .syntaxError, message, hint: hint)
    }
}

// MARK: - Words

/// A word of a command, as it was written.
struct ConsoleWord: Equatable {
    enum Kind { case plain, quoted, symbol }

    let kind: Kind
    let text: String

    /// In lower case, where it may be a keyword.
    var keyword: String? { kind == .plain ? text.lowercased() : nil }
    var isName: Bool { kind != .symbol }
}

/// Splits a query into statements of words. Names may be quoted as identifiers or as literals; comments are skipped.
struct ConsoleLexer {
    private var rest: Substring.UnicodeScalarView

    static func statements(of text: String) throws(ErrorMessage) -> [[ConsoleWord]] {
        var lexer = ConsoleLexer(rest: text[...].unicodeScalars)
        var statements: [[ConsoleWord]] = [[]]
        while let word = try lexer.next() {
            if word == ConsoleWord(kind: .symbol, text: ";") {
                statements.append([])
            } else {
                statements[statements.count - 1].append(word)
            }
        }
        return statements
    }

    private mutating func next() throws(ErrorMessage) -> ConsoleWord? {
        try skipSpace()
        guard let first = rest.first else { return nil }
        if first == "\"" || first == "'" { return ConsoleWord(kind: .quoted, text: try quoted(by: first)) }
        guard Self.isPlain(first) else {
            rest.removeFirst()
            return ConsoleWord(kind: .symbol, text: String(first))
        }
        let word = rest.prefix(while: Self.isPlain)
        rest = rest[word.endIndex...]
        return ConsoleWord(kind: .plain, text: String(Substring(word)))
    }

    private mutating func skipSpace() throws(ErrorMessage) {
        while let first = rest.first {
            if first.properties.isWhitespace || first == "\0" {
                rest.removeFirst()
            } else if rest.starts(with: "--".unicodeScalars) {
                rest = rest.drop { $0 != "\n" }
            } else if rest.starts(with: "/*".unicodeScalars) {
                try skipComment()
            } else {
                return
            }
        }
    }

    private mutating func skipComment() throws(ErrorMessage) {
        rest = rest.dropFirst(2)
        while !rest.starts(with: "*/".unicodeScalars) {
            guard !rest.isEmpty else { throw .syntax("a comment has no end", hint: "It ends with */.") }
            rest.removeFirst()
        }
        rest = rest.dropFirst(2)
    }

    /// A quote inside is written twice.
    private mutating func quoted(by quote: Unicode.Scalar) throws(ErrorMessage) -> String {
        rest.removeFirst()
        var text = String.UnicodeScalarView()
        while let scalar = rest.popFirst() {
            if scalar != quote {
                text.append(scalar)
            } else if rest.first == quote {
                rest.removeFirst()
                text.append(quote)
            } else {
                return String(text)
            }
        }
        throw .syntax("a quoted name has no end", hint: "It ends with \(quote); one inside is written twice.")
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_", "-", ".", "$", "%": true
        default: !scalar.isASCII && !scalar.properties.isWhitespace
        }
    }
}
