/// What waits to be sent on one source, first in, first out: buffers linked through their own headers, so waiting costs
/// no memory beyond the bytes.
@safe
struct SendQueue: ~Copyable {
    private var first: UnsafeMutablePointer<BufferHeader>?
    private var last: UnsafeMutablePointer<BufferHeader>?

    init() {
        unsafe first = nil
        unsafe last = nil
    }

    deinit {
        var header = unsafe first
        while let queued = unsafe header {
            unsafe header = queued.pointee.next
            unsafe BufferPool.giveBack(queued)
        }
    }

    /// Whether nothing waits.
    var isEmpty: Bool { unsafe first == nil }

    /// The buffer that leaves next, still owned by the queue.
    var front: UnsafeMutablePointer<BufferHeader>? { unsafe first }

    /// Queues a buffer.
    ///
    /// - Parameter endsSend: whether `.sent` is due when it has left.
    mutating func append(_ buffer: consuming Buffer, endsSend: Bool) {
        let header = unsafe buffer.release()
        unsafe header.pointee.endsSend = endsSend
        unsafe header.pointee.next = nil
        if let last = unsafe last {
            unsafe last.pointee.next = header
        } else {
            unsafe first = header
        }
        unsafe last = header
    }

    /// Returns the front to the pool.
    ///
    /// - Returns: whether a send ended with it.
    mutating func removeFirst() -> Bool {
        guard let header = unsafe first else { preconditionFailure("an empty send queue") }
        unsafe first = header.pointee.next
        if unsafe first == nil { unsafe last = nil }
        let endsSend = unsafe header.pointee.endsSend
        unsafe BufferPool.giveBack(header)
        return endsSend
    }

    /// Drops everything.
    mutating func removeAll() {
        while unsafe first != nil { _ = removeFirst() }
    }
}
