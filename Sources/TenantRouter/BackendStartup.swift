import WireProtocol

/// What a backend says between the startup packet and its first ReadyForQuery.
///
/// Here, and only here, frames are needed whole: BackendKeyData gets another secret, and AuthenticationOk is held back
/// until the next message, because PostgreSQL sends it before it looks whether the role exists.
/// PostgreSQL manual, "Message Flow", "Start-up".
struct BackendStartup {
    /// Everything the client gets once the startup has ended either way.
    private(set) var answer: [UInt8] = []
    /// The client has had its AuthenticationOk already.
    private let isGreeted: Bool
    private var assembler = FrameAssembler(.backend, limit: Limits.backendStartupBytes)

    init(isGreeted: Bool = false) { self.isGreeted = isGreeted }

    /// What the bytes so far amount to.
    enum Outcome {
        case needsMore
        /// The key that the backend gave out; the client is to get another in its place.
        case keyReceived(CancelKey)
        /// ReadyForQuery is in, with whatever came behind it: from here on everything is relayed.
        case ready([UInt8])
        /// The backend refused; it closes after this.
        case refused(ErrorMessage)
        /// It said what no PostgreSQL says here.
        case violation(String)
    }

    mutating func append(_ bytes: RawSpan) { assembler.append(bytes) }

    /// Digests frames until one needs a decision.
    mutating func next() -> Outcome {
        while true {
            switch assembler.next() {
            case .needsMore: return .needsMore
            case .violation(let violation): return .violation("its framing is broken: \(violation)")
            case .frame(let frame):
                guard answer.count + frame.bytes.count <= Limits.backendStartupBytes else {
                    return .violation("it says more than \(Limits.backendStartupBytes) bytes before it is ready")
                }
                switch frame.tag {
                case Backend.Tag.authentication:
                    guard Backend.AuthenticationRequest(parsing: frame.body) == .ok else {
                        return .violation("it asks for a password, which routerd does not relay")
                    }
                    if !isGreeted { answer += frame.bytes }
                case Backend.Tag.backendKeyData:
                    guard let key = Backend.cancelKey(parsing: frame.body) else {
                        return .violation("its BackendKeyData is malformed")
                    }
                    return .keyReceived(key)
                case Backend.Tag.errorResponse:
                    answer += frame.bytes
                    return .refused(ErrorMessage(parsing: frame.body) ?? .unreadable)
                case Backend.Tag.readyForQuery:
                    return .ready(frame.bytes + assembler.takeLeftover())
                default:
                    answer += frame.bytes
                }
            }
        }
    }

    /// Puts the client's key where the backend's stood.
    mutating func answer(withKey issued: CancelKey) {
        answer += Backend.backendKeyData(issued)
    }
}
