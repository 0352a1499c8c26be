import Synchronization
import TenantPool
import Testing
import WireProtocol

@testable import TenantRouter

@Suite struct LedgerTests {
    private static let left = Session(number: 1)

    @Test func clientsGoToTheLaneWithTheFewest() throws {
        let ledger = Ledger(lanes: 3, maxClients: 100)
        #expect((0..<6).compactMap { _ in ledger.enter()?.lane } == [0, 1, 2, 0, 1, 2])
        ledger.left(Self.left, lane: 1)
        let place = try #require(ledger.enter())
        #expect(place.lane == 1 && place.number == 7, "numbers are never used again")
        #expect(ledger.counts.sessions == 6 && ledger.counts.sessionsEver == 7)
    }

    @Test func pastTheLastPlaceNobodyEnters() {
        let ledger = Ledger(lanes: 2, maxClients: 1)
        for taken in 0..<ledger.capacity {
            #expect((ledger.crowdedLane == nil) == (taken < ledger.capacity - Limits.placesKeptFree))
            #expect(ledger.enter() != nil)
        }
        #expect(ledger.enter() == nil)
        #expect(ledger.crowdedLane == 0)
        ledger.left(Self.left, lane: 0)
        #expect(ledger.crowdedLane == 1, "the one with more")
        #expect(ledger.enter() != nil)
    }

    /// Each thread for itself would let one too many in.
    @Test func theLimitOfClientsIsExactAmongThreads() async {
        let ledger = Ledger(lanes: 4, maxClients: 100)
        let admitted = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 { group.addTask { (0..<50).count { _ in ledger.admit() == nil } } }
            return await group.reduce(0, +)
        }
        #expect(admitted == 100)
        #expect(ledger.admit() == 100, "the limit, for the message")
        ledger.left(Situation.relaying.session, lane: 0)
        #expect(ledger.admit() == nil)
    }

    @Test func theConsolesPlacesAreCountedByEntrance() {
        let ledger = Ledger(lanes: 2, maxClients: 1)
        for _ in 0..<Limits.consoles { #expect(ledger.admitConsole(by: .clients)) }
        #expect(!ledger.admitConsole(by: .clients))
        #expect(ledger.admitConsole(by: .control), "whoever looks takes no place from whoever steers")
        ledger.left(Situation.console.session, lane: 1)
        #expect(ledger.admitConsole(by: .clients))
        #expect(ledger.counts.consolesEver == UInt64(Limits.consoles) + 2)
    }

    @Test func aSessionsKeyGoesWithIt() {
        let ledger = Ledger(lanes: 1, maxClients: 1)
        let key = ledger.issue(for: Says.backendKey, of: InstanceID(3), session: 1)
        #expect(ledger.target(of: key)?.key == Says.backendKey)
        #expect(ledger.backend(ofSession: 1) == Says.backendKey.processID)
        ledger.left(Self.left, lane: 0)
        #expect(ledger.target(of: key) == nil && ledger.backend(ofSession: 1) == nil)
    }

    @Test func newsIsToldOnce() throws {
        let (ann, bob) = (try TenantName("ann"), try TenantName("bob"))
        let ledger = Ledger(lanes: 2, maxClients: 1)
        ledger.announce(ann)
        ledger.announce(bob)
        #expect(ledger.takeNews(of: ann) && !ledger.takeNews(of: ann))
        ledger.forgetNews { $0 == bob }
        #expect(!ledger.takeNews(of: bob))
    }
}
