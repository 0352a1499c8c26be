/// Operations in, completions out, for one thread.
///
/// A tick:
///
///     wait()   nearest deadline → wait for the kernel → read the clock once
///     next()   … until nil: what happened, one completion at a time; then the deadlines that have come
///
/// Operations called between `next()` and `next()` only queue: nothing is re-entrant. Everything but the doorbell
/// belongs to the thread that made the reactor.
///
/// An operation on a token that is closing or gone is ignored, because a late decision meets a closed socket within one
/// tick; a token of the wrong kind (finishing a listener) is a mistake of ours and traps.
public struct Reactor: ~Copyable {
    /// Opens the engine.
    ///
    /// - Throws: `.engineUnavailable`, or the kernel's refusal.
    public init(engine: EngineKind, limits: ReactorLimits = ReactorLimits()) throws(ReactorError) {
        fatalError("not yet")
    }

    /// The time since the reactor was made, on the monotonic clock, read once per tick.
    public var now: Duration { fatalError("not yet") }

    /// Rings from any thread.
    public var doorbell: Doorbell { fatalError("not yet") }

    /// The engine that runs.
    public var engine: EngineKind { fatalError("not yet") }

    /// Accepts connections on a listening socket until disarmed: `.accepted` each.
    public mutating func accept(on listener: consuming Descriptor, owner: UInt64) throws(ReactorError) -> Token {
        fatalError("not yet")
    }

    /// Takes over anything readable: a TCP or Unix stream, a datagram socket, a pipe, an inotify descriptor. It is made
    /// non-blocking and not armed.
    public mutating func adopt(_ stream: consuming Descriptor, owner: UInt64) throws(ReactorError) -> Token {
        fatalError("not yet")
    }

    /// Connects a stream: `.connected` or `.failed`. Not armed.
    ///
    /// A Unix socket whose backlog is full refuses at once (EAGAIN) and cannot be polled: it is tried again with a
    /// growing pause until it answers or the token is closed.
    public mutating func connect(to address: SocketAddress, owner: UInt64) throws(ReactorError) -> Token {
        fatalError("not yet")
    }

    /// Watches a process by its pidfd: `.exited`, once. A child is reaped by that.
    public mutating func watch(process pidfd: consuming Descriptor, owner: UInt64) throws(ReactorError) -> Token {
        fatalError("not yet")
    }

    /// Watches signals that every thread has blocked: `.signalled` each.
    public mutating func watch(signals: [CInt], owner: UInt64) throws(ReactorError) -> Token {
        fatalError("not yet")
    }

    /// Sends a signal to a watched process; false when it is gone.
    @discardableResult
    public mutating func signal(_ number: CInt, process token: Token) -> Bool {
        fatalError("not yet")
    }

    /// One `.expired` at or after that time. Of two at the same time the one that was set first comes first.
    public mutating func deadline(at time: Duration, owner: UInt64) -> Token {
        fatalError("not yet")
    }

    /// Takes a deadline back: nothing is delivered afterwards. A stale token is ignored.
    public mutating func cancel(deadline token: Token) {
        fatalError("not yet")
    }

    /// Arms a subscription: `.received` or `.accepted` follow. Idempotent; legal before a pending `.disarmed` came.
    public mutating func receive(_ token: Token) {
        fatalError("not yet")
    }

    /// Disarms a subscription: `.disarmed` follows; nothing is received after it.
    public mutating func disarm(_ token: Token) {
        fatalError("not yet")
    }

    /// Lends an empty buffer.
    public mutating func buffer() -> Buffer {
        fatalError("not yet")
    }

    /// Sends what is readable in a buffer, first in, first out per token: one `.sent` when it has left.
    public mutating func send(_ buffer: consuming Buffer, to token: Token) {
        fatalError("not yet")
    }

    /// Sends a copy of bytes of any number, for the cold paths: one `.sent`.
    public mutating func send(copying bytes: RawSpan, to token: Token) {
        fatalError("not yet")
    }

    /// Sends a copy of bytes of any number, for the cold paths: one `.sent`.
    public mutating func send(copying bytes: [UInt8], to token: Token) {
        fatalError("not yet")
    }

    /// Shuts the sending side down once every queued send has left. No completion of its own.
    public mutating func finish(_ token: Token) {
        fatalError("not yet")
    }

    /// Ends any source: queued sends are dropped, `.closed` is its last completion.
    public mutating func close(_ token: Token) {
        fatalError("not yet")
    }

    /// Sets options of a TCP stream; on anything else nothing happens.
    public mutating func configure(_ token: Token, _ options: StreamOptions) {
        fatalError("not yet")
    }

    /// Where the peer of a stream sits; nil when it is gone.
    public func peer(of token: Token) -> SocketAddress? {
        fatalError("not yet")
    }

    /// Who connected to a Unix socket; nil for anything else.
    public func credentials(of token: Token) -> PeerCredentials? {
        fatalError("not yet")
    }

    /// The head of a tick: returns when something happened or the nearest deadline has come.
    public mutating func wait() {
        fatalError("not yet")
    }

    /// The next completion of this tick; nil when the tick is over.
    public mutating func next() -> Completion? {
        fatalError("not yet")
    }
}
