import CEpoll
import Glibc

/// A POSIX thread with a name and all signals blocked: signals belong to the thread that watches them.
@safe
public struct Thread: ~Copyable, @unchecked Sendable {
    private let handle: pthread_t

    /// Starts a thread.
    ///
    /// - Parameters:
    ///   - name: what `top -H` shows, at most 15 bytes.
    ///   - body: runs once; the thread ends with it.
    public static func start(
        name: String, _ body: @escaping @Sendable () -> Void
    ) throws(ReactorError) -> Thread {
        let task = unsafe Unmanaged.passRetained(Task(name: name, body: body))
        var handle = pthread_t()
        // The mask is inherited: blocked here, there is no moment in which the new thread could take a signal.
        var every = sigset_t()
        var before = sigset_t()
        unsafe sigfillset(&every)
        unsafe pthread_sigmask(SIG_SETMASK, &every, &before)
        let result = unsafe pthread_create(
            &handle, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                unsafe Unmanaged<Task>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, task.toOpaque())
        unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
        guard result == 0 else {
            unsafe task.release()
            throw .system(call: "pthread_create", Errno(code: result))
        }
        return Thread(handle: handle)
    }

    private init(handle: pthread_t) {
        self.handle = handle
    }

    /// Waits for the thread's end. A thread that nobody joins goes on by itself.
    public consuming func join() {
        let handle = handle
        discard self
        pthread_join(handle, nil)
    }

    deinit {
        pthread_detach(handle)
    }

    private final class Task: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }

        func run() {
            _ = unsafe ce_thread_name(name)
            body()
        }
    }
}
