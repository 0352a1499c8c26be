import Glibc
import TestSupport
import Testing

@testable import TenantPool

@Suite struct SimulationTests {
    /// Eviction, wake, claim, drop, crashes, failing starts, leaving and coming clients never race: all are events of
    /// one machine.
    @Test func whateverHappensTheBooksAgree() {
        let given = Chance().seed
        print("TenantPool: seed \(given)")
        var counts: [String: Int] = [:]
        let runs = unsafe getenv("ROUTERD_SOAK") == nil ? 100 : 1_500
        for run in 0..<runs {
            var world = World(seed: given &+ UInt64(run))
            world.run(steps: 400)
            #expect(world.complaints.isEmpty, "seed \(given &+ UInt64(run))")
            counts.merge(world.counts, uniquingKeysWith: +)
        }
        // A simulation that never meets a case proves nothing of it.
        for kind in [
            "grant", "prepare", "create", "claim", "prepareSpare", "boot", "ask", "stop", "remove", "terminate",
            "a ready spare given up", "a spare withdrawn", "an outdated spare withdrawn", "an answer too late",
            "a claim cut short", "a drop while shutting down", "more instances than may be", "fewer connections",
            "refuse doesNotExist",
            "refuse queueFull",
            "refuse shuttingDown", "refuse timeout:instances", "refuse timeout:connections", "refuse timeout:starts",
            "refuse timeout:startup", "refuse failed:preparation", "refuse failed:unusable", "refuse failed:exit",
            "refuse failed:timeout",
        ] {
            #expect((counts[kind] ?? 0) > 0, "\(kind): \(counts)")
        }
    }
}
