import CEpoll
import Glibc

/// Hands the call to the kernel, `io_uring(7)`.
///
/// Everything that is asked in one tick is queued and handed over by the call that waits: one `io_uring_enter` per tick.
/// The ring belongs to one thread, and the kernel works for it only while that thread waits, so nothing interrupts a
/// tick.
///
///     owner ──▶ queue ──▶ wait: one call ──▶ completions ──▶ next: one completion ──▶ owner
///                ▲                                │
///                └── receives, armed at the head ◀┘ bytes in a buffer of `ReceiveRing`
///
/// A receive is asked for at the head of the tick after the last one was told: an owner who disarms on what he received
/// has nothing to cancel, and no source gets more than one buffer per tick.
@safe
struct IOUringEngine: ~Copyable {
    /// Which of a source's operations has completed: bits 28 … 30 of the slot in `user_data`, see `Token`.
    enum Operation: UInt64 {
        /// A receive, or a poll of what is pulled from.
        case input = 0
        case send = 1
        /// Room to send, or the end of a connect.
        case writable = 2
        /// The peer of a stream that has ended.
        case hangup = 3
        case doorbell = 4
        /// A request to let go of something, which came too late.
        case cancel = 5

        static let shift: UInt64 = 28
        static let mask: UInt64 = 7 << shift

        /// What the kernel keeps for an operation of a source.
        func of(_ token: Token) -> UInt64 { token.raw | rawValue << Self.shift }
    }

    struct Reconnect {
        let address: SocketAddress
        var pause: Int64
        var deadline: Token
    }

    /// Operations that are queued before they are handed over early.
    static let submissions: UInt32 = 1024
    /// Completions that the kernel keeps for one tick; more of them it keeps on a list.
    static let completions: UInt32 = 4096

    /// From so many completions in a tick on, sends share one call with everything else; below it a call of our own for
    /// each is cheaper than another tick that tells `.sent`.
    static let manyCompletions: UInt32 = 3

    private let ring: UnsafeMutableRawPointer
    private let received: ReceiveRing
    private var sources: Slab<UringSource>
    /// Sources whose input is asked for at the head of the next tick.
    private var unarmed = Ring<Token>()
    /// Sources with something to pull in this tick.
    private var ready = Ring<Token>()
    /// Sources that have used their budget up: the next tick's ready list.
    private var later = Ring<Token>()
    /// Closed in this tick: their slots are free from the next one on.
    private var reaped = Ring<Token>()
    /// Unix connects that wait for room in a backlog. Rare, so beside the sources.
    private var reconnects: [Token: Reconnect] = [:]
    private var isDoorbellArmed = false
    private let doorbell: CInt
    /// Operations of all sources, and the doorbell's.
    private var inFlight = 0
    /// Completions of this tick when it began.
    private var batch: UInt32 = 0

    /// - Throws: `.engineUnavailable`, with the reason in words.
    init(_ core: borrowing ReactorCore) throws(ReactorError) {
        guard let ring = unsafe ce_uring_create(Self.submissions, Self.completions) else {
            throw Self.refusal(.last)
        }
        do throws(Errno) {
            unsafe received = try ReceiveRing(ring, core)
        } catch {
            unsafe ce_uring_destroy(ring)
            throw Self.refusal(error)
        }
        unsafe self.ring = unsafe ring
        sources = Slab(capacity: core.limits.sources)
        doorbell = core.doorbell.descriptor.number
    }

    /// Nothing may write into memory that goes back to the pool: everything is cancelled, and seen to end.
    deinit {
        unsafe Self.settle(ring, inFlight)
        received.destroy()
        unsafe ce_uring_destroy(ring)
    }

