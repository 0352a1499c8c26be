import Reactor

/// One client of the status page's server: requests in, answers out, one at a time.
///
///     reading ─ request ─▶ answering ─ answered ─▶ sending ─ sent ─▶ reading        keep-alive
///        │                                            ╰─────────────▶ ending        the last one
///        ╰─ violation: told, and then ─────────────────────────────────▲
struct HTTPConnection {
    /// When it last spoke, or was given a chance to, on the reactor's clock.
    var quietSince = Duration.zero
    private(set) var stream = Token(raw: 0)
    /// The one deadline that runs for it.
    var deadline: Token?
    private(set) var stage: Stage = .reading
    private var reader = HTTPReader()

    enum Stage {
        case reading
        case answering(HTTPRequest)
        case sending(keepsAlive: Bool)
        /// Everything is sent; the client is given the time to read it.
        case ending
    }

    enum ReadAction {
        case none
        case answer(HTTPRequest)
        case refuse(HTTPViolation)
    }

    mutating func accepted(_ stream: Token) { self.stream = stream }

    /// Whether it has asked nothing, or not all of it: it may go to make room.
    var isAsking: Bool {
        switch stage {
        case .reading: true
        case .answering, .sending, .ending: false
        }
    }

    /// Its place is wanted: nothing that it still says is heard.
    mutating func dismissed() { stage = .ending }

    mutating func received(_ bytes: RawSpan) -> ReadAction {
        switch stage {
        case .reading:
            reader.append(bytes)
            return next()
        case .answering, .sending:
            // What was under way when reading stopped.
            reader.append(bytes)
            return .none
        case .ending: return .none
        }
    }

    private mutating func next() -> ReadAction {
        switch reader.next() {
        case .needsMore: return .none
        case .request(let request):
            stage = .answering(request)
            return .answer(request)
        case .violation(let violation):
            stage = .sending(keepsAlive: false)
            return .refuse(violation)
        }
    }

    /// The client says no more. Answers whether that is the end: what it has asked before is still answered.
    mutating func ended() -> Bool {
        switch stage {
        case .reading, .ending: return true
        case .answering(var request):
            request.keepsAlive = false
            stage = .answering(request)
        case .sending: stage = .sending(keepsAlive: false)
        }
        return false
    }

    /// The answer's bytes; nil where nobody waits for one.
    mutating func answered(_ response: HTTPResponse) -> [UInt8]? {
        guard case .answering(let request) = stage else { return nil }
        stage = .sending(keepsAlive: request.keepsAlive)
        return response.bytes(withBody: request.method != .head, keepsAlive: request.keepsAlive)
    }

    enum SentAction {
        case none
        case read(ReadAction)
        case finish
    }

    mutating func sent() -> SentAction {
        guard case .sending(let keepsAlive) = stage else { return .none }
        guard keepsAlive else {
            stage = .ending
            return .finish
        }
        stage = .reading
        return .read(next())
    }
}
