import Synchronization
import TenantPool
import Testing
import WireProtocol

@testable import TenantRouter

@Suite struct CommonsTests {
    private static let left = Session(number: 1)

    @Test func clientsGoToTheLaneWithTheFewest() throws {
        let commons = Commons(lanes: 3, maxClients: 100)
        #expect((0..<6).compactMap { _ in commons.enter()?.lane } == [0, 1, 2, 0, 1, 2])
        commons.left(Self.left, lane: 1)
        let place = try #require(commons.enter())
        #expect(place.lane == 1 && place.number == 7, "numbers are never used again")
        #expect(commons.counts.sessions == 6 && commons.counts.sessionsEver == 7)
    }

    @Test func pastTheLastPlaceNobodyEnters() {
        let commons = Commons(lanes: 2, maxClients: 1)
        for taken in 0..<commons.capacity {
            #expect((commons.crowdedLane == nil) == (taken < commons.capacity - Limits.placesKeptFree))
            #expect(commons.enter() != nil)
        }
        #expect(commons.enter() == nil)
        #expect(commons.crowdedLane == 0)
        for _ in 0..<2 { commons.left(Self.left, lane: 0) }
        #expect(commons.crowdedLane == 1, "the one with more")
        #expect(commons.enter() != nil)
    }

    /// Each thread for itself would let one too many in.
    @Test func theLimitOfClientsIsExactAmongThreads() async {
        let commons = Commons(lanes: 4, maxClients: 100)
        let admitted = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 { group.addTask { (0..<50).count { _ in commons.admit() == nil } } }
            return await group.reduce(0, +)
        }
        #expect(admitted == 100)
        #expect(commons.admit() == 100, "the limit, for the message")
        commons.left(Situation.relaying.session, lane: 0)
        #expect(commons.admit() == nil)
    }

    @Test func theConsolesPlacesAreCountedByEntrance() {
        let commons = Commons(lanes: 2, maxClients: 1)
        for _ in 0..<Limits.consoles { #expect(commons.admitConsole(by: .clients)) }
        #expect(!commons.admitConsole(by: .clients))
        #expect(commons.admitConsole(by: .control), "whoever looks takes no place from whoever steers")
        commons.left(Situation.console.session, lane: 1)
        #expect(commons.admitConsole(by: .clients))
        #expect(commons.counts.clientsEver == 0, "none of them wanted a tenant")
    }

    @Test func clientsAreCountedOnceTheyAreKnown() {
        let commons = Commons(lanes: 1, maxClients: 8)
        _ = commons.enter()
        #expect(commons.counts.clientsEver == 0, "it may turn out to be the console's")
        _ = commons.admit()
        commons.left(Situation.relaying.session, lane: 0)
        #expect(commons.counts.clientsEver == 1, "not twice")
        _ = commons.enter()
        commons.left(Situation.awaitingStartup.session, lane: 0)
        #expect(commons.counts.clientsEver == 2)
    }

    @Test func aSessionsKeyGoesWithIt() {
        let commons = Commons(lanes: 1, maxClients: 1)
        let key = commons.issue(for: Says.backendKey, of: InstanceID(3), session: 1)
        #expect(commons.use(key)?.key == Says.backendKey)
        #expect(commons.backend(ofSession: 1) == Says.backendKey.processID)
        commons.left(Self.left, lane: 0)
        #expect(commons.use(key) == nil && commons.backend(ofSession: 1) == nil)
    }

    @Test func newsIsToldOnce() throws {
        let (ann, bob) = (try TenantName("ann"), try TenantName("bob"))
        let commons = Commons(lanes: 2, maxClients: 1)
        commons.announce(ann)
        commons.announce(bob)
        #expect(commons.takeNews(of: ann) && !commons.takeNews(of: ann))
        commons.forgetNews { $0 == bob }
        #expect(!commons.takeNews(of: bob))
    }
}
