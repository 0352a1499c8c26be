/// What a frontend says after its startup packet, as far as the router's own console reads it (PostgreSQL manual,
/// "Message Formats").
public enum FrontendMessage: Sendable, Equatable {
    case password(String)
    case query(String)
    case parse(Parse)
    case bind(Bind)
    case describe(Target)
    case execute(portal: String, maxRows: Int32)
    case close(Target)
    case flush
    case sync
    case terminate
    /// A message that no console has a use for: CopyData, CopyDone, CopyFail, FunctionCall.
    case other(tag: UInt8)

    /// Parse
    public struct Parse: Sendable, Equatable {
        /// Empty is the unnamed statement.
        public let statement: String
        /// The SQL text.
        public let query: String
        /// How many parameter types it lists.
        public let parameterTypes: Int
    }

    /// Bind
    public struct Bind: Sendable, Equatable {
        /// Empty is the unnamed portal.
        public let portal: String
        /// Empty is the unnamed statement.
        public let statement: String
        /// How many parameter values it brings.
        public let parameters: Int
        /// How the result is wanted.
        public let formats: ResultFormats
    }

    /// What Describe and Close mean.
    public enum Target: Sendable, Equatable {
        case statement(String)
        case portal(String)
    }

    /// Nil where the body is not what the tag promises. Text that is not UTF-8 is repaired.
    public init?(_ frame: Frame) {
        var rest = frame.body
        guard let message = Self(tag: frame.tag, body: &rest) else { return nil }
        self = message
    }

    private init?(tag: UInt8, body rest: inout ArraySlice<UInt8>) {
        switch tag {
        case Frontend.Tag.flush: self = .flush
        case Frontend.Tag.sync: self = .sync
        case Frontend.Tag.terminate: self = .terminate
        case Frontend.Tag.password:
            guard let password = rest.popText(), rest.isEmpty else { return nil }
            self = .password(password)
        case Frontend.Tag.query:
            guard let text = rest.popText(), rest.isEmpty else { return nil }
            self = .query(text)
        case Frontend.Tag.parse:
            guard let parse = Parse(&rest) else { return nil }
            self = .parse(parse)
        case Frontend.Tag.bind:
            guard let bind = Bind(&rest) else { return nil }
            self = .bind(bind)
        case Frontend.Tag.describe:
            guard let target = Target(&rest) else { return nil }
            self = .describe(target)
        case Frontend.Tag.close:
            guard let target = Target(&rest) else { return nil }
            self = .close(target)
        case Frontend.Tag.execute:
            guard let portal = rest.popText(), rest.count == 4 else { return nil }
            self = .execute(portal: portal, maxRows: Int32(bitPattern: rest.bigEndianWord(at: rest.startIndex)))
        default: self = .other(tag: tag)
        }
    }
}

extension FrontendMessage.Parse {
    fileprivate init?(_ rest: inout ArraySlice<UInt8>) {
        guard let statement = rest.popText(), let query = rest.popText(), let count = rest.popCount(),
            rest.count == 4 * count
        else { return nil }
        self.init(statement: statement, query: query, parameterTypes: count)
    }
}

extension FrontendMessage.Bind {
    fileprivate init?(_ rest: inout ArraySlice<UInt8>) {
        guard let portal = rest.popText(), let statement = rest.popText(), rest.skipFormats(),
            let parameters = rest.skipParameters(), let count = rest.popCount(), rest.count == 2 * count
        else { return nil }
        var formats: [ValueFormat] = []
        for _ in 0..<count {
            guard let format = rest.popCount().flatMap({ ValueFormat(rawValue: Int16($0)) }) else { return nil }
            formats.append(format)
        }
        self.init(portal: portal, statement: statement, parameters: parameters, formats: ResultFormats(formats))
    }
}

extension FrontendMessage.Target {
    fileprivate init?(_ rest: inout ArraySlice<UInt8>) {
        guard let kind = rest.popFirst(), let name = rest.popText(), rest.isEmpty else { return nil }
        switch kind {
        case UInt8(ascii: "S"): self = .statement(name)
        case UInt8(ascii: "P"): self = .portal(name)
        default: return nil
        }
    }
}

extension ArraySlice<UInt8> {
    fileprivate mutating func popText() -> String? {
        popCString().map { String(decoding: $0, as: UTF8.self) }
    }

    /// A count of at most 32767, as an Int16 has it.
    fileprivate mutating func popCount() -> Int? {
        guard count >= 2, let high = popFirst(), let low = popFirst(), high < 0x80 else { return nil }
        return Int(high) << 8 | Int(low)
    }

    fileprivate mutating func skipFormats() -> Bool {
        guard let formats = popCount(), count >= 2 * formats else { return false }
        self = dropFirst(2 * formats)
        return true
    }

    /// Skips the values of parameters; how many there were.
    fileprivate mutating func skipParameters() -> Int? {
        guard let parameters = popCount() else { return nil }
        for _ in 0..<parameters {
            guard count >= 4 else { return nil }
            let length = Int32(bitPattern: bigEndianWord(at: startIndex))
            self = dropFirst(4)
            guard length >= -1, count >= Int(length) else { return nil }
            self = dropFirst(Swift.max(0, Int(length)))
        }
        return parameters
    }
}

extension Frontend {
    /// PasswordMessage: the answer to a request for a clear-text password
    public static func password(_ password: String) -> [UInt8] {
        .frame(Tag.password) { $0.appendCString(password) }
    }
}
