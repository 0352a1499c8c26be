import Foundation
import Synchronization

/// Runs `work` `count` times at once, in a thread each, and waits for all of them; `meanwhile` runs in this one.
///
/// - Returns: what each brought, in the order of their numbers.
func concurrently<Value: Sendable>(
    _ count: Int, _ work: @Sendable @escaping (Int) throws(Failure) -> Value,
    meanwhile: () -> Void = {}
) -> [Result<Value, Failure>] {
    let outcomes = Outcomes<Value>(count)
    for index in 0..<count {
        let thread = Thread {
            do throws(Failure) {
                outcomes.note(.success(try work(index)), of: index)
            } catch {
                outcomes.note(.failure(error), of: index)
            }
        }
        // A hundred of them are to start quickly.
        thread.stackSize = 256 << 10
        thread.start()
    }
    meanwhile()
    return outcomes.wait()
}

/// What threads bring home.
private final class Outcomes<Value: Sendable>: Sendable {
    private let slots: Mutex<[Result<Value, Failure>?]>
    private let left: DispatchGroup

    init(_ count: Int) {
        slots = Mutex(.init(repeating: nil, count: count))
        left = DispatchGroup()
        for _ in 0..<count { left.enter() }
    }

    func note(_ outcome: Result<Value, Failure>, of index: Int) {
        slots.withLock { $0[index] = outcome }
        left.leave()
    }

    func wait() -> [Result<Value, Failure>] {
        left.wait()
        return slots.withLock { $0.compactMap(\.self) }
    }
}
