import Glibc

/// The memory that buffers are lent from: pages of their own, last returned first lent, so the next read lands in what
/// the processor still has in its cache.
///
/// At most `idleLimit` free buffers are kept; what comes back beyond them goes back to the kernel at once, and what
/// nobody needed for a second goes back at the next `trim`. The pool lives on the heap and outlives its reactor until
/// the last lent buffer is back.
@usableFromInline
@safe
struct BufferPool {
    /// Free buffers that `trim` never touches.
    static let kept = 4
    /// Nanoseconds between two trims.
    static let trimPeriod: Int64 = 1_000_000_000

    private let allocationBytes: Int
    private let idleLimit: Int
    private var free: UnsafeMutablePointer<BufferHeader>?
    private(set) var idle = 0
    private(set) var lent = 0
    /// The fewest free buffers since the last trim: so many were not needed.
    private var leastIdle = 0
    private var nextTrim: Int64 = 0
    private var isAbandoned = false

    private init(allocationBytes: Int, idleLimit: Int) {
        self.allocationBytes = allocationBytes
        self.idleLimit = idleLimit
        unsafe free = nil
    }

    /// A pool on the heap, freed by `abandon` and the return of the last buffer.
    ///
    /// - Parameter bufferBytes: the size of one buffer with its header, rounded up to pages.
    static func make(bufferBytes: Int, idleLimit: Int) -> UnsafeMutablePointer<BufferPool> {
        precondition(bufferBytes > 0 && bufferBytes <= 1 << 30 && idleLimit >= 0, "buffers of 1 byte to 1 GB")
        let page = 4096
        let pool = UnsafeMutablePointer<BufferPool>.allocate(capacity: 1)
        unsafe pool.initialize(
            to: BufferPool(allocationBytes: (bufferBytes + page - 1) / page * page, idleLimit: idleLimit))
        return unsafe pool
    }

    /// Lends a buffer with nothing in it.
    static func borrow(from pool: UnsafeMutablePointer<BufferPool>) -> Buffer {
        unsafe pool.pointee.lent += 1
        guard let header = unsafe pool.pointee.free else { return unsafe Buffer(lent: allocate(for: pool)) }
        unsafe pool.pointee.free = header.pointee.next
        unsafe pool.pointee.idle -= 1
        unsafe pool.pointee.leastIdle = min(pool.pointee.leastIdle, pool.pointee.idle)
        unsafe header.pointee.next = nil
        unsafe header.pointee.endsSend = true
        return unsafe Buffer(lent: header)
    }

    /// Takes a buffer back.
    @usableFromInline
    static func giveBack(_ header: UnsafeMutablePointer<BufferHeader>) {
        let pool = unsafe header.pointee.pool
        unsafe pool.pointee.lent -= 1
        guard unsafe !pool.pointee.isAbandoned && pool.pointee.idle < pool.pointee.idleLimit else {
            unsafe pool.pointee.deallocate(header)
            return unsafe freeIfUnused(pool)
        }
        unsafe header.pointee.clear()
        unsafe header.pointee.next = pool.pointee.free
        unsafe pool.pointee.free = header
        unsafe pool.pointee.idle += 1
    }

    /// The reactor is gone: nothing is kept any more.
    static func abandon(_ pool: UnsafeMutablePointer<BufferPool>) {
        unsafe pool.pointee.isAbandoned = true
        unsafe pool.pointee.release(pool.pointee.idle)
        unsafe freeIfUnused(pool)
    }

    /// Gives the kernel back what nobody has needed since the last trim.
    mutating func trim(now: Int64) {
        guard now >= nextTrim else { return }
        nextTrim = now + Self.trimPeriod
        release(max(0, leastIdle - Self.kept))
        leastIdle = idle
    }

    private mutating func release(_ count: Int) {
        for _ in 0..<count {
            guard let header = unsafe free else { return }
            unsafe free = header.pointee.next
            idle -= 1
            unsafe deallocate(header)
        }
    }

    private static func freeIfUnused(_ pool: UnsafeMutablePointer<BufferPool>) {
        guard unsafe pool.pointee.isAbandoned && pool.pointee.lent == 0 else { return }
        unsafe pool.deinitialize(count: 1)
        unsafe pool.deallocate()
    }

    private static func allocate(for pool: UnsafeMutablePointer<BufferPool>) -> UnsafeMutablePointer<BufferHeader> {
        let bytes = unsafe pool.pointee.allocationBytes
        let pages = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let pages = unsafe pages, unsafe pages != MAP_FAILED else {
            fatalError("no memory for a buffer: \(Errno.last)")
        }
        let header = unsafe pages.bindMemory(to: BufferHeader.self, capacity: 1)
        let capacity = bytes - MemoryLayout<BufferHeader>.stride
        unsafe header.initialize(to: BufferHeader(pool: pool, capacity: UInt32(capacity)))
        return unsafe header
    }

    private func deallocate(_ header: UnsafeMutablePointer<BufferHeader>) {
        unsafe munmap(header, allocationBytes)
    }
}
