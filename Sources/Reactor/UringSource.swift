/// One descriptor in the reactor's care, as the io_uring engine sees it.
///
/// Streams and datagram sockets have a receive in flight while they are armed; everything else is polled, and pulled
/// from with calls of our own once it is ready.
struct UringSource: ~Copyable {
    /// From its first to its last completion.
    enum Life: BitwiseCopyable {
        case connecting
        case open
        /// `.failed` was posted; only `close` does anything.
        case failed
        /// `close` was called; `.closed` is posted when the kernel has let go of every operation.
        case closing
    }

    enum Input: BitwiseCopyable {
        /// The kernel was asked for nothing.
        case idle
        /// The kernel has a receive, or a poll.
        case inFlight
        /// And it was asked to let go of it.
        case cancelling
        /// A poll has fired, or a receive has found no buffer: pull until the kernel says that nothing is left.
        case ready
        /// The end was read.
        case ended
    }

    enum Output: BitwiseCopyable {
        /// The kernel has nothing of ours to send.
        case open
        /// The kernel has a send: its bytes are the first ones in the queue.
        case sending
        /// The kernel is asked when there is room again.
        case waiting
        /// A send has failed: told to the owner when the input is drained.
        case broken(Errno)
    }

    var owner: UInt64
    let kind: Source.Kind
    var life: Life
    var subscription = Source.Subscription.disarmed
    var input = Input.idle
    var output = Output.open
    var finish = Source.Finish.notAsked
    /// Whether the last receive left nothing behind: the next one starts with waiting.
    var isDrained = true
    /// Whether the token waits to be armed at the head of the next tick.
    var isUnarmed = false
    /// Whether the token is in the ready list.
    var isListed = false
    /// Operations that the kernel has: the descriptor and the send queue stay as long.
    var inFlight: UInt8 = 0
    /// Disarms to be told when the receive has come back.
    var pendingDisarms: UInt32 = 0
    /// The tick that `spent` belongs to.
    var tick: UInt32 = 0
    /// Bytes (or connections) pulled in that tick.
    var spent = 0
    var descriptor: Descriptor?
    var sends = SendQueue()

    init(owner: UInt64, kind: Source.Kind, life: Life, descriptor: consuming Descriptor) {
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

    /// Whether the kernel can be handed a receive; otherwise it is asked for readiness.
    var receivesInFlight: Bool {
        switch kind {
        case .stream, .datagrams: true
        case .listener, .file, .process, .signals: false
        }
    }

    /// Whether the owner wants what the kernel has.
    var isWanted: Bool {
        switch kind {
        case .process, .signals: true
        case .listener, .stream, .datagrams, .file: subscription == .armed
        }
    }

    /// A new tick brings a new budget.
    mutating func renewBudget(_ now: UInt32) {
        guard tick != now else { return }
        tick = now
        spent = 0
    }
}
