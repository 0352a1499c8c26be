import Glibc
import Reactor
import TenantPool
import TestSupport
import Testing
import WireProtocol

@testable import TenantRouter

/// Sessions that meet whatever can happen to them in whatever order, without a kernel.
@Suite struct SessionFuzzTests {
    /// A lease is returned exactly once, both descriptors close, the session is reaped, nothing is paused for ever, bytes
    /// arrive in order and whole, and the router speaks between two messages only.
    @Test func whateverHappensASessionEndsAndItsBooksAgree() {
        let given = Chance().seed
        print("TenantRouter: seed \(given)")
        var counts: [String: Int] = [:]
        let clock = ContinuousClock()
        let end = clock.now + .seconds(unsafe getenv("ROUTERD_SOAK") == nil ? 6 : 60)
        var seed = given
        while clock.now < end {
            var world = SessionWorld(seed: seed)
            world.run()
            guard world.complaints.isEmpty else {
                Issue.record("ROUTERD_TEST_SEED=\(seed): \(world.story)")
                return
            }
            counts.merge(world.counts, uniquingKeysWith: +)
            seed &+= 1
        }
        print("TenantRouter: \(seed &- given) sessions, \(counts.sorted { $0.key < $1.key })")
        // A fuzzer that never meets a case proves nothing of it; a machine that is busy elsewhere gets too few to say.
        guard seed &- given >= 1000 else { return }
        for kind in Self.mustHappen { #expect((counts[kind] ?? 0) > 0, "\(kind): \(counts)") }
    }

    private static let mustHappen = [
        "abandon", "admit", "backend violation", "cancel", "close", "closeBackend", "closeCancel", "declineEncryption",
        "explainWait", "explained", "forwardNews", "keepBackend", "finishBackend", "finishTerminated", "flush",
        "forward", "forwardAndPause",
        "giveUp", "issueKey", "keepFlushing",
        "leaveQueue", "linger", "open", "own error", "pause", "readBackend", "readFrontend", "reconnect", "refuse",
        "reject", "requeue", "returnLease", "roleFailed", "settleRole", "stopReading", "terminate",
    ]
}
