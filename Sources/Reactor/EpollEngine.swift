import CEpoll
import Glibc

/// Does the call when the kernel says that it can be done, `epoll(7)`.
///
/// Edge-triggered: one `epoll_ctl` per descriptor for its life, none to arm or disarm. An edge is remembered in the
/// source until it is used up. Only while bytes wait to be sent the interest includes EPOLLOUT (a Unix socket tells
/// every read of its peer otherwise).
///
///     kernel ──edge──▶ absorb ──▶ ready list ──▶ pull: one call, one completion ──▶ back to the list while more is there
///                        │                                                        └─▶ over its budget: next tick's list
///                        └─▶ flush: queued sends ──▶ notes: .sent
@safe
struct EpollEngine: ~Copyable {
    static let hangupFlags = EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue
    static let inputFlags = EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
    /// What one pull costs at least: a flood of tiny datagrams uses the budget up as well.
    static let leastPullBytes = 256
    /// The pause before a refused connect to a Unix socket is tried again, doubled each time, in nanoseconds.
    static let firstReconnectPause: Int64 = 500_000
    static let longestReconnectPause: Int64 = 50_000_000

    struct Reconnect {
        let address: SocketAddress
        var pause: Int64
        var deadline: Token
    }

    private let epoll: Descriptor
    private let events: UnsafeMutableRawPointer
    private var eventCount = 0
    private var nextEvent = 0
    private var sources: Slab<Source>
    /// Sources with something to pull in this tick.
    private var ready = Ring<Token>()
    /// Sources that have used their budget up: the next tick's ready list.
    private var later = Ring<Token>()
    /// Closed in this tick: their slots are free from the next one on.
    private var reaped = Ring<Token>()
    /// Unix connects that wait for room in a backlog. Rare, so beside the sources.
    private var reconnects: [Token: Reconnect] = [:]
    private var hasNanoseconds = true

    init(_ core: borrowing ReactorCore) throws(ReactorError) {
        let number = ce_epoll_create()
        guard number >= 0 else { throw .system(call: "epoll_create1", .last) }
        let descriptor = Descriptor(owning: number)
        let doorbell = core.doorbell.descriptor.number
        let flags = EPOLLIN.rawValue | EPOLLET.rawValue
        guard ce_epoll_add(number, doorbell, flags, ReactorCore.doorbellToken.raw) == 0 else {
            throw .system(call: "epoll_ctl", .last)
        }
        epoll = descriptor
        unsafe events = .allocate(byteCount: core.limits.eventsPerWait * ce_event_size(), alignment: 16)
        sources = Slab(capacity: core.limits.sources)
    }

    deinit {
        unsafe events.deallocate()
    }

    /// Sources that still fit.
    var room: Int { sources.capacity - sources.count }
}

// MARK: - Taking sources in

extension EpollEngine {
    /// Takes a descriptor that does not block in and registers it for its life.
    mutating func add(
        _ descriptor: consuming Descriptor, kind: Source.Kind, owner: UInt64, _ core: inout ReactorCore
    ) throws(ReactorError) -> Token {
        let token = try insert(descriptor, kind: kind, life: .open, owner: owner)
        if kind == .listener { sources[token].subscription = .armed }
        if let errno = register(token) {
            _ = sources.remove(token)
            throw .system(call: "epoll_ctl", errno)
        }
        return token
    }

    /// Starts a connect on a fresh socket.
    mutating func connect(
        _ descriptor: consuming Descriptor, to address: SocketAddress, owner: UInt64, _ core: inout ReactorCore
    ) throws(ReactorError) -> Token {
        let token = try insert(descriptor, kind: .stream, life: .connecting, owner: owner)
        sources[token].output = .blocked
        attempt(token, address, pause: Self.firstReconnectPause, &core)
        return token
    }

    /// The next completion names the new owner.
    mutating func hand(_ token: Token, to owner: UInt64) {
        guard isUsable(token) else { return }
        sources[token].owner = owner
    }

