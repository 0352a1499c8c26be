import Glibc

/// A POSIX thread with a name and all signals blocked: signals belong to the thread that watches them.
public struct Thread: ~Copyable, Sendable {
    /// Starts a thread.
    ///
    /// - Parameters:
    ///   - name: what `top -H` shows, at most 15 bytes.
    ///   - body: runs once; the thread ends with it.
    public static func start(
        name: String, _ body: @escaping @Sendable () -> Void
    ) throws(ReactorError) -> Thread {
        fatalError("not yet")
    }

    /// Waits for the thread's end. A thread that nobody joins goes on by itself.
    public consuming func join() {
        fatalError("not yet")
    }
}
