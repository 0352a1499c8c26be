/// What every engine shares with its reactor: time, memory, deadlines, and facts on their way to the owner.
@safe
struct ReactorCore: ~Copyable {
    /// A fact that needs no further system call when its turn comes.
    struct Note: BitwiseCopyable {
        enum Fact: BitwiseCopyable {
            case connected
            case sent
            case failed(Errno)
            case disarmed
            case closed
            case woken

            /// What is told of it.
            var event: Event {
                switch self {
                case .connected: .connected
                case .sent: .sent
                case .failed(let errno): .failed(errno)
                case .disarmed: .disarmed
                case .closed: .closed
                case .woken: .woken
                }
            }
        }

        let token: Token
        let fact: Fact
    }

    /// The token of the doorbell. No slab hands it out: its generation is even.
    static let doorbellToken = Token(raw: 0)

    /// What 28 bits of a slot can name, see `Token`.
    static let mostSources = 1 << 28

    let limits: ReactorLimits
    let clock = MonotonicClock()
    /// Nanoseconds since the start, read once per tick.
    var now: Int64 = 0
    /// Goes up by one per tick; budgets compare it.
    var tick: UInt32 = 0
    var deadlines: Deadlines
    var notes = Ring<Note>()
    let doorbell: Doorbell
    private let pool: UnsafeMutablePointer<BufferPool>

    init(limits: ReactorLimits) throws(ReactorError) {
        precondition(limits.sources <= Self.mostSources, "more sources than a token can name")
        let doorbell = try Doorbell()
        self.limits = limits
        self.doorbell = doorbell
        self.deadlines = Deadlines(capacity: limits.deadlines)
        unsafe self.pool = BufferPool.make(bufferBytes: limits.bufferBytes, idleLimit: limits.idleBuffers)
    }

    deinit {
        unsafe BufferPool.abandon(pool)
    }

    /// Queues a fact for its turn.
    mutating func post(_ fact: Note.Fact, _ token: Token) {
        notes.append(Note(token: token, fact: fact))
    }

    /// Lends an empty buffer.
    func buffer() -> Buffer {
        unsafe BufferPool.borrow(from: pool)
    }

    /// Buffers that are lent at this moment, and free ones that are kept.
    var buffers: (lent: Int, idle: Int) { unsafe (pool.pointee.lent, pool.pointee.idle) }

    /// The wait is over: the clock is read, what is set from now on belongs to the next tick.
    mutating func beginTick() {
        now = clock.elapsed
        tick &+= 1
        deadlines.beginTick()
        // By a name of its own: Swift 6.3 cannot compile the direct way for the thread sanitizer.
        let pool = unsafe pool
        unsafe pool.pointee.trim(now: now)
    }
}