    /// The pause of a refused connect is over.
    mutating func reconnect(_ token: Token, _ core: inout ReactorCore) {
        guard let waiting = reconnects.removeValue(forKey: token) else { return }
        attempt(token, waiting.address, pause: min(waiting.pause * 2, Self.longestReconnectPause), &core)
    }

    private mutating func attempt(
        _ token: Token, _ address: SocketAddress, pause: Int64, _ core: inout ReactorCore
    ) {
        switch address.connect(sources[token].number) {
        case .connected:
            sources[token].output = .open
            if let errno = register(token) { return fail(token, errno, &core) }
            didConnect(token, &core)
        case .inProgress:
            if let errno = register(token) { fail(token, errno, &core) }
        case .backlogFull:
            let deadline = core.deadlines.add(at: core.now + pause, purpose: .reconnect(token))
            reconnects[token] = Reconnect(address: address, pause: pause, deadline: deadline)
        case .failed(let errno):
            fail(token, errno, &core)
        }
    }

    private mutating func insert(
        _ descriptor: consuming Descriptor, kind: Source.Kind, life: Source.Life, owner: UInt64
    ) throws(ReactorError) -> Token {
        let source = Source(owner: owner, kind: kind, life: life, descriptor: descriptor)
        guard let token = sources.insert(source) else { throw .full(limit: sources.capacity) }
        return token
    }

    private func register(_ token: Token) -> Errno? {
        ce_epoll_add(epoll.number, sources[token].number, sources[token].interest, token.raw) == 0 ? nil : .last
    }

    private func modify(_ token: Token) {
        // A registered descriptor of ours can only be refused for lack of kernel memory: its edge would never come.
        let result = ce_epoll_modify(epoll.number, sources[token].number, sources[token].interest, token.raw)
        precondition(result == 0 || errno != EBADF, "a descriptor was closed behind its owner's back")
    }
}

// MARK: - Operations

extension EpollEngine {
    /// Arms the subscription. An edge that came while it was disarmed counts.
    mutating func receive(_ token: Token, _ core: inout ReactorCore) {
        guard isUsable(token) else { return }
        precondition(sources[token].kind.hasSubscription, "nothing is received from this kind of source")
        sources[token].subscription = .armed
        list(token, &core)
    }

    /// Disarms the subscription.
    mutating func disarm(_ token: Token, _ core: inout ReactorCore) {
        guard isUsable(token) else { return }
        precondition(sources[token].kind.hasSubscription, "nothing is received from this kind of source")
        sources[token].subscription = .disarmed
        core.post(.disarmed, token)
    }

    /// Sends what the kernel takes at once and queues the rest.
    ///
    /// - Returns: whether that was all of it. Then no `.sent` follows.
    mutating func pass(_ buffer: consuming Buffer, to token: Token, _ core: inout ReactorCore) -> Bool {
        guard sources.contains(token) else { return false }
        let passed = sources[token].pass(buffer)
        if case .left = passed { return true }
        settle(token, passed, &core)
        return false
    }

    /// Queues a copy in as many buffers as it takes.
    mutating func send(copying bytes: RawSpan, to token: Token, _ core: inout ReactorCore) {
        guard sources.contains(token), sources[token].takesSends else { return }
        var offset = 0
        repeat {
            var buffer = core.buffer()
            offset += buffer.append(bytes.extracting(offset..<bytes.byteCount))
            sources[token].sends.append(buffer, endsSend: offset == bytes.byteCount)
        } while offset < bytes.byteCount
        if case .open = sources[token].output { flush(token, &core) }
    }

    /// Shuts our side down behind the last queued send.
    mutating func finish(_ token: Token, _ core: inout ReactorCore) {
        guard isUsable(token) else { return }
        precondition(sources[token].kind.isSendable, "only what is sent to can be finished")
        guard case .notAsked = sources[token].finish else { return }
        sources[token].finish = .asked
        if case .open = sources[token].output { shutDown(token) }
    }

