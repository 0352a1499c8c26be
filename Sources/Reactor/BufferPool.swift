/// The memory that buffers are lent from.
@usableFromInline
struct BufferPool {
    static func giveBack(_ lent: UnsafeMutablePointer<BufferHeader>) {
        fatalError("not yet")
    }
}
