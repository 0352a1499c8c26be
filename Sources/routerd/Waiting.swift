import Dispatch
import Synchronization

/// The main thread waits here for asynchronous work.
///
/// It is not left to Swift's own asynchronous `main`, because that parks the main thread with every signal unblocked
/// (`dispatch_main` on Linux), and SIGTERM would end the process there instead of reaching the router.
enum Waiting {
    /// Runs the work to its end and gives its outcome.
    static func wait<Value: Sendable>(for work: @escaping @Sendable () async throws -> Value) throws -> Value {
        let outcome = Outcome<Value>()
        // Above medium the runtime asks for a better priority than an ordinary user may have, and logs that it got none.
        Task(priority: .medium) {
            do {
                outcome.settle(.success(try await work()))
            } catch {
                outcome.settle(.failure(error))
            }
        }
        return try outcome.wait().get()
    }

    private final class Outcome<Value: Sendable>: Sendable {
        private let result = Mutex<Result<Value, any Error>?>(nil)
        private let isSettled = DispatchSemaphore(value: 0)

        func settle(_ value: Result<Value, any Error>) {
            result.withLock { $0 = value }
            isSettled.signal()
        }

        func wait() -> Result<Value, any Error> {
            isSettled.wait()
            return result.withLock { result in
                guard let result else { preconditionFailure("settled without a result") }
                return result
            }
        }
    }
}
