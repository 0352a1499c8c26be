import Testing

@testable import Reactor

extension ReactorTests {
    @Suite struct DeadlineTests {
        /// One timer shared by all waiters was cleared by the first of them: here each has its own.
        @Test(arguments: Engines.available) func eachExpiresAtItsTimeInOrder(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let start = rig.reactor.now
            let times: [(UInt64, Int)] = [(3, 30), (1, 10), (2, 20), (4, 30)]
            for (owner, milliseconds) in times {
                _ = rig.reactor.deadline(at: start + .milliseconds(milliseconds), owner: owner)
            }
            try run(rig, count: 4)
            #expect(rig.diary.map(\.owner) == [1, 2, 3, 4])
            #expect(rig.reactor.now >= start + .milliseconds(30))
        }

        @Test(arguments: Engines.available) func aCancelledOneIsNeverTold(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let cancelled = rig.reactor.deadline(at: rig.reactor.now + .milliseconds(5), owner: 1)
            _ = rig.reactor.deadline(at: rig.reactor.now + .milliseconds(10), owner: 2)
            rig.reactor.cancel(deadline: cancelled)
            rig.reactor.cancel(deadline: cancelled)
            try run(rig, count: 1)
            #expect(rig.diary.map(\.owner) == [2])
        }

        /// Two expire in one tick and the first one's owner takes the second back: it must not come any more.
        @Test(arguments: Engines.available) func oneThatHasComeCanStillBeTakenBack(_ engine: EngineKind) throws {
            var reactor = try Reactor(engine: engine)
            _ = reactor.deadline(at: .zero, owner: 1)
            let second = reactor.deadline(at: .zero, owner: 2)
            reactor.wait()
            var owner = reactor.nextOwner()
            #expect(owner == 1)
            reactor.cancel(deadline: second)
            owner = reactor.nextOwner()
            #expect(owner == nil)
        }

        /// An owner who sets a deadline in the past at every expiry must not hold the reactor in one tick.
        @Test(arguments: Engines.available) func oneSetInThePastWaitsForTheNextTick(_ engine: EngineKind) throws {
            var reactor = try Reactor(engine: engine)
            _ = reactor.deadline(at: .zero, owner: 1)
            for _ in 0..<3 {
                reactor.wait()
                var owner = reactor.nextOwner()
                #expect(owner == 1)
                _ = reactor.deadline(at: .zero, owner: 1)
                owner = reactor.nextOwner()
                #expect(owner == nil)
            }
        }

        /// The heap against a sorted array: many deadlines, many taken back, from a seed.
        @Test(arguments: Seeds.some(5)) func theHeapAgreesWithASortedArray(_ seed: UInt64) throws {
            var random = SeededGenerator(state: seed)
            var deadlines = Deadlines(capacity: 10_000)
            var model: [(time: Int64, order: Int, token: Token)] = []
            var now: Int64 = 0
            for step in 0..<5000 {
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<5:
                    let time = now + Int64.random(in: 0..<1000, using: &random)
                    let token = deadlines.add(at: time, purpose: .caller(owner: 0))
                    model.append((time, step, token))
                case 5..<8:
                    guard let index = model.indices.randomElement(using: &random) else { continue }
                    deadlines.cancel(model.remove(at: index).token)
                default:
                    now += Int64.random(in: 0..<100, using: &random)
                    deadlines.beginTick()
                    model.sort { ($0.time, $0.order) < ($1.time, $1.order) }
                    while let expired = deadlines.popExpired(now: now) {
                        let due = try #require(model.first, "seed \(seed)")
                        #expect(expired.token == due.token && due.time <= now, "seed \(seed)")
                        model.removeFirst()
                    }
                    #expect(model.allSatisfy { $0.time > now }, "seed \(seed)")
                }
                let count = deadlines.count
                #expect(count == model.count)
            }
        }

        @Test func aDurationBecomesNanosecondsThatAreNeverEarly() {
            #expect(Duration.nanoseconds(1).nanosecondsRoundedUp == 1)
            #expect(Duration(secondsComponent: 0, attosecondsComponent: 1).nanosecondsRoundedUp == 1)
            #expect(Duration.seconds(3).nanosecondsRoundedUp == 3_000_000_000)
            #expect(Duration.seconds(Int64.max).nanosecondsRoundedUp == .max)
        }

        private func run(_ rig: Rig, count: Int) throws {
            try rig.run { $0.diary.count == count }
        }
    }
}
