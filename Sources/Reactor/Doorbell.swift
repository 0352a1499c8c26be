import CEpoll
import Glibc
import Synchronization

/// The only thread-safe door into a reactor, `eventfd(2)`.
public final class Doorbell: Sendable {
    let descriptor: Descriptor
    /// Set by the first ring, cleared when `.woken` is delivered: rings in between cost no system call.
    private let isRung = Atomic(false)

    init() throws(ReactorError) {
        let number = ce_eventfd()
        guard number >= 0 else { throw .system(call: "eventfd", .last) }
        descriptor = Descriptor(owning: number)
    }

    /// Wakes the reactor, from any thread: `.woken` follows. Rings before that are one.
    public func ring() {
        guard !isRung.exchange(true, ordering: .acquiringAndReleasing) else { return }
        var one: UInt64 = 1
        // The counter cannot overflow: between two writes lies a delivery.
        _ = unsafe write(descriptor.number, &one, 8)
    }

    /// The reactor has seen the edge. What is posted from now on rings again; what was posted before is seen by the
    /// owner, who looks after this. The counter is never read: every write is an edge.
    func quiet() {
        isRung.store(false, ordering: .sequentiallyConsistent)
    }
}
