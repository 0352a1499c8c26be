import Synchronization
import Testing

@testable import TenantRouter

@Suite struct EndingTests {
    @Test func everybodyWhoWaitsIsTold() {
        let ending = Ending()
        let told = Atomic(0)
        for _ in 0..<3 { ending.onEnd { told.add(1, ordering: .relaxed) } }
        #expect(told.load(ordering: .relaxed) == 0)
        ending.end {}
        #expect(told.load(ordering: .relaxed) == 0, "its sockets are still there")
        ending.tell()
        #expect(told.load(ordering: .relaxed) == 3)
        ending.tell()
        #expect(told.load(ordering: .relaxed) == 3)
    }

    @Test func whoComesLateIsToldAtOnce() {
        let ending = Ending()
        let told = Atomic(0)
        ending.end {}
        ending.tell()
        ending.onEnd { told.add(1, ordering: .relaxed) }
        #expect(told.load(ordering: .relaxed) == 1)
    }

    /// What was asked of a living router is answered by its last act; what is asked later is not asked at all.
    @Test func nothingIsAskedOfADeadRouter() {
        let ending = Ending()
        var (asked, answered) = (0, 0)
        #expect(ending.unlessEnded { asked += 1 } == true)
        ending.end { answered = asked }
        #expect(answered == 1)
        #expect(ending.unlessEnded { asked += 1 } == false)
        #expect(asked == 1)
    }
}
