import CEpoll
import Glibc

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
    /// The engine behind a plain switch: a pointer per engine, so that an operation is one branch and works in place.
    ///
    /// An engine owns its sources and its kernel interface, and shares `ReactorCore`. What one does differently stays
    /// inside it: on io_uring a `disarm` is told when the kernel has let go, a `close` when nothing is in flight, and the
    /// kernel receives into buffers of the engine's own.
    @safe
    private enum Engine {
        case epoll(UnsafeMutablePointer<EpollEngine>)
        case ioUring(UnsafeMutablePointer<IOUringEngine>)
    }

    private var core: ReactorCore
    private let driver: Engine

    /// Opens the engine.
    ///
    /// - Throws: `.engineUnavailable`, or the kernel's refusal.
    public init(engine: EngineKind, limits: ReactorLimits = ReactorLimits()) throws(ReactorError) {
        let core = try ReactorCore(limits: limits)
        driver = try Self.open(engine, core)
        self.core = core
    }

    private static func open(_ kind: EngineKind, _ core: borrowing ReactorCore) throws(ReactorError) -> Engine {
        switch kind {
        case .auto:
            do throws(ReactorError) {
                return try open(.ioUring, core)
            } catch {
                // What every kernel allows.
                return try open(.epoll, core)
            }
        case .epoll:
            let epoll = try EpollEngine(core)
            let place = UnsafeMutablePointer<EpollEngine>.allocate(capacity: 1)
            unsafe place.initialize(to: epoll)
            return unsafe .epoll(place)
        case .ioUring:
            let ioUring = try IOUringEngine(core)
            let place = UnsafeMutablePointer<IOUringEngine>.allocate(capacity: 1)
            unsafe place.initialize(to: ioUring)
            return unsafe .ioUring(place)
        }
    }

    deinit {
        switch driver {
        case .epoll(let epoll):
            unsafe epoll.deinitialize(count: 1)
            unsafe epoll.deallocate()
        case .ioUring(let ioUring):
            unsafe ioUring.deinitialize(count: 1)
            unsafe ioUring.deallocate()
        }
    }

    /// The time since the reactor was made, on the monotonic clock, read once per tick.
    public var now: Duration { .nanoseconds(core.now) }

    /// The same in nanoseconds, for what is counted with every message.
    public var nanoseconds: Int64 { core.now }

    /// Rings from any thread.
    public var doorbell: Doorbell { core.doorbell }

    /// The engine that runs.
    public var engine: EngineKind {
        switch driver {
        case .epoll: .epoll
        case .ioUring: .ioUring
        }
    }

    /// How many more sources fit into `ReactorLimits.sources`.
    public var room: Int {
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.room
        case .ioUring(let ioUring): unsafe ioUring.pointee.room
        }
    }

    /// Buffers in the hands of owners and send queues, and free ones kept for the next read.
    public var buffers: (lent: Int, idle: Int) {
        let (lent, idle) = core.buffers
        return switch driver {
        case .epoll: (lent, idle)
        case .ioUring(let ioUring): unsafe (lent - ioUring.pointee.heldBuffers, idle)
        }
    }
}

// MARK: - Sources

extension Reactor {
    /// Accepts connections on a listening socket until disarmed: `.accepted` each. Armed from the start.
    public mutating func accept(on listener: consuming Descriptor, owner: UInt64) throws(ReactorError) -> Token {
        try SystemCalls.makeNonBlocking(listener.number)
        return try add(listener, kind: .listener, owner: owner)
    }

    /// Takes over a stream that a listener has accepted, which does not block already. Not armed.
    public mutating func adopt(accepted stream: consuming Descriptor, owner: UInt64) throws(ReactorError) -> Token {
        try add(stream, kind: .stream, owner: owner)
    }

    /// Takes over anything readable: a TCP or Unix stream, a datagram socket, a pipe, an inotify descriptor. Not armed.
    ///
    /// Whether it blocks is the engine's business from now on, also for whoever shares its file description. Whoever
    /// sends to a pipe ignores SIGPIPE; sockets raise none.
    public mutating func adopt(_ stream: consuming Descriptor, owner: UInt64) throws(ReactorError) -> Token {
        let kind = Self.kind(of: stream.number)
        try SystemCalls.makeNonBlocking(stream.number)
        return try add(stream, kind: kind, owner: owner)
    }

