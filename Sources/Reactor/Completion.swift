/// One past fact, delivered once, to whoever owns the source it happened to.
@frozen
public struct Completion: ~Copyable {
    /// What the caller gave when it made the source: its own name for the owner. 0 for `.woken`.
    public let owner: UInt64
    /// The source or the deadline.
    public let token: Token
    /// What happened.
    public var event: Event

    @inlinable
    init(owner: UInt64, token: Token, event: consuming Event) {
        self.owner = owner
        self.token = token
        self.event = event
    }

    /// Takes the event out.
    @inlinable
    public consuming func takeEvent() -> Event { event }
}

/// What can happen to a source.
@frozen
public enum Event: ~Copyable {
    /// A listener has a new connection: non-blocking, close-on-exec.
    case accepted(Descriptor)
    /// A `connect` has succeeded; the stream is not armed yet.
    case connected
    /// Bytes arrived (a whole datagram on a datagram socket). The buffer is the receiver's until it ends.
    case received(Buffer)
    /// The peer has finished sending. Everything it sent was delivered before. Nothing is received afterwards.
    case endOfStream
    /// One send has left for the kernel, whole. In the order of the sends.
    case sent
    /// A stream is broken: at most once, after what could still be received; later sends are dropped. A listener could
    /// not accept for lack of something (descriptors, memory) and is disarmed until the next `receive`.
    case failed(Errno)
    /// A `disarm` took effect: no `.received` comes until the next `receive`.
    case disarmed
    /// The last completion of a source that `close` was called on.
    case closed
    /// A watched process has ended and, if it was our child, has been reaped.
    case exited(ExitStatus)
    /// A deadline has come.
    case expired
    /// Somebody rang the doorbell since the last `.woken`.
    case woken
    /// A watched signal has come.
    case signalled(CInt)
}