    private static func settle(_ ring: UnsafeMutableRawPointer, _ count: Int) {
        var left = count
        guard left > 0, unsafe ce_uring_cancel_all(ring, Operation.cancel.of(ReactorCore.doorbellToken)) == 0 else {
            return
        }
        var data: UInt64 = 0
        var result: CInt = 0
        var flags: UInt32 = 0
        while left > 0 {
            let refusal = unsafe ce_uring_wait(ring, nil)
            guard refusal == 0 || refusal == -EINTR || refusal == -EAGAIN else { return }
            while unsafe ce_uring_next(ring, &data, &result, &flags) == 1 {
                let isLast = flags & UInt32(CE_URING_MORE) == 0
                if isLast && data != Operation.cancel.of(ReactorCore.doorbellToken) { left -= 1 }
            }
        }
    }

    /// What a user can do about the kernel's refusal.
    static func refusal(_ errno: Errno) -> ReactorError {
        let reason =
            switch errno.code {
            case EPERM, EACCES:
                "it is forbidden here: by the sysctl kernel.io_uring_disabled, or by a container's seccomp profile"
            case ENOSYS: "this kernel has none, or a container's seccomp profile hides it"
            case EINVAL: "this kernel is older than Linux 6.1"
            case ENOMEM: "the kernel gives it no memory: raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)"
            default: errno.description
            }
        return .engineUnavailable(.ioUring, reason: reason)
    }

    /// Sources that still fit.
    var room: Int { sources.capacity - sources.count }

    /// Buffers that the kernel may receive into: the engine's, not an owner's.
    var heldBuffers: Int { ReceiveRing.count }
}

// MARK: - Taking sources in

extension IOUringEngine {
    /// Takes a descriptor in that does not block.
    mutating func add(
        _ descriptor: consuming Descriptor, kind: Source.Kind, owner: UInt64, _ core: inout ReactorCore
    ) throws(ReactorError) -> Token {
        let token = try insert(descriptor, kind: kind, life: .open, owner: owner)
        if kind == .listener { sources[token].subscription = .armed }
        scheduleArming(token)
        return token
    }

    /// Starts a connect on a fresh socket.
    mutating func connect(
        _ descriptor: consuming Descriptor, to address: SocketAddress, owner: UInt64, _ core: inout ReactorCore
    ) throws(ReactorError) -> Token {
        let token = try insert(descriptor, kind: .stream, life: .connecting, owner: owner)
        attempt(token, address, pause: EpollEngine.firstReconnectPause, &core)
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
        attempt(token, waiting.address, pause: min(waiting.pause * 2, EpollEngine.longestReconnectPause), &core)
    }

    private mutating func attempt(
        _ token: Token, _ address: SocketAddress, pause: Int64, _ core: inout ReactorCore
    ) {
        switch address.connect(sources[token].number) {
        case .connected: didConnect(token, &core)
        case .inProgress: poll(token, POLLOUT, .writable)
        case .backlogFull:
            let deadline = core.deadlines.add(at: core.now + pause, purpose: .reconnect(token))
            reconnects[token] = Reconnect(address: address, pause: pause, deadline: deadline)
        case .failed(let errno): fail(token, errno, &core)
        }
    }

    private mutating func insert(
        _ descriptor: consuming Descriptor, kind: Source.Kind, life: UringSource.Life, owner: UInt64
    ) throws(ReactorError) -> Token {
        let source = UringSource(owner: owner, kind: kind, life: life, descriptor: descriptor)
        guard let token = sources.insert(source) else { throw .full(limit: sources.capacity) }
        return token
    }

    private mutating func didConnect(_ token: Token, _ core: inout ReactorCore) {
        sources[token].life = .open
        core.post(.connected, token)
        flush(token, &core)
        scheduleArming(token)
    }
}

// MARK: - Operations

extension IOUringEngine {
    /// Arms the subscription.
    mutating func receive(_ token: Token, _ core: inout ReactorCore) {
        guard isUsable(token) else { return }
        precondition(sources[token].kind.hasSubscription, "nothing is received from this kind of source")
        sources[token].subscription = .armed
        if sources[token].input == .ready { list(token, core.tick, core.limits) } else { scheduleArming(token) }
    }

