import Reactor
import TenantPool
import WireProtocol

/// What a backend was opened with: who may have it after its session, and what he is told.
final class Opening: Sendable {
    /// The client's startup packet: the next client must send the same bytes.
    let packet: [UInt8]
    /// What the backend answered, but for its key and ReadyForQuery.
    let greeting: [UInt8]
    /// The instance's epoch when the backend was connected.
    let epoch: UInt64
    /// On the reactor's clock.
    let openedAt: Duration

    init(packet: [UInt8], greeting: [UInt8], epoch: UInt64, openedAt: Duration) {
        self.packet = packet
        self.greeting = greeting
        self.epoch = epoch
        self.openedAt = openedAt
    }

    /// What is to be said to the backend after a session that left these traces; nil where it cannot be reset.
    func reset(after traces: Traces) -> ResetExchange? {
        guard traces.changedParameters else { return ResetExchange() }
        return ResetExchange(
            restoring: Self.frames(of: greeting).compactMap { frame in
                frame.first == Backend.Tag.parameterStatus ? Backend.ParameterStatus(parsing: frame.dropFirst(5)) : nil
            })
    }

    /// What a client that has been sent AuthenticationOk already is still to be told.
    var restOfGreeting: [UInt8] { Array(greeting.dropFirst(Backend.authenticationOk.count)) }

    /// What a backend answered, without the key, which is each session's own.
    ///
    /// - Parameter isWhole: whether AuthenticationOk is part of it.
    static func greeting(of answer: [UInt8], isWhole: Bool) -> [UInt8] {
        var greeting = isWhole ? [] : Backend.authenticationOk
        for frame in frames(of: answer) where frame.first != Backend.Tag.backendKeyData { greeting += frame }
        return greeting
    }

    private static func frames(of bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var (decoder, offset) = (FrameDecoder(.backend), 0)
        var frames: [ArraySlice<UInt8>] = []
        while case .frame(let header) = unsafe decoder.next(in: bytes.span.bytes, at: &offset) {
            frames.append(bytes[header.start..<header.bodyRange(in: bytes.count).upperBound])
        }
        return frames
    }
}

/// A backend between two sessions.
///
///     resetting ─ reset ─▶ kept ─ a client with the same startup packet ─▶ a session's
///         │ refused, late    │ its time is over, outdated, in the way, it speaks
///         ▼                  ▼
///      leaving ─────────▶ leaving ─ backend ended ─▶ gone
final class KeptBackend {
    let number: UInt64
    let instance: InstanceID
    let token: Token
    let opening: Opening
    /// For listings.
    let user: String
    let tenant: String
    fileprivate(set) var stage: Stage = .leaving(.lease)
    /// The one deadline that runs for it.
    var deadline: Token?

    enum Stage {
        /// `DISCARD ALL` is under way. The last session's lease is still held.
        case resetting(ResetExchange, CancelKey)
        /// It waits for a client. The key is its own.
        case kept(CancelKey)
        /// It was told to go.
        case leaving(Hold)
    }

    /// What a backend that leaves takes up until it has gone.
    enum Hold {
        /// The last session's lease.
        case lease
        /// One of the instance's connections that no lease stands for.
        case place
    }

    fileprivate init(number: UInt64, instance: InstanceID, token: Token, opening: Opening, user: String, tenant: String)
    {
        self.number = number
        self.instance = instance
        self.token = token
        self.opening = opening
        self.user = user
        self.tenant = tenant
    }

    /// Whether the last session's lease is returned only when it has gone.
    var holdsLease: Bool {
        switch stage {
        case .resetting, .leaving(.lease): true
        case .kept, .leaving(.place): false
        }
    }

    /// Its process, while it may still be given to somebody.
    var processID: Int32? {
        switch stage {
        case .resetting(_, let key), .kept(let key): key.processID
        case .leaving: nil
        }
    }

    var isKept: Bool {
        switch stage {
        case .kept: true
        case .resetting, .leaving: false
        }
    }

    // MARK: Events

