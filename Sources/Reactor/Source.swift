import CEpoll

/// One descriptor in the reactor's care, as the epoll engine sees it.
struct Source: ~Copyable {
    /// What the descriptor is, and so which calls fit it.
    enum Kind: BitwiseCopyable {
        case listener
        /// A stream socket.
        case stream
        /// A datagram socket: an empty datagram is no end.
        case datagrams
        /// What read(2) and write(2) work on: a pipe, inotify.
        case file
        case process
        case signals
    }

    /// From its first to its last completion.
    enum Life: BitwiseCopyable {
        case connecting
        case open
        /// `.failed` was posted; only `close` does anything.
        case failed
        /// `close` was called; `.closed` is posted.
        case closing
    }

    enum Subscription: BitwiseCopyable {
        case armed
        case disarmed
    }

    /// What the kernel is known to hold for us. Edges are told once, so they are remembered here while disarmed.
    enum Readiness: Int, BitwiseCopyable {
        /// Nothing, until the next edge.
        case dry
        /// Something: read until a short read.
        case readable
        /// Something and then the end or an error: read until it says so.
        case untilEnd
        /// The end was read.
        case ended
    }

    enum Output: BitwiseCopyable {
        /// The kernel takes bytes; the queue is empty.
        case open
        /// The kernel takes none, or is not connected yet; the queue waits for its edge.
        case blocked
        /// A send has failed: told to the owner when the input is drained.
        case broken(Errno)
    }

    /// Whether our side of a stream has been shut down.
    enum Finish: BitwiseCopyable {
        case notAsked
        /// When the queue is empty.
        case asked
        case done
    }

    var owner: UInt64
    let kind: Kind
    var life: Life
    var subscription = Subscription.disarmed
    var readiness = Readiness.dry
    var output = Output.open
    var finish = Finish.notAsked
    /// Whether the token is in the ready list.
    var isListed = false
    /// The tick that `spent` belongs to.
    var tick: UInt32 = 0
    /// Bytes (or connections) taken in that tick.
    var spent = 0
    var descriptor: Descriptor?
    var sends = SendQueue()

    init(owner: UInt64, kind: Kind, life: Life, descriptor: consuming Descriptor) {
        self.owner = owner
        self.kind = kind
        self.life = life
        self.descriptor = consume descriptor
    }

    /// The number for system calls; −1 when closed, which every call refuses.
    var number: CInt {
        switch descriptor {
        case .some(let descriptor): descriptor.number
        case .none: -1
        }
    }

    /// Whether a pull would bring something to an owner who wants it.
    var wantsPull: Bool {
        switch life {
        case .connecting, .failed, .closing: return false
        case .open: break
        }
        if case .broken = output { return true }
        switch readiness {
        case .dry, .ended: return false
        case .readable, .untilEnd: break
        }
        switch kind {
        case .process, .signals: return true
        case .listener, .stream, .datagrams, .file: return subscription == .armed
        }
    }

    /// The edges to be told of.
    var interest: UInt32 {
        guard case .blocked = output else { return EpollEngine.inputFlags }
        return EpollEngine.inputFlags | EPOLLOUT.rawValue
    }

    /// Whether operations still mean something.
    var isUsable: Bool {
        switch life {
        case .connecting, .open: true
        case .failed, .closing: false
        }
    }

    /// An edge was told.
    mutating func raise(_ flags: UInt32) {
        guard readiness != .ended else { return }
        if flags & EpollEngine.hangupFlags != 0 {
            readiness = .untilEnd
        } else if flags & EPOLLIN.rawValue != 0 && readiness == .dry {
            readiness = .readable
        }
    }
}

// MARK: - Input

extension Source {
    /// When it is pulled from next.
    enum Turn: BitwiseCopyable {
        case none
        case thisTick
        /// It has used this tick's budget up.
        case nextTick
    }

    /// Its place in a list, which it is in at most once.
    mutating func nextTurn(_ core: inout ReactorCore) -> Turn {
        guard !isListed && wantsPull else { return .none }
        isListed = true
        renewBudget(core.tick)
        let budget = kind == .listener ? core.limits.acceptBudget : core.limits.receiveBudgetBytes
        return spent < budget ? .thisTick : .nextTick
    }

    /// One call for one event; `turn` is its next one while more is there.
    mutating func pull(_ core: inout ReactorCore, next turn: inout Turn) -> Event? {
        isListed = false
        guard wantsPull else { return nil }
        renewBudget(core.tick)
        let event: Event? =
            switch kind {
            case .stream, .datagrams, .file: read(&core)
            case .listener: accept()
            case .process: reap()
            case .signals: readSignal()
            }
        turn = nextTurn(&core)
        return event
    }

