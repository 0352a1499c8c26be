/// One-shot deadlines in the order of their times: a heap of four children per node, and a slab that knows where in the
/// heap each deadline sits, so that taking one back costs no search.
struct Deadlines: ~Copyable {
    /// Who is to be told.
    enum Purpose: BitwiseCopyable {
        /// The owner that the caller gave.
        case caller(owner: UInt64)
        /// A connect that is tried again.
        case reconnect(Token)
    }

    /// A deadline that has come.
    struct Expired: BitwiseCopyable {
        let token: Token
        let purpose: Purpose
    }

    /// The order: by time, then by age.
    struct Node: BitwiseCopyable {
        let time: Int64
        let sequence: UInt64
        let token: Token

        static func < (left: Node, right: Node) -> Bool {
            left.time != right.time ? left.time < right.time : left.sequence < right.sequence
        }
    }

    struct Entry: BitwiseCopyable {
        let purpose: Purpose
        var position: Int
    }

    /// Set in the slot of every deadline's token, clear in every source's: one cannot be taken for the other.
    static let mark: UInt64 = 0x8000_0000

    private var heap: [Node] = []
    private var entries: Slab<Entry>
    private var sequence: UInt64 = 0
    /// What is younger waits for the next tick, or a deadline in the past set at each `.expired` would never let go.
    private var tickSequence: UInt64 = 0

    init(capacity: Int) {
        entries = Slab(capacity: capacity)
    }

    /// How many are set.
    var count: Int { heap.count }

    /// The nearest time in nanoseconds since the reactor's start.
    var nearest: Int64? { heap.first?.time }

    /// Whether a token is one of a deadline.
    static func isDeadline(_ token: Token) -> Bool { token.raw & mark != 0 }

    /// Sets a deadline.
    mutating func add(at time: Int64, purpose: Purpose) -> Token {
        guard let slot = entries.insert(Entry(purpose: purpose, position: heap.count)) else {
            preconditionFailure("more deadlines than ReactorLimits.deadlines")
        }
        heap.append(Node(time: time, sequence: sequence, token: slot))
        sequence += 1
        rise(from: heap.count - 1)
        return Token(raw: slot.raw | Self.mark)
    }

    /// Takes a deadline back; a stale token is ignored.
    mutating func cancel(_ token: Token) {
        precondition(Self.isDeadline(token), "not the token of a deadline")
        guard let entry = entries.remove(Token(raw: token.raw & ~Self.mark)) else { return }
        removeNode(at: entry.position)
    }

    /// A new tick: what was set until now may expire in it.
    mutating func beginTick() {
        tickSequence = sequence
    }

    /// The next deadline that has come.
    mutating func popExpired(now: Int64) -> Expired? {
        guard let first = heap.first, first.time <= now, first.sequence < tickSequence else { return nil }
        guard let entry = entries.remove(first.token) else { preconditionFailure("a deadline without an entry") }
        removeNode(at: 0)
        return Expired(token: Token(raw: first.token.raw | Self.mark), purpose: entry.purpose)
    }

    private mutating func removeNode(at position: Int) {
        let last = heap.removeLast()
        guard position < heap.count else { return }
        place(last, at: position)
        rise(from: position)
        sink(from: entries[last.token].position)
    }

    private mutating func place(_ node: Node, at position: Int) {
        heap[position] = node
        entries[node.token].position = position
    }

    private mutating func rise(from start: Int) {
        var position = start
        let node = heap[position]
        while position > 0 {
            let parent = (position - 1) / 4
            guard node < heap[parent] else { break }
            place(heap[parent], at: position)
            position = parent
        }
        place(node, at: position)
    }

    private mutating func sink(from start: Int) {
        var position = start
        let node = heap[position]
        while let child = leastChild(of: position), heap[child] < node {
            place(heap[child], at: position)
            position = child
        }
        place(node, at: position)
    }

    private func leastChild(of position: Int) -> Int? {
        let first = position * 4 + 1
        guard first < heap.count else { return nil }
        var least = first
        for child in first..<min(first + 4, heap.count) where heap[child] < heap[least] { least = child }
        return least
    }
}
