import Reactor
import TenantPool
import WireProtocol

/// Both directions of an established session. It decides on the five header bytes of a frame and lets the body stream
/// by: what it holds is where the current frames end and how many sends are under way, never a byte of theirs.
///
///     frontend ── received ─▶ toBackend  ── send ─▶ backend
///     frontend ◀─ send ────── toFrontend ◀─ received ── backend
struct Relay: BitwiseCopyable {
    let backend: Token
    let instance: InstanceID
    private var toBackend = Flow(.frontend)
    private var toFrontend = Flow(.backend)
    /// The tag of the frontend's last frame: `Terminate` makes the backend's end of stream an orderly one.
    private(set) var lastFrontendTag: UInt8 = 0
    /// The tag of the backend's last frame: a FATAL ErrorResponse is the last one before it closes.
    private(set) var lastBackendTag: UInt8 = 0
    /// What the session leaves in its backend.
    private(set) var traces = Traces()

    init(backend: Token, instance: InstanceID) {
        self.backend = backend
        self.instance = instance
    }

    /// Of a session that has no backend yet.
    static var none: Relay { Relay(backend: Token(raw: 0), instance: InstanceID(0)) }

    /// What to do with the bytes that were just received.
    enum Decision {
        /// Pass them on.
        case forward
        /// Pass them on, then stop reading their source until the sink has drained.
        case forwardAndPause
        /// They break the protocol's framing.
        case violation(FrameViolation)
    }

    mutating func frontendReceived(_ bytes: RawSpan, _ meter: inout Meter, now: Int64) -> Decision {
        var (tag, messages, traces) = (lastFrontendTag, 0, traces)
        let decision = toBackend.received(bytes) { frame in
            tag = frame.tag
            messages &+= 1
            traces.frontendSaid(frame.tag)
        }
        (lastFrontendTag, self.traces) = (tag, traces)
        meter.frontendReceived(byteCount: bytes.byteCount, messages: messages, now: now)
        return decision
    }

    mutating func backendReceived(_ bytes: RawSpan, _ meter: inout Meter, now: Int64) -> Decision {
        meter.chunkBegan(bytes, now: now)
        var (tag, messages, traces) = (lastBackendTag, 0, traces)
        let decision = toFrontend.received(bytes) { frame in
            tag = frame.tag
            messages &+= 1
            traces.backendSaid(frame, in: bytes)
            if frame.tag == Backend.Tag.readyForQuery, frame.bodyLength > 0 {
                meter.readyForQuery(statusAt: frame.bodyStart, in: bytes, now: now)
            }
        }
        (lastBackendTag, self.traces) = (tag, traces)
        meter.backendReceived(byteCount: bytes.byteCount, messages: messages)
        return decision
    }

    /// Whether others must hear of what the backend just said; asked once.
    mutating func takeNews() -> Bool { traces.takeNews() }

    /// Whether these bytes are Terminate and nothing else.
    func isTerminate(_ bytes: RawSpan) -> Bool {
        guard bytes.byteCount == 5, toBackend.isAtBoundary else { return false }
        return unsafe bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self) == Frontend.Tag.terminate
            && bytes.unsafeLoadUnaligned(fromByteOffset: 1, as: UInt32.self) == UInt32(bigEndian: 4)
    }

    /// Whether the backend has answered everything, the client has been handed all of it, and `DISCARD ALL` undoes what
    /// they did.
    var leavesNothing: Bool {
        traces.leaveNothing && toBackend.isAtBoundary && toFrontend.isAtBoundary && toBackend.isDrained
            && toFrontend.isDrained && lastBackendTag != Backend.Tag.errorResponse
    }

    /// A send to the backend has left. Answers whether the frontend is to be read again.
    mutating func backendSent() -> Bool { toBackend.sent() }

    /// A send to the frontend has left. Answers whether the backend is to be read again.
    mutating func frontendSent() -> Bool { toFrontend.sent() }

    /// Bytes that are sent beside the relayed ones (what the backend's startup left, an error of the router's).
    mutating func countSendToFrontend() { toFrontend.countSend() }

    /// Whether everything meant for the frontend has been handed to the kernel.
    var frontendIsDrained: Bool { toFrontend.isDrained }

    /// Whether a message of the router's own may be put in: not inside one of the backend's.
    var isFrontendAtBoundary: Bool { toFrontend.isAtBoundary }

    /// Where the two streams stand, for whoever wants to follow them from here on.
    var frontendDecoder: FrameDecoder { toBackend.decoder }
    var backendDecoder: FrameDecoder { toFrontend.decoder }

    /// Whether the backend stopped between two messages without having said why, so that the client still has to be
    /// told. Inside a frame nothing can be said any more, and after `Terminate` nothing needs to be.
    var mayExplainEnd: Bool {
        toFrontend.isAtBoundary && lastFrontendTag != Frontend.Tag.terminate
            && lastBackendTag != Backend.Tag.errorResponse
    }
}

/// One direction of a relay.
struct Flow: BitwiseCopyable {
    /// Sends under way at which the source is no longer read: with one buffer a send, a session with a slow reader
    /// holds two buffers a direction, and no more.
    private static let sendsInFlightLimit: UInt16 = 2

    private(set) var decoder: FrameDecoder
    private var sendsInFlight: UInt16 = 0
    private var isPaused = false

    init(_ direction: FrameDirection) { decoder = FrameDecoder(direction) }

    var isAtBoundary: Bool { decoder.isAtBoundary }
    var isDrained: Bool { sendsInFlight == 0 }

    /// Follows the frames, and counts the send that comes of them.
    @inline(__always)
    mutating func received(_ bytes: RawSpan, each: (FrameHeader) -> Void) -> Relay.Decision {
        var offset = 0
        while true {
            switch decoder.next(in: bytes, at: &offset) {
            case .frame(let header): each(header)
            case .needsMore: return countSend()
            case .violation(let violation): return .violation(violation)
            }
        }
    }

    @discardableResult
    mutating func countSend() -> Relay.Decision {
        sendsInFlight += 1
        guard sendsInFlight >= Self.sendsInFlightLimit, !isPaused else { return .forward }
        isPaused = true
        return .forwardAndPause
    }

    /// Answers whether the source is to be read again.
    mutating func sent() -> Bool {
        // What is reported was not this flow's.
        guard sendsInFlight > 0 else { return false }
        sendsInFlight -= 1
        guard isPaused, isDrained else { return false }
        isPaused = false
        return true
    }
}