    /// Ends a source. The descriptor is closed here: its number may come back within this tick, its token does not.
    mutating func close(_ token: Token, _ core: inout ReactorCore) {
        guard sources.contains(token), sources[token].life != .closing else { return }
        sources[token].life = .closing
        sources[token].descriptor = nil
        sources[token].sends.removeAll()
        if let waiting = reconnects.removeValue(forKey: token) { core.deadlines.cancel(waiting.deadline) }
        core.post(.closed, token)
    }

    /// The number of a live descriptor, for socket options; nil when it is closed.
    func number(of token: Token) -> CInt? {
        guard sources.contains(token), sources[token].life != .closing else { return nil }
        return sources[token].number
    }

    private func isUsable(_ token: Token) -> Bool { sources.contains(token) && sources[token].isUsable }

}

// MARK: - Output

extension EpollEngine {
    /// Sends until the queue is empty or the kernel is full.
    private mutating func flush(_ token: Token, _ core: inout ReactorCore) {
        settle(token, sources[token].flush(token, &core), &core)
    }

    /// What a flush came to, told to the kernel and to the owner.
    private mutating func settle(_ token: Token, _ flushed: Source.Flushed, _ core: inout ReactorCore) {
        switch flushed {
        case .nothingDue, .left: break
        case .whole: finishFlush(token)
        case .kernelIsFull: block(token)
        case .failed(let errno): breakOutput(token, errno, &core)
        }
    }

    private mutating func finishFlush(_ token: Token) {
        unblock(token)
        if case .asked = sources[token].finish { shutDown(token) }
    }

    private mutating func block(_ token: Token) {
        guard case .open = sources[token].output else { return }
        sources[token].output = .blocked
        modify(token)
    }

    private mutating func unblock(_ token: Token) {
        guard case .blocked = sources[token].output else { return }
        sources[token].output = .open
        modify(token)
    }

    /// What the peer sent before it left (a FATAL ErrorResponse) is still to be read: the owner hears of the failure
    /// after it, unless it does not listen.
    private mutating func breakOutput(_ token: Token, _ errno: Errno, _ core: inout ReactorCore) {
        sources[token].sends.removeAll()
        guard sources[token].subscription == .armed && sources[token].readiness != .ended else {
            return fail(token, errno, &core)
        }
        sources[token].output = .broken(errno)
        list(token, &core)
    }

    private mutating func shutDown(_ token: Token) {
        sources[token].finish = .done
        // On a pipe or after the peer's reset there is nothing to shut down.
        _ = shutdown(sources[token].number, CInt(SHUT_WR))
    }

    private mutating func fail(_ token: Token, _ errno: Errno, _ core: inout ReactorCore) {
        sources[token].life = .failed
        sources[token].subscription = .disarmed
        sources[token].sends.removeAll()
        core.post(.failed(errno), token)
    }
}

// MARK: - The tick

extension EpollEngine {
    /// Waits until something happened or the time has come.
    ///
    /// - Parameter timeout: nanoseconds from now; nil waits for ever.
    mutating func wait(timeout: Int64?, _ core: inout ReactorCore) {
        while let token = reaped.popFirst() { _ = sources.remove(token) }
        // What was listed since the last completion is older than what went over its budget.
        while let token = later.popFirst() { ready.append(token) }
        // An owner who waits before the last completion has still edges to come: they are told only once.
        guard nextEvent == eventCount else { return }
        let isPending = !ready.isEmpty || !core.notes.isEmpty
        nextEvent = 0
        eventCount = waitForEvents(timeout: isPending ? 0 : timeout, capacity: core.limits.eventsPerWait)
    }