    /// Disarms the subscription: told at once where nothing is in flight.
    mutating func disarm(_ token: Token, _ core: inout ReactorCore) {
        guard isUsable(token) else { return }
        precondition(sources[token].kind.hasSubscription, "nothing is received from this kind of source")
        sources[token].subscription = .disarmed
        switch sources[token].input {
        case .idle, .ready, .ended: core.post(.disarmed, token)
        case .inFlight, .cancelling:
            sources[token].pendingDisarms += 1
            cancelInput(token)
        }
    }

    /// Sends what the kernel takes at once, or hands it over.
    ///
    /// - Returns: whether the kernel has taken all of it. Then no `.sent` follows.
    mutating func pass(_ buffer: consuming Buffer, to token: Token, _ core: inout ReactorCore) -> Bool {
        guard takesSends(token) else { return false }
        guard sources[token].life == .open, case .open = sources[token].output, !sharesCalls(token) else {
            sources[token].sends.append(buffer, endsSend: true)
            flush(token, &core)
            return false
        }
        switch sources[token].kind.write(sources[token].number, buffer) {
        case .bytes(let count):
            buffer.removeFirst(count)
            if buffer.isEmpty { return true }
        case .wouldBlock: break
        case .failed(let errno):
            breakOutput(token, errno, &core)
            return false
        }
        sources[token].sends.append(buffer, endsSend: true)
        wait(toSend: token)
        return false
    }

    /// Queues a copy in as many buffers as it takes.
    mutating func send(copying bytes: RawSpan, to token: Token, _ core: inout ReactorCore) {
        guard takesSends(token) else { return }
        var offset = 0
        repeat {
            var buffer = core.buffer()
            offset += buffer.append(bytes.extracting(offset..<bytes.byteCount))
            sources[token].sends.append(buffer, endsSend: offset == bytes.byteCount)
        } while offset < bytes.byteCount
        flush(token, &core)
    }

    /// Shuts our side down behind the last queued send.
    mutating func finish(_ token: Token, _ core: inout ReactorCore) {
        guard isUsable(token) else { return }
        precondition(sources[token].kind.isSendable, "only what is sent to can be finished")
        guard case .notAsked = sources[token].finish else { return }
        sources[token].finish = .asked
        flush(token, &core)
    }

    /// Ends a source. What the kernel still has is called back; the descriptor is closed when it has let go of all.
    mutating func close(_ token: Token, _ core: inout ReactorCore) {
        guard sources.contains(token), sources[token].life != .closing else { return }
        if let waiting = reconnects.removeValue(forKey: token) { core.deadlines.cancel(waiting.deadline) }
        if sources[token].life == .connecting && sources[token].inFlight > 0 { cancel(.writable, of: token) }
        sources[token].life = .closing
        cancelInput(token)
        cancelOutput(token)
        if sources[token].input == .ended && sources[token].inFlight > 0 { cancel(.hangup, of: token) }
        finishClose(token, &core)
    }

    /// The number of a live descriptor, for socket options; nil when it is closed.
    func number(of token: Token) -> CInt? {
        guard sources.contains(token), sources[token].life != .closing else { return nil }
        return sources[token].number
    }

    private mutating func finishClose(_ token: Token, _ core: inout ReactorCore) {
        guard sources[token].life == .closing && sources[token].inFlight == 0 else { return }
        sources[token].descriptor = nil
        sources[token].sends.removeAll()
        core.post(.closed, token)
    }

    private func isUsable(_ token: Token) -> Bool {
        guard sources.contains(token) else { return false }
        switch sources[token].life {
        case .connecting, .open: return true
        case .failed, .closing: return false
        }
    }

    private func takesSends(_ token: Token) -> Bool {
        guard isUsable(token) else { return false }
        precondition(sources[token].kind.isSendable, "nothing can be sent to this kind of source")
        precondition(sources[token].finish == .notAsked, "a send after finish")
        if case .broken = sources[token].output { return false }
        return true
    }
}

// MARK: - What the kernel has

extension IOUringEngine {
    private mutating func queued(_ token: Token, _ result: CInt) {
        precondition(result == 0, "io_uring_enter: \(Errno.last)")
        sources[token].inFlight += 1
        inFlight += 1
    }