    /// A new tick brings a new budget.
    private mutating func renewBudget(_ now: UInt32) {
        guard tick != now else { return }
        tick = now
        spent = 0
    }

    private mutating func read(_ core: inout ReactorCore) -> Event? {
        if subscription == .disarmed { return brokenOutput() }
        var buffer = core.buffer()
        switch kind.read(number, into: &buffer) {
        case .bytes(let count) where count > 0 || kind == .datagrams:
            spent += max(count, EpollEngine.leastPullBytes)
            // A stream that gave less than was asked for has no more, unless its end was told already. What came in
            // since then comes with an edge of its own.
            if kind == .stream && count < buffer.capacity && readiness == .readable { readiness = .dry }
            return .received(buffer)
        case .bytes:
            readiness = .ended
            subscription = .disarmed
            return brokenOutput() ?? .endOfStream
        case .wouldBlock:
            readiness = .dry
            return brokenOutput()
        case .failed(let errno):
            life = .failed
            subscription = .disarmed
            sends.removeAll()
            return .failed(errno)
        }
    }

    /// The failure of a send, told now that the input is drained.
    private mutating func brokenOutput() -> Event? {
        guard case .broken(let errno) = output else { return nil }
        life = .failed
        subscription = .disarmed
        return .failed(errno)
    }

    private mutating func accept() -> Event? {
        spent += 1
        switch SystemCalls.accept(number) {
        case .accepted(let descriptor): return .accepted(descriptor)
        case .nobody: return nil
        case .wouldBlock:
            readiness = .dry
            return nil
        case .exhausted(let errno):
            subscription = .disarmed
            return .failed(errno)
        }
    }

    private mutating func reap() -> Event? {
        guard let status = SystemCalls.reap(number) else {
            readiness = .dry
            return nil
        }
        readiness = .ended
        return .exited(status)
    }

    private mutating func readSignal() -> Event? {
        if let signal = SystemCalls.signal(number) { return .signalled(signal) }
        readiness = .dry
        return nil
    }
}

// MARK: - Output

extension Source {
    /// What became of the send queue.
    enum Flushed: BitwiseCopyable {
        /// Nothing was tried, or nothing follows from it.
        case nothingDue
        /// What was passed has left, and nothing is posted for it.
        case left
        /// The queue was blocked before, or our side is to be shut down behind it, and all of it has left.
        case whole
        case kernelIsFull
        case failed(Errno)
    }

    /// Whether a send goes anywhere. One to the wrong kind of source is a mistake of ours.
    var takesSends: Bool {
        guard isUsable else { return false }
        precondition(kind.isSendable, "nothing can be sent to this kind of source")
        precondition(finish == .notAsked, "a send after finish")
        if case .broken = output { return false }
        return true
    }

    /// Sends what the kernel takes at once and queues the rest.
    mutating func pass(_ buffer: consuming Buffer) -> Flushed {
        guard takesSends else { return .nothingDue }
        guard case .open = output else {
            sends.append(buffer, endsSend: true)
            return .nothingDue
        }
        switch kind.write(number, buffer) {
        case .bytes(let count):
            buffer.removeFirst(count)
            if buffer.isEmpty { return .left }
        case .wouldBlock: break
        case .failed(let errno): return .failed(errno)
        }
        sends.append(buffer, endsSend: true)
        return .kernelIsFull
    }

    /// Sends until the queue is empty or the kernel is full.
    mutating func flush(_ token: Token, _ core: inout ReactorCore) -> Flushed {
        while let front = unsafe sends.front {
            switch kind.writeFront(number, of: sends) {
            case .bytes(let count):
                unsafe front.pointee.removeFirst(UInt32(count))
                if unsafe front.pointee.received > front.pointee.sent { return .kernelIsFull }
                if sends.removeFirst() { core.post(.sent, token) }
            case .wouldBlock: return .kernelIsFull
            case .failed(let errno): return .failed(errno)
            }
        }
        if case .open = output, finish != .asked { return .nothingDue }
        return .whole
    }
}

extension Source.Kind {
    /// Whether `receive` and `disarm` mean something.
    var hasSubscription: Bool {
        switch self {
        case .listener, .stream, .datagrams, .file: true
        case .process, .signals: false
        }
    }

    /// Whether `send` and `finish` mean something.
    var isSendable: Bool {
        switch self {
        case .stream, .datagrams, .file: true
        case .listener, .process, .signals: false
        }
    }
}
