/// Threads for work that blocks (copying directories, fsync, `initdb`), away from the reactor.
public final class WorkerPool: Sendable {
    /// Starts the threads, all signals blocked.
    ///
    /// - Parameter threads: how many jobs run at one time.
    public init(threads: Int, name: String = "worker") throws(ReactorError) {
        fatalError("not yet")
    }

    /// Queues a job, first in, first out. After `stop` it is dropped.
    public func submit(_ job: @escaping @Sendable () -> Void) {
        fatalError("not yet")
    }

    /// Runs what is queued, ends the threads and waits for them. Not from a job.
    public func stop() {
        fatalError("not yet")
    }
}