    /// A reset begins.
    func resetting(_ exchange: ResetExchange, _ key: CancelKey) { stage = .resetting(exchange, key) }

    enum ReceivedAction {
        case none
        /// It is reset: the lease goes back.
        case keep
        case leave
    }

    func received(_ bytes: RawSpan) -> ReceivedAction {
        switch stage {
        case .resetting(var exchange, let key):
            let outcome = exchange.received(bytes)
            stage = .resetting(exchange, key)
            return switch outcome {
            case .needsMore: .none
            case .reset: .keep
            case .failed: .leave
            }
        // What it says unasked is an end, or not for the next client.
        case .kept: return .leave
        case .leaving: return .none
        }
    }

    /// The lease went back.
    func kept() {
        guard case .resetting(_, let key) = stage else { return }
        stage = .kept(key)
    }

    /// It is told to go, or told again.
    func left() {
        switch stage {
        case .resetting: stage = .leaving(.lease)
        case .kept: stage = .leaving(.place)
        case .leaving: break
        }
    }

    enum DeadlineExpiredAction {
        case leave
        /// It does not go.
        case close
    }

    func deadlineExpired() -> DeadlineExpiredAction {
        deadline = nil
        return switch stage {
        case .resetting, .kept: .leave
        case .leaving: .close
        }
    }
}

/// All backends between two sessions.
struct KeptBackends {
    private var byNumber: [UInt64: KeptBackend] = [:]
    /// In the order in which their sessions ended.
    private var byInstance: [InstanceID: [KeptBackend]] = [:]
    /// Sessions of one kind share what they were opened with.
    private var latest: [InstanceID: Opening] = [:]
    private var lastNumber: UInt64 = 0

    var count: Int { byNumber.count }

    subscript(number: UInt64) -> KeptBackend? { byNumber[number] }

    /// Those of an instance, the one whose session ended first first.
    func all(of instance: InstanceID) -> [KeptBackend] { byInstance[instance] ?? [] }

    /// All of them, in the same order.
    var all: [KeptBackend] { byNumber.values.sorted { $0.number < $1.number } }

    /// The first of all.
    var oldest: KeptBackend? { byNumber.values.min { $0.number < $1.number } }

    /// Connections of an instance that no lease stands for.
    func places(of instance: InstanceID) -> Int { byInstance[instance]?.count { !$0.holdsLease } ?? 0 }

    mutating func add(
        _ token: Token, of instance: InstanceID, _ opening: Opening, user: String, tenant: String
    ) -> KeptBackend {
        lastNumber += 1
        let backend = KeptBackend(
            number: lastNumber, instance: instance, token: token, opening: opening, user: user, tenant: tenant)
        byNumber[lastNumber] = backend
        byInstance[instance, default: []].append(backend)
        return backend
    }

    mutating func remove(_ backend: KeptBackend) {
        byNumber[backend.number] = nil
        byInstance[backend.instance]?.removeAll { $0 === backend }
        if byInstance[backend.instance]?.isEmpty == true { byInstance[backend.instance] = nil }
    }

    /// The one for a client with this startup packet that was in use last: what it has in its caches is the youngest.
    func match(_ packet: [UInt8], of instance: InstanceID) -> (KeptBackend, CancelKey)? {
        for backend in byInstance[instance]?.reversed() ?? [] {
            if case .kept(let key) = backend.stage, backend.opening.packet == packet { return (backend, key) }
        }
        return nil
    }

    /// A backend was opened.
    mutating func opened(_ opening: Opening, of instance: InstanceID) -> Opening {
        guard let known = latest[instance], known.packet == opening.packet, known.greeting == opening.greeting else {
            latest[instance] = opening
            return opening
        }
        return Opening(
            packet: known.packet, greeting: known.greeting, epoch: opening.epoch, openedAt: opening.openedAt)
    }

    /// The instance is gone, and what is left of it was removed.
    mutating func forget(_ instance: InstanceID) {
        latest[instance] = nil
    }
}
