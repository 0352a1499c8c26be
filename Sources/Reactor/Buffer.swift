/// A piece of memory lent by a reactor's pool, given back when its owner ends. Only the reactor's thread touches it.
///
///     |  sent  |  parsed, unsent  |  unparsed  |  room  |
///     0 ≤     sent       ≤      parsed   ≤   received ≤ capacity
///
///     received(n)      → moves `received` right: the kernel or `append` wrote n bytes
///     markParsed(n)    → moves `parsed` right: the decoder has understood n more bytes
///     removeFirst(n)   → moves `sent` right (and `parsed` along with it): n bytes have left
///
/// Readable is what lies between `sent` and `received`. When the last readable byte leaves, all three go back to 0.
@safe
public struct Buffer: ~Copyable {
    @usableFromInline let lent: UnsafeMutablePointer<BufferHeader>

    @usableFromInline
    init(lent: UnsafeMutablePointer<BufferHeader>) {
        unsafe self.lent = unsafe lent
    }

    deinit {
        unsafe BufferPool.giveBack(lent)
    }

    /// Gives the ownership to a send queue.
    consuming func release() -> UnsafeMutablePointer<BufferHeader> {
        let header = unsafe lent
        discard self
        return unsafe header
    }

    /// Where the kernel may write, `remainingCapacity` bytes.
    var room: UnsafeMutableRawPointer { unsafe lent.payload + Int(lent.pointee.received) }

    /// The kernel has written bytes into the room.
    mutating func received(_ byteCount: Int) {
        unsafe lent.pointee.received &+= UInt32(byteCount)
    }

    /// Readable bytes.
    @inlinable
    public var count: Int { unsafe Int(lent.pointee.received &- lent.pointee.sent) }

    /// Whether nothing is readable.
    @inlinable
    public var isEmpty: Bool { count == 0 }

    /// Readable bytes that `markParsed` has not passed yet.
    @inlinable
    public var unparsedCount: Int { unsafe Int(lent.pointee.received &- lent.pointee.parsed) }

    /// Bytes that `append` still takes.
    @inlinable
    public var remainingCapacity: Int { unsafe Int(lent.pointee.capacity &- lent.pointee.received) }

    /// Bytes that fit into an empty buffer.
    @inlinable
    public var capacity: Int { unsafe Int(lent.pointee.capacity) }

    /// Lends the readable bytes.
    @inlinable
    public func withBytes<Result: ~Copyable, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let bytes = unsafe UnsafeRawBufferPointer(
            start: lent.payload + Int(lent.pointee.sent), count: count)
        return try unsafe body(bytes.bytes)
    }

    /// Lends the readable bytes for changes in place; their number stays.
    @inlinable
    public mutating func withMutableBytes<Result: ~Copyable, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let bytes = unsafe UnsafeMutableRawBufferPointer(
            start: lent.payload + Int(lent.pointee.sent), count: count)
        var span = unsafe bytes.mutableBytes
        return try body(&span)
    }

    /// The decoder has understood the next bytes.
    @inlinable
    public mutating func markParsed(_ byteCount: Int) {
        precondition(byteCount >= 0 && byteCount <= unparsedCount, "parsed ≤ received")
        unsafe lent.pointee.parsed &+= UInt32(byteCount)
    }

    /// Bytes have left at the front.
    @inlinable
    public mutating func removeFirst(_ byteCount: Int) {
        precondition(byteCount >= 0 && byteCount <= count, "sent ≤ received")
        unsafe lent.pointee.removeFirst(UInt32(byteCount))
    }

    /// Drops bytes at the end: what follows a decoded prefix and has been copied elsewhere.
    @inlinable
    public mutating func removeLast(_ byteCount: Int) {
        precondition(byteCount >= 0 && byteCount <= count, "sent ≤ received")
        unsafe lent.pointee.received &-= UInt32(byteCount)
        unsafe lent.pointee.parsed = unsafe min(lent.pointee.parsed, lent.pointee.received)
    }

    /// Copies bytes to the end, as many as there is room for.
    ///
    /// - Returns: how many were taken.
    @inlinable
    @discardableResult
    public mutating func append(_ bytes: RawSpan) -> Int {
        let taken = min(bytes.byteCount, remainingCapacity)
        unsafe bytes.withUnsafeBytes { source in
            guard let start = source.baseAddress, taken > 0 else { return }
            unsafe (lent.payload + Int(lent.pointee.received)).copyMemory(from: start, byteCount: taken)
        }
        unsafe lent.pointee.received &+= UInt32(taken)
        return taken
    }

    /// Copies bytes to the end, as many as there is room for.
    ///
    /// - Returns: how many were taken.
    @inlinable
    @discardableResult
    public mutating func append(_ bytes: [UInt8]) -> Int {
        unsafe append(bytes.span.bytes)
    }
}

/// What lies in front of a buffer's bytes, in the same page: the first read of a small message touches one page only.
@usableFromInline
@safe
struct BufferHeader {
    /// The pool that lent this buffer; outlives it.
    @usableFromInline let pool: UnsafeMutablePointer<BufferPool>
    /// The next one in the pool's free list or in a socket's send queue.
    @usableFromInline var next: UnsafeMutablePointer<BufferHeader>?
    @usableFromInline let capacity: UInt32
    @usableFromInline var sent: UInt32
    @usableFromInline var parsed: UInt32
    @usableFromInline var received: UInt32
    /// Whether a send ends with this buffer: `.sent` is delivered when it has left.
    @usableFromInline var endsSend: Bool

    @usableFromInline
    init(pool: UnsafeMutablePointer<BufferPool>, capacity: UInt32) {
        unsafe self.pool = unsafe pool
        unsafe self.next = nil
        self.capacity = capacity
        sent = 0
        parsed = 0
        received = 0
        endsSend = true
    }

    @inlinable
    mutating func removeFirst(_ byteCount: UInt32) {
        sent &+= byteCount
        if sent == received {
            clear()
        } else if parsed < sent {
            parsed = sent
        }
    }

    @inlinable
    mutating func clear() {
        sent = 0
        parsed = 0
        received = 0
    }
}

extension UnsafeMutablePointer<BufferHeader> {
    /// Where the bytes begin: one header behind the start.
    @inlinable
    var payload: UnsafeMutableRawPointer {
        unsafe UnsafeMutableRawPointer(self + 1)
    }
}