    /// Connects a stream: `.connected` or `.failed`. Not armed; what is sent before `.connected` waits.
    ///
    /// A Unix socket whose backlog is full refuses at once (EAGAIN) and cannot be polled: it is tried again with a
    /// growing pause until it answers or the token is closed.
    public mutating func connect(to address: SocketAddress, owner: UInt64) throws(ReactorError) -> Token {
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        let number = socket(address.family, type, 0)
        guard number >= 0 else { throw .system(call: "socket", .last) }
        let descriptor = Descriptor(owning: number)
        guard address.isUsable else { throw .unusableAddress(address) }
        switch driver {
        case .epoll(let epoll): return try unsafe epoll.pointee.connect(descriptor, to: address, owner: owner, &core)
        case .ioUring(let ioUring):
            return try unsafe ioUring.pointee.connect(descriptor, to: address, owner: owner, &core)
        }
    }

    /// Watches a process by its pidfd: `.exited`, once. A child is reaped by that.
    public mutating func watch(process pidfd: consuming Descriptor, owner: UInt64) throws(ReactorError) -> Token {
        try add(pidfd, kind: .process, owner: owner)
    }

    /// Watches signals that every thread has blocked: `.signalled` each.
    public mutating func watch(signals: [CInt], owner: UInt64) throws(ReactorError) -> Token {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in signals { unsafe sigaddset(&set, signal) }
        let number = unsafe ce_signalfd(&set)
        guard number >= 0 else { throw .system(call: "signalfd", .last) }
        return try add(Descriptor(owning: number), kind: .signals, owner: owner)
    }

    /// Gives a source another owner, whom every completion from the next one on names.
    public mutating func hand(_ token: Token, to owner: UInt64) {
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.hand(token, to: owner)
        case .ioUring(let ioUring): unsafe ioUring.pointee.hand(token, to: owner)
        }
    }

    /// Ends any source: queued sends are dropped and `.closed` is the only completion that still comes.
    public mutating func close(_ token: Token) {
        precondition(!Deadlines.isDeadline(token), "a deadline is cancelled, not closed")
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.close(token, &core)
        case .ioUring(let ioUring): unsafe ioUring.pointee.close(token, &core)
        }
    }

    private mutating func add(
        _ descriptor: consuming Descriptor, kind: Source.Kind, owner: UInt64
    ) throws(ReactorError) -> Token {
        switch driver {
        case .epoll(let epoll): return try unsafe epoll.pointee.add(descriptor, kind: kind, owner: owner, &core)
        case .ioUring(let ioUring): return try unsafe ioUring.pointee.add(descriptor, kind: kind, owner: owner, &core)
        }
    }

    private static func kind(of number: CInt) -> Source.Kind {
        var type: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        guard unsafe getsockopt(number, SOL_SOCKET, SO_TYPE, &type, &length) == 0 else { return .file }
        return type == CInt(SOCK_STREAM.rawValue) ? .stream : .datagrams
    }
}

// MARK: - Bytes

extension Reactor {
    /// Arms a subscription: `.received` or `.accepted` follow. Idempotent; legal before a pending `.disarmed` came.
    public mutating func receive(_ token: Token) {
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.receive(token, &core)
        case .ioUring(let ioUring): unsafe ioUring.pointee.receive(token, &core)
        }
    }

    /// Disarms a subscription: `.disarmed` follows; nothing is received after it until the next `receive`.
    public mutating func disarm(_ token: Token) {
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.disarm(token, &core)
        case .ioUring(let ioUring): unsafe ioUring.pointee.disarm(token, &core)
        }
    }

    /// Lends an empty buffer.
    public mutating func buffer() -> Buffer {
        core.buffer()
    }

    /// Sends what is readable in a buffer, first in, first out per token: one `.sent` when the kernel has it all.
    public mutating func send(_ buffer: consuming Buffer, to token: Token) {
        if pass(buffer, to: token) { core.post(.sent, token) }
    }

    /// The same for whoever can go on at once.
    ///
    /// - Returns: whether the kernel has it all already. Then no `.sent` follows.
    public mutating func pass(_ buffer: consuming Buffer, to token: Token) -> Bool {
        switch driver {
        case .epoll(let epoll): return unsafe epoll.pointee.pass(buffer, to: token, &core)
        case .ioUring(let ioUring): return unsafe ioUring.pointee.pass(buffer, to: token, &core)
        }
    }

    /// Sends a copy of bytes of any number, for the cold paths: one `.sent`.
    public mutating func send(copying bytes: RawSpan, to token: Token) {
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.send(copying: bytes, to: token, &core)
        case .ioUring(let ioUring): unsafe ioUring.pointee.send(copying: bytes, to: token, &core)
        }
    }

    /// Sends a copy of bytes of any number, for the cold paths: one `.sent`.
    public mutating func send(copying bytes: [UInt8], to token: Token) {
        unsafe send(copying: bytes.span.bytes, to: token)
    }

    /// Shuts the sending side down once every queued send has left. No completion of its own. Sending afterwards is a
    /// mistake of ours and traps.
    public mutating func finish(_ token: Token) {
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.finish(token, &core)
        case .ioUring(let ioUring): unsafe ioUring.pointee.finish(token, &core)
        }
    }
}

