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

    /// A new tick brings a new budget.
    mutating func renewBudget(_ now: UInt32) {
        guard tick != now else { return }
        tick = now
        spent = 0
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