    private mutating func poll(_ token: Token, _ events: CInt, _ operation: Operation) {
        queued(token, unsafe ce_uring_poll(ring, sources[token].number, UInt32(events), operation.of(token)))
    }

    private mutating func cancel(_ operation: Operation, of token: Token) {
        let result = unsafe ce_uring_cancel(ring, operation.of(token), Operation.cancel.of(token))
        precondition(result == 0, "io_uring_enter: \(Errno.last)")
    }

    private mutating func cancelInput(_ token: Token) {
        guard sources[token].input == .inFlight else { return }
        sources[token].input = .cancelling
        cancel(.input, of: token)
    }

    private mutating func cancelOutput(_ token: Token) {
        switch sources[token].output {
        case .open, .broken: return
        case .sending: cancel(.send, of: token)
        case .waiting: cancel(.writable, of: token)
        }
    }

    private mutating func scheduleArming(_ token: Token) {
        guard !sources[token].isUnarmed && sources[token].input == .idle && sources[token].isWanted else { return }
        sources[token].isUnarmed = true
        unarmed.append(token)
    }

    private mutating func arm(_ token: Token) {
        guard sources.contains(token) else { return }
        sources[token].isUnarmed = false
        guard sources[token].life == .open && sources[token].input == .idle && sources[token].isWanted else { return }
        if case .broken = sources[token].output { return }
        sources[token].input = .inFlight
        guard sources[token].receivesInFlight else { return poll(token, POLLIN, .input) }
        let isEmpty: CInt = sources[token].isDrained ? 1 : 0
        queued(
            token,
            unsafe ce_uring_receive(
                ring, sources[token].number, ReceiveRing.group, isEmpty, Operation.input.of(token)))
    }
}

// MARK: - Output

extension IOUringEngine {
    /// Sends what is queued: by a call of our own while the tick has few completions, because its `.sent` needs no tick
    /// more; through the ring when there are many, whose sends then share one call.
    private mutating func flush(_ token: Token, _ core: inout ReactorCore) {
        guard sources[token].life == .open, case .open = sources[token].output else { return }
        while !sources[token].sends.isEmpty {
            if goesThroughTheRing(token) { return submitFront(token, isFull: 0) }
            switch sources[token].kind.writeFront(sources[token].number, of: sources[token].sends) {
            case .bytes(let count):
                guard let front = unsafe sources[token].sends.front else { return }
                unsafe front.pointee.removeFirst(UInt32(count))
                if unsafe front.pointee.received > front.pointee.sent { return wait(toSend: token) }
                if sources[token].sends.removeFirst() { core.post(.sent, token) }
            case .wouldBlock:
                return wait(toSend: token)
            case .failed(let errno):
                return breakOutput(token, errno, &core)
            }
        }
        if case .asked = sources[token].finish { shutDown(token) }
    }

    /// Whether a send goes by the call that waits, together with others.
    private func sharesCalls(_ token: Token) -> Bool {
        batch >= Self.manyCompletions && sources[token].receivesInFlight
    }

    private func goesThroughTheRing(_ token: Token) -> Bool {
        guard sharesCalls(token), let front = unsafe sources[token].sends.front else { return false }
        return unsafe front.pointee.received > front.pointee.sent
    }

    /// The kernel takes no more now: it gets the rest to send when it can.
    private mutating func wait(toSend token: Token) {
        if sources[token].receivesInFlight { return submitFront(token, isFull: 1) }
        sources[token].output = .waiting
        poll(token, POLLOUT, .writable)
    }

    private mutating func submitFront(_ token: Token, isFull: CInt) {
        guard let front = unsafe sources[token].sends.front else { return }
        let start = unsafe front.payload + Int(front.pointee.sent)
        let length = unsafe Int(front.pointee.received &- front.pointee.sent)
        sources[token].output = .sending
        queued(
            token,
            unsafe ce_uring_send(
                ring, sources[token].number, start, length, isFull, Operation.send.of(token)))
    }