// MARK: - Deadlines

extension Reactor {
    /// One `.expired` at or after that time. Of two at the same time the one that was set first comes first. A time in
    /// the past expires in the next tick.
    public mutating func deadline(at time: Duration, owner: UInt64) -> Token {
        core.deadlines.add(at: time.nanosecondsRoundedUp, purpose: .caller(owner: owner))
    }

    /// Takes a deadline back: nothing is delivered afterwards. A stale token is ignored.
    public mutating func cancel(deadline token: Token) {
        core.deadlines.cancel(token)
    }
}

// MARK: - Asking and setting

extension Reactor {
    /// Sends a signal to a watched process; false when it is gone.
    @discardableResult
    public mutating func signal(_ number: CInt, process token: Token) -> Bool {
        guard let pidfd = self.number(of: token) else { return false }
        return ce_pidfd_send_signal(pidfd, number) == 0
    }

    /// Sets options of a TCP stream; on anything else nothing happens. An option that the kernel does not know is left
    /// out.
    public mutating func configure(_ token: Token, _ options: StreamOptions) {
        guard let number = number(of: token) else { return }
        options.apply(to: number)
    }

    /// Where the peer of a stream sits; nil when it is gone.
    public func peer(of token: Token) -> SocketAddress? {
        guard let number = number(of: token) else { return nil }
        return SocketAddress.peer(ofNumber: number)
    }

    /// Who connected to a Unix socket; nil for anything else.
    public func credentials(of token: Token) -> PeerCredentials? {
        guard let number = number(of: token) else { return nil }
        return PeerCredentials(ofNumber: number)
    }

    private func number(of token: Token) -> CInt? {
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.number(of: token)
        case .ioUring(let ioUring): unsafe ioUring.pointee.number(of: token)
        }
    }
}

// MARK: - The tick

extension Reactor {
    /// The head of a tick: returns when something happened or the nearest deadline has come.
    public mutating func wait() {
        let timeout = core.deadlines.nearest.map { max(0, $0 - core.clock.elapsed) }
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.wait(timeout: timeout, &core)
        case .ioUring(let ioUring): unsafe ioUring.pointee.wait(timeout: timeout, &core)
        }
        core.beginTick()
    }

    /// The next completion of this tick; nil when the tick is over.
    public mutating func next() -> Completion? {
        while true {
            switch driver {
            case .epoll(let epoll): if let completion = unsafe epoll.pointee.next(&core) { return completion }
            case .ioUring(let ioUring): if let completion = unsafe ioUring.pointee.next(&core) { return completion }
            }
            guard let expired = core.deadlines.popExpired(now: core.now) else { return nil }
            switch expired.purpose {
            case .caller(let owner): return Completion(owner: owner, token: expired.token, event: .expired)
            case .reconnect(let token): reconnect(token)
            }
        }
    }

    private mutating func reconnect(_ token: Token) {
        switch driver {
        case .epoll(let epoll): unsafe epoll.pointee.reconnect(token, &core)
        case .ioUring(let ioUring): unsafe ioUring.pointee.reconnect(token, &core)
        }
    }
}
