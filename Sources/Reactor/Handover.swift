import Glibc
import Synchronization

/// One value on its way from the thread that makes it to the one that waits for it, `sem_wait(3)`.
@safe
public final class Handover<Value: Sendable>: @unchecked Sendable {
    private let arrival = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let value = Mutex<Value?>(nil)

    /// Nothing given yet.
    public init() {
        unsafe arrival.initialize(to: sem_t())
        unsafe sem_init(arrival, 0, 0)
    }

    deinit {
        unsafe sem_destroy(arrival)
        unsafe arrival.deallocate()
    }

    /// Gives the value, once.
    public func give(_ value: Value) {
        self.value.withLock { $0 = value }
        unsafe sem_post(arrival)
    }

    /// Waits for the value, once.
    public func take() -> Value {
        while unsafe sem_wait(arrival) != 0 {
            precondition(errno == EINTR, "sem_wait: \(Errno.last)")
        }
        guard let value = value.withLock(\.self) else { preconditionFailure("taken before it was given") }
        return value
    }
}
