import Reactor

/// A stream as the reactor has it, without a kernel: what the peer has sent and is not delivered yet, what was sent to the
/// peer and has not left yet, and which completions are still due.
struct ModelStream {
    let token: Token
    /// What the peer sends, and whether its end of stream follows.
    var inbound: [UInt8] = []
    var inboundEnds = false
    /// Sends that have not left, and everything that the peer has got.
    private(set) var queue: [[UInt8]] = []
    private(set) var outbound: [UInt8] = []
    private(set) var isArmed = false
    private(set) var isEnded = false
    private(set) var isFailed = false
    private(set) var isFinished = false
    private(set) var isClosed = false
    var isConnected = true

    init(_ token: Token) { self.token = token }

    var canDeliver: Bool { isArmed && isConnected && !isClosed && !isEnded && !isFailed && !inbound.isEmpty }
    var canEnd: Bool {
        isArmed && isConnected && !isClosed && !isEnded && !isFailed && inbound.isEmpty && inboundEnds
    }
    var canFail: Bool { !isClosed && !isFailed }
    var canSend: Bool { isConnected && !isClosed && !isFailed && !queue.isEmpty }
    /// The peer reads the end of the stream behind everything that was sent.
    var endIsRead: Bool { isFinished && queue.isEmpty && !isFailed }

    mutating func receive() { isArmed = true }
    mutating func disarm() { isArmed = false }
    mutating func finish() { isFinished = true }

    mutating func send(_ bytes: [UInt8]) {
        if !isClosed, !isFailed, !isFinished { queue.append(bytes) }
    }

    mutating func close() {
        isClosed = true
        queue = []
    }

    mutating func fail() {
        isFailed = true
        queue = []
    }

    mutating func end() { isEnded = true }

    /// The next bytes of the peer's.
    mutating func deliver(_ count: Int) -> [UInt8] {
        let bytes = Array(inbound.prefix(count))
        inbound.removeFirst(bytes.count)
        return bytes
    }

    /// The first send leaves.
    mutating func leave() { outbound += queue.removeFirst() }
}