    private mutating func didSend(_ token: Token, _ result: CInt, _ core: inout ReactorCore) {
        guard sources[token].life == .open else { return sources[token].sends.removeAll() }
        sources[token].output = .open
        guard result >= 0 || result == -EINTR || result == -EAGAIN else {
            return breakOutput(token, Errno(code: -result), &core)
        }
        guard let front = unsafe sources[token].sends.front else { return }
        if result > 0 { unsafe front.pointee.removeFirst(UInt32(result)) }
        if unsafe front.pointee.received == front.pointee.sent, sources[token].sends.removeFirst() {
            core.post(.sent, token)
        }
        flush(token, &core)
    }

    private mutating func didBecomeWritable(_ token: Token, _ core: inout ReactorCore) {
        switch sources[token].life {
        case .connecting:
            if let errno = SystemCalls.pendingError(sources[token].number) { return fail(token, errno, &core) }
            didConnect(token, &core)
        case .open:
            guard case .waiting = sources[token].output else { return }
            sources[token].output = .open
            flush(token, &core)
        case .failed, .closing: return
        }
    }

    /// What the peer sent before it left (a FATAL ErrorResponse) is still to be read: the owner hears of the failure
    /// after it, unless it does not listen.
    private mutating func breakOutput(_ token: Token, _ errno: Errno, _ core: inout ReactorCore) {
        sources[token].sends.removeAll()
        guard sources[token].subscription == .armed && sources[token].input != .ended else {
            return fail(token, errno, &core)
        }
        sources[token].output = .broken(errno)
        switch sources[token].input {
        case .idle, .ready: list(token, core.tick, core.limits)
        case .inFlight: cancelInput(token)
        case .cancelling, .ended: return
        }
    }

    private mutating func shutDown(_ token: Token) {
        sources[token].finish = .done
        // On a pipe or after the peer's reset there is nothing to shut down.
        _ = shutdown(sources[token].number, CInt(SHUT_WR))
    }

    private mutating func fail(_ token: Token, _ errno: Errno, _ core: inout ReactorCore) {
        endLife(token)
        core.post(.failed(errno), token)
    }

    /// Nothing is received or sent any more; bytes that the kernel still has are freed when it gives them back.
    private mutating func endLife(_ token: Token) {
        sources[token].life = .failed
        sources[token].subscription = .disarmed
        cancelInput(token)
        cancelOutput(token)
        if case .sending = sources[token].output { return }
        sources[token].sends.removeAll()
    }
}

// MARK: - The tick

extension IOUringEngine {
    /// Hands over what was asked and waits until something happened or the time has come.
    ///
    /// - Parameter timeout: nanoseconds from now; nil waits for ever.
    mutating func wait(timeout: Int64?, _ core: inout ReactorCore) {
        while let token = reaped.popFirst() { _ = sources.remove(token) }
        while let token = later.popFirst() { ready.append(token) }
        while let token = unarmed.popFirst() { arm(token) }
        armDoorbell()
        let isPending = !ready.isEmpty || !core.notes.isEmpty
        waitForCompletions(timeout: isPending ? 0 : timeout)
        batch = unsafe ce_uring_ready(ring)
    }

    /// The doorbell's counter is never read: every write is an edge, as `Doorbell` says.
    private mutating func armDoorbell() {
        if isDoorbellArmed { return }
        let data = Operation.doorbell.of(ReactorCore.doorbellToken)
        let result = unsafe ce_uring_poll_edges(ring, doorbell, UInt32(POLLIN), data)
        precondition(result == 0, "io_uring_enter: \(Errno.last)")
        isDoorbellArmed = true
        inFlight += 1
    }

    /// The only place where the reactor's thread sleeps.
    @inline(never)
    private mutating func waitForCompletions(timeout: Int64?) {
        var time = timespec()
        if let timeout {
            time.tv_sec = Int(timeout / 1_000_000_000)
            time.tv_nsec = Int(timeout % 1_000_000_000)
        }
        let result = unsafe withUnsafePointer(to: &time) { time in
            unsafe ce_uring_wait(ring, timeout == nil ? nil : time)
        }
        switch -result {
        case 0, ETIME, EINTR, EAGAIN, EBUSY: return
        default: preconditionFailure("io_uring_enter: \(Errno(code: -result))")
        }
    }

