/// Both directions of one session as somebody reads along: bytes in, descriptions of the messages out. It holds the
/// beginning of one message a direction and nothing else of the session.
///
/// Passwords never come out of it: neither PasswordMessage nor what stands behind the first string constant of a
/// statement that speaks of a password, and while such a statement is under way neither values nor what errors quote.
public struct SessionInspection: Sendable {
    /// What is shown of parameters, rows and COPY data.
    public enum Values: Sendable {
        /// Their sizes.
        case hidden
        /// Their beginning.
        case shown
    }

    /// How much of a message is kept, in bytes: enough for the line about it.
    static let keptBytes = 8 * 1024
    /// Prepared statements with a password in them that are remembered by name; past that no parameter is shown.
    static let secretStatementsLimit = 100

    private let values: Values
    private var frontend: FrameSampler
    private var backend: FrameSampler
    /// Query, Sync and FunctionCall, each of which a ReadyForQuery answers.
    private var asked: UInt64 = 0
    private var answered: UInt64 = 0
    /// Until so many are answered a password is about.
    private var secretUntil: UInt64 = 0
    private var secretStatements: Set<[UInt8]> = []

    /// - Parameters:
    ///   - frontend: where the frontend's stream stands: behind the startup packet, or wherever the relay is.
    ///   - backend: the same of the backend's stream.
    ///   - values: what is shown of values.
    public init(
        frontend: FrameDecoder = FrameDecoder(.frontend), backend: FrameDecoder = FrameDecoder(.backend), values: Values
    ) {
        self.frontend = FrameSampler(frontend, limit: Self.keptBytes)
        self.backend = FrameSampler(backend, limit: Self.keptBytes)
        self.values = values
    }

    /// The messages that end in this chunk, in their order.
    public mutating func received(_ bytes: RawSpan, from direction: FrameDirection) -> [MessageDescription] {
        switch direction {
        case .frontend:
            frontend.received(bytes).map { frame in
                notice(asked: frame)
                return MessageDescription(frontend: frame, discretion)
            }
        case .backend:
            backend.received(bytes).map { frame in
                if frame.tag == Backend.Tag.readyForQuery { answered += 1 }
                return MessageDescription(backend: frame, discretion)
            }
        }
    }

    private var discretion: Discretion {
        if answered < secretUntil { return .secrets }
        switch values {
        case .hidden: return .sizes
        case .shown: return .values
        }
    }

    private mutating func notice(asked frame: SampledFrame) {
        switch frame.tag {
        case Frontend.Tag.query:
            if mayHoldSecret(frame) { keepSecret() }
            asked += 1
        case Frontend.Tag.sync, Frontend.Tag.functionCall: asked += 1
        case Frontend.Tag.parse: notice(parsed: frame)
        case Frontend.Tag.bind: notice(bound: frame.body)
        default: break
        }
    }

    /// Up to the answer of what is being asked now.
    private mutating func keepSecret() { secretUntil = max(answered, asked) + 1 }

    /// What was not kept may speak of anything.
    private func mayHoldSecret(_ frame: SampledFrame) -> Bool { !frame.isWhole || Secrets.areIn(frame.body) }

    private mutating func notice(parsed frame: SampledFrame) {
        var rest = frame.body[...]
        let statement = Array(rest.popCString() ?? [])
        guard mayHoldSecret(frame) else {
            if secretStatements.count < Self.secretStatementsLimit { secretStatements.remove(statement) }
            return
        }
        keepSecret()
        if secretStatements.count < Self.secretStatementsLimit { secretStatements.insert(statement) }
    }

    private mutating func notice(bound body: [UInt8]) {
        var rest = body[...]
        _ = rest.popCString()
        let isFull = secretStatements.count >= Self.secretStatementsLimit
        if isFull || secretStatements.contains(Array(rest.popCString() ?? [])) { keepSecret() }
    }
}