    /// The only place where the reactor's thread sleeps.
    @inline(never)
    private mutating func waitForEvents(timeout: Int64?, capacity: Int) -> Int {
        var count: CInt
        if hasNanoseconds {
            var time = timespec()
            if let timeout {
                time.tv_sec = Int(timeout / 1_000_000_000)
                time.tv_nsec = Int(timeout % 1_000_000_000)
            }
            count = unsafe withUnsafePointer(to: &time) { time in
                unsafe ce_epoll_wait(epoll.number, events, CInt(capacity), timeout == nil ? nil : time)
            }
            if count >= 0 { return Int(count) }
            if errno == ENOSYS { hasNanoseconds = false }
        }
        if !hasNanoseconds {
            let milliseconds = timeout.map { CInt(clamping: ($0 + 999_999) / 1_000_000) } ?? -1
            count = unsafe ce_epoll_wait_milliseconds(epoll.number, events, CInt(capacity), milliseconds)
            if count >= 0 { return Int(count) }
        }
        precondition(errno == EINTR, "epoll_wait: \(Errno.last)")
        return 0
    }

    /// The next completion of this tick. Facts first, then what is ready, then the kernel's next edge: so one source is
    /// followed from its edge to its owner's answer while it is in the processor's cache.
    mutating func next(_ core: inout ReactorCore) -> Completion? {
        while true {
            if let note = core.notes.popFirst() {
                if let completion = deliver(note, core.doorbell) { return completion }
            } else if let token = ready.popFirst() {
                if let completion = pull(token, &core) { return completion }
            } else if nextEvent < eventCount {
                let flags = unsafe ce_event_flags(events, CInt(nextEvent))
                let token = unsafe Token(raw: ce_event_token(events, CInt(nextEvent)))
                nextEvent += 1
                absorb(token, flags, &core)
            } else {
                return nil
            }
        }
    }

    /// After `close`, nothing but `.closed` is told.
    private mutating func deliver(_ note: ReactorCore.Note, _ doorbell: Doorbell) -> Completion? {
        let token = note.token
        if token == ReactorCore.doorbellToken {
            doorbell.quiet()
            return Completion(owner: 0, token: token, event: .woken)
        }
        if case .closed = note.fact {
            reaped.append(token)
        } else if sources[token].life == .closing {
            return nil
        }
        return Completion(owner: sources[token].owner, token: token, event: note.fact.event)
    }

    /// Takes an edge in. A source that is closed, or a later one in its slot, is not touched.
    private mutating func absorb(_ token: Token, _ flags: UInt32, _ core: inout ReactorCore) {
        if token == ReactorCore.doorbellToken { return core.post(.woken, token) }
        guard isUsable(token) else { return }
        if sources[token].life == .connecting {
            guard flags & (EPOLLOUT.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 else { return }
            if let errno = SystemCalls.pendingError(sources[token].number) { return fail(token, errno, &core) }
            didConnect(token, &core)
        } else if case .blocked = sources[token].output,
            flags & (EPOLLOUT.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
        {
            flush(token, &core)
        }
        sources[token].raise(flags)
        if sources[token].readiness == .ended && flags & EPOLLERR.rawValue != 0 {
            // The peer had finished and is now gone altogether: no read would tell.
            if sources[token].life == .open, let errno = SystemCalls.pendingError(sources[token].number) {
                fail(token, errno, &core)
            }
        }
        list(token, &core)
    }

    private mutating func didConnect(_ token: Token, _ core: inout ReactorCore) {
        sources[token].life = .open
        core.post(.connected, token)
        flush(token, &core)
    }
}

// MARK: - Input

extension EpollEngine {
    /// Puts a source that has something for an owner who wants it into this tick's list, or the next one's.
    private mutating func list(_ token: Token, _ core: inout ReactorCore) {
        place(token, sources[token].nextTurn(&core))
    }

    private mutating func place(_ token: Token, _ turn: Source.Turn) {
        switch turn {
        case .none: break
        case .thisTick: ready.append(token)
        case .nextTick: later.append(token)
        }
    }

    /// One call for one completion; back into the list while more is there.
    private mutating func pull(_ token: Token, _ core: inout ReactorCore) -> Completion? {
        guard sources.contains(token) else { return nil }
        let owner = sources[token].owner
        var turn = Source.Turn.none
        let event = sources[token].pull(&core, next: &turn)
        place(token, turn)
        guard let event else { return nil }
        return Completion(owner: owner, token: token, event: event)
    }
}