    /// The next completion of this tick. Facts first, then what is ready, then what the kernel has completed.
    mutating func next(_ core: inout ReactorCore) -> Completion? {
        var data: UInt64 = 0
        var result: CInt = 0
        var flags: UInt32 = 0
        while true {
            if let note = core.notes.popFirst() {
                if let completion = deliver(note, core.doorbell) { return completion }
            } else if let token = ready.popFirst() {
                if let completion = pull(token, &core) { return completion }
            } else if unsafe ce_uring_next(ring, &data, &result, &flags) == 1 {
                if let completion = absorb(data, result, flags, &core) { return completion }
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

    /// Takes a completion of the kernel in. A slot lives until the last one of its operations has come back.
    private mutating func absorb(
        _ data: UInt64, _ result: CInt, _ flags: UInt32, _ core: inout ReactorCore
    ) -> Completion? {
        guard let operation = Operation(rawValue: (data & Operation.mask) >> Operation.shift) else {
            preconditionFailure("an unknown operation")
        }
        if case .cancel = operation { return nil }
        let isLast = flags & UInt32(CE_URING_MORE) == 0
        if isLast { inFlight -= 1 }
        if case .doorbell = operation {
            if isLast { isDoorbellArmed = false }
            core.post(.woken, ReactorCore.doorbellToken)
            return nil
        }
        let token = Token(raw: data & ~Operation.mask)
        if isLast { sources[token].inFlight -= 1 }
        let owner = sources[token].owner
        var event: Event?
        switch operation {
        case .input: event = didReceive(token, result, flags, &core)
        case .send: didSend(token, result, &core)
        case .writable: didBecomeWritable(token, &core)
        case .hangup: didHangUp(token, &core)
        case .doorbell, .cancel: break
        }
        finishClose(token, &core)
        guard let event else { return nil }
        return Completion(owner: owner, token: token, event: event)
    }
}

// MARK: - Input

extension IOUringEngine {
    private mutating func didReceive(
        _ token: Token, _ result: CInt, _ flags: UInt32, _ core: inout ReactorCore
    ) -> Event? {
        sources[token].input = .idle
        let buffer = received.take(flags: flags, count: result, &core)
        let event: Event?
        if sources[token].life != .open {
            event = nil
        } else if sources[token].receivesInFlight {
            sources[token].isDrained = flags & UInt32(CE_URING_SOCKET_HOLDS_MORE) == 0
            event = receivedEvent(token, result, buffer, &core)
        } else {
            if result > 0 { sources[token].input = .ready }
            event = nil
        }
        for _ in 0..<sources[token].pendingDisarms { core.post(.disarmed, token) }
        sources[token].pendingDisarms = 0
        list(token, core.tick, core.limits)
        scheduleArming(token)
        return event
    }

    private mutating func receivedEvent(
        _ token: Token, _ result: CInt, _ buffer: consuming Buffer?, _ core: inout ReactorCore
    ) -> Event? {
        switch result {
        case 1...: if let buffer = consume buffer { return .received(buffer) } else { return nil }
        case 0 where sources[token].kind == .datagrams: return .received(buffer.take() ?? core.buffer())
        case 0: return end(token)
        case -ECANCELED, -EINTR, -EAGAIN: return nil
        case -ENOBUFS:
            // More sockets than buffers had something in this tick: a call of our own brings a buffer along.
            sources[token].input = .ready
            return nil
        default:
            endLife(token)
            return .failed(Errno(code: -result))
        }
    }

    /// The end was read. A peer that is gone altogether afterwards is told by no read: the kernel is asked to say so.
    private mutating func end(_ token: Token) -> Event {
        sources[token].input = .ended
        sources[token].subscription = .disarmed
        if let event = brokenOutput(token) { return event }
        if sources[token].kind == .stream { watchForHangup(token) }
        return .endOfStream
    }

    /// By edges: that the peer has finished is an event as well, and would be told for ever.
    private mutating func watchForHangup(_ token: Token) {
        queued(token, unsafe ce_uring_poll_edges(ring, sources[token].number, 0, Operation.hangup.of(token)))
    }

    private mutating func didHangUp(_ token: Token, _ core: inout ReactorCore) {
        guard sources[token].life == .open else { return }
        if let errno = SystemCalls.pendingError(sources[token].number) { fail(token, errno, &core) }
    }

    /// The failure of a send, told now that the input is drained.
    private mutating func brokenOutput(_ token: Token) -> Event? {
        guard case .broken(let errno) = sources[token].output else { return nil }
        endLife(token)
        return .failed(errno)
    }

    /// Puts a source that is pulled from into this tick's list, or the next one's.
    private mutating func list(_ token: Token, _ tick: UInt32, _ limits: ReactorLimits) {
        guard !sources[token].isListed && wantsPull(token) else { return }
        sources[token].isListed = true
        sources[token].renewBudget(tick)
        let budget = sources[token].kind == .listener ? limits.acceptBudget : limits.receiveBudgetBytes
        if sources[token].spent < budget { ready.append(token) } else { later.append(token) }
    }

    private func wantsPull(_ token: Token) -> Bool {
        guard sources[token].life == .open else { return false }
        switch sources[token].input {
        case .inFlight, .cancelling, .ended: return false
        case .idle:
            if case .broken = sources[token].output { return true }
            return false
        case .ready: return sources[token].isWanted
        }
    }

    /// One call for one completion; back into the list while more is there.
    private mutating func pull(_ token: Token, _ core: inout ReactorCore) -> Completion? {
        guard sources.contains(token) else { return nil }
        sources[token].isListed = false
        guard wantsPull(token) else { return nil }
        sources[token].renewBudget(core.tick)
        let owner = sources[token].owner
        let event: Event? =
            switch sources[token].kind {
            case .stream, .datagrams, .file: read(token, &core)
            case .listener: acceptOne(token)
            case .process: reapProcess(token)
            case .signals: readSignal(token)
            }
        list(token, core.tick, core.limits)
        scheduleArming(token)
        guard let event else { return nil }
        return Completion(owner: owner, token: token, event: event)
    }

    /// A file that is ready, a stream that found no buffer, or what is left in one whose output is broken.
    private mutating func read(_ token: Token, _ core: inout ReactorCore) -> Event? {
        if sources[token].subscription == .disarmed { return brokenOutput(token) }
        var buffer = core.buffer()
        switch sources[token].kind.read(sources[token].number, into: &buffer) {
        case .bytes(let count) where count > 0 || sources[token].kind == .datagrams:
            sources[token].spent += max(count, EpollEngine.leastPullBytes)
            // A stream that gave less than was asked for has no more.
            let isShort = sources[token].kind == .stream && buffer.remainingCapacity > 0
            if isShort && sources[token].input == .ready { sources[token].input = .idle }
            return .received(buffer)
        case .bytes: return end(token)
        case .wouldBlock:
            sources[token].input = .idle
            return brokenOutput(token)
        case .failed(let errno):
            endLife(token)
            return .failed(errno)
        }
    }

    private mutating func acceptOne(_ token: Token) -> Event? {
        sources[token].spent += 1
        switch SystemCalls.accept(sources[token].number) {
        case .accepted(let descriptor): return .accepted(descriptor)
        case .nobody: return nil
        case .wouldBlock:
            sources[token].input = .idle
            return nil
        case .exhausted(let errno):
            sources[token].subscription = .disarmed
            return .failed(errno)
        }
    }

    private mutating func reapProcess(_ token: Token) -> Event? {
        guard let status = SystemCalls.reap(sources[token].number) else {
            sources[token].input = .idle
            return nil
        }
        sources[token].input = .ended
        return .exited(status)
    }

    private mutating func readSignal(_ token: Token) -> Event? {
        if let number = SystemCalls.signal(sources[token].number) { return .signalled(number) }
        sources[token].input = .idle
        return nil
    }
}
