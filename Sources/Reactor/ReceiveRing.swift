import CEpoll
import Glibc

/// Buffers that the kernel may receive into: it takes one when bytes have come, so a socket that waits holds none.
///
///     pool ──▶ ring of the kernel ──bytes──▶ completion with a number ──▶ Buffer of the owner ──▶ pool
///       └───────────────── another one under the same number ◀┘
@safe
struct ReceiveRing {
    /// Buffers that one tick can fill; a receive that finds none comes back, and is done by a call. A power of two. 8
    /// and 32 measured the same; these keep a megabyte at most.
    static let count = 16
    static let group: CInt = 0

    private let ring: UnsafeMutableRawPointer
    private let buffers: UnsafeMutableRawPointer
    private let headers: UnsafeMutablePointer<UnsafeMutablePointer<BufferHeader>?>

    /// - Throws: the kernel's refusal; `ring` stays the caller's.
    init(_ ring: UnsafeMutableRawPointer, _ core: borrowing ReactorCore) throws(Errno) {
        guard let buffers = unsafe ce_uring_buffers_create(ring, UInt32(Self.count), Self.group) else { throw .last }
        unsafe self.ring = unsafe ring
        unsafe self.buffers = unsafe buffers
        unsafe headers = .allocate(capacity: Self.count)
        for number in 0..<Self.count {
            unsafe (headers + number).initialize(to: nil)
            provide(core.buffer(), as: number)
        }
    }

    /// Before the ring that it belongs to is destroyed, when nothing is in flight any more.
    func destroy() {
        unsafe ce_uring_buffers_destroy(ring, buffers, UInt32(Self.count), Self.group)
        for number in 0..<Self.count {
            if let header = unsafe headers[number] { unsafe BufferPool.giveBack(header) }
        }
        unsafe headers.deallocate()
    }

    /// The buffer that a completion names, with what was received; another one takes its place.
    ///
    /// - Returns: nil when the completion used none.
    func take(flags: UInt32, count: CInt, _ core: inout ReactorCore) -> Buffer? {
        guard flags & UInt32(CE_URING_BUFFER) != 0 else { return nil }
        let number = Int(flags >> UInt32(CE_URING_BUFFER_SHIFT))
        guard let header = unsafe headers[number] else { preconditionFailure("an unknown buffer") }
        var buffer = unsafe Buffer(lent: header)
        if count > 0 { buffer.received(Int(count)) }
        provide(core.buffer(), as: number)
        return buffer
    }

    private func provide(_ buffer: consuming Buffer, as number: Int) {
        let header = unsafe buffer.release()
        unsafe headers[number] = header
        unsafe ce_uring_buffers_add(
            buffers, UInt32(Self.count), header.payload, header.pointee.capacity, UInt16(number))
    }
}
