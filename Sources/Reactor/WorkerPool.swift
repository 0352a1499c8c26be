import Glibc
import Synchronization

/// Threads for work that blocks (copying directories, fsync, `initdb`), away from the reactor.
public final class WorkerPool: Sendable {
    private let queue = JobQueue()
    private let threads: Mutex<Threads>

    /// Starts the threads, all signals blocked.
    ///
    /// - Parameter threads: how many jobs run at one time.
    public init(threads count: Int, name: String = "worker") throws(ReactorError) {
        precondition(count > 0, "a pool has a thread")
        var started = Threads(capacity: count)
        for _ in 0..<count {
            do {
                started.insert(try Thread.start(name: name) { [queue] in queue.work() })
            } catch {
                queue.end()
                started.joinAll()
                throw error
            }
        }
        threads = Mutex(started)
    }

    /// Queues a job, first in, first out. After `stop` it is dropped.
    public func submit(_ job: @escaping @Sendable () -> Void) {
        queue.append(job)
    }

    /// Runs what is queued, ends the threads and waits for them. Not from a job.
    public func stop() {
        queue.end()
        threads.withLock { $0.joinAll() }
    }

    deinit {
        // The threads hold the queue, not the pool: they end by themselves when nobody stopped them.
        queue.end()
    }
}

/// Threads until they are joined.
public struct Threads: ~Copyable {
    private var running: Slab<Thread>

    /// None yet.
    ///
    /// - Parameter capacity: the largest number of them, 1 or more.
    public init(capacity: Int) {
        running = Slab(capacity: capacity)
    }

    /// Takes a thread in.
    public mutating func insert(_ thread: consuming Thread) {
        _ = running.insert(thread)
    }

    /// Waits for the end of each.
    public mutating func joinAll() {
        while let token = running.first(from: 0), let thread = running.remove(token) { thread.join() }
    }
}

/// Jobs on their way to whichever thread is free, `pthread_cond_wait(3)`.
@safe
private final class JobQueue: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let arrival = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var jobs: [@Sendable () -> Void] = []
    private var first = 0
    private var hasEnded = false

    init() {
        unsafe lock.initialize(to: pthread_mutex_t())
        unsafe arrival.initialize(to: pthread_cond_t())
        unsafe pthread_mutex_init(lock, nil)
        unsafe pthread_cond_init(arrival, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(arrival)
        unsafe pthread_mutex_destroy(lock)
        unsafe arrival.deallocate()
        unsafe lock.deallocate()
    }

    func append(_ job: @escaping @Sendable () -> Void) {
        unsafe pthread_mutex_lock(lock)
        if !hasEnded { jobs.append(job) }
        unsafe pthread_cond_signal(arrival)
        unsafe pthread_mutex_unlock(lock)
    }

    func end() {
        unsafe pthread_mutex_lock(lock)
        hasEnded = true
        unsafe pthread_cond_broadcast(arrival)
        unsafe pthread_mutex_unlock(lock)
    }

    /// A thread's life: jobs until the queue has ended and is empty.
    func work() {
        while let job = next() { job() }
    }

    private func next() -> (@Sendable () -> Void)? {
        unsafe pthread_mutex_lock(lock)
        defer { unsafe pthread_mutex_unlock(lock) }
        while first == jobs.count {
            if hasEnded { return nil }
            unsafe pthread_cond_wait(arrival, lock)
        }
        let job = jobs[first]
        first += 1
        if first == jobs.count {
            jobs.removeAll(keepingCapacity: true)
            first = 0
        }
        return job
    }
}
