import Testing

@testable import Reactor

extension ReactorTests {
    @Suite struct SlabTests {
        /// An element that cannot be copied and counts its end.
        struct Counted: ~Copyable {
            final class Ends {
                var count = 0
            }

            let number: Int
            let ends: Ends

            deinit {
                ends.count += 1
            }
        }

        /// A late event carries the token of a slot's earlier tenant: it must not reach the new one.
        @Test func aReusedSlotHasAnotherToken() throws {
            var slab = Slab<Int>(capacity: 1)
            let inserted = slab.insert(1)
            let first = try #require(inserted)
            let removed = slab.remove(first)
            #expect(removed == 1)
            let reinserted = slab.insert(2)
            let second = try #require(reinserted)
            #expect(first.slot == second.slot)
            #expect(first != second)
            let isStale = !slab.contains(first)
            #expect(isStale)
            let removedAgain = slab.remove(first)
            #expect(removedAgain == nil)
            let (value, count) = (slab[second], slab.count)
            #expect(value == 2)
            #expect(count == 1)
        }

        @Test func aFullSlabTakesNothingAndKeepsWhatItHas() throws {
            var slab = Slab<Int>(capacity: 3)
            var tokens: [Token] = []
            for number in 0..<3 { if let token = slab.insert(number) { tokens.append(token) } }
            #expect(tokens.count == 3)
            let isFull = slab.isFull
            #expect(isFull)
            let refused = slab.insert(3)
            #expect(refused == nil)
            for (number, token) in tokens.enumerated() {
                let value = slab[token]
                #expect(value == number)
            }
        }

        /// Memory moves while it grows; elements that cannot be copied move along, each ends once.
        @Test func elementsSurviveGrowthAndEndOnce() throws {
            let ends = Counted.Ends()
            do {
                var slab = Slab<Counted>(capacity: 1000)
                var tokens: [Token] = []
                for number in 0..<1000 {
                    let token = slab.insert(Counted(number: number, ends: ends))
                    tokens.append(try #require(token))
                }
                for number in stride(from: 0, to: 1000, by: 2) { _ = slab.remove(tokens[number]) }
                #expect(ends.count == 500)
                for number in stride(from: 1, to: 1000, by: 2) {
                    let kept = slab[tokens[number]].number
                    #expect(kept == number)
                }
            }
            #expect(ends.count == 1000)
        }

        @Test func walksSeeLiveOnesOnly() throws {
            var slab = Slab<Int>(capacity: 10)
            var tokens: [Token] = []
            for number in 0..<6 { if let token = slab.insert(number) { tokens.append(token) } }
            _ = slab.remove(tokens[0])
            _ = slab.remove(tokens[3])
            var walked: [Int] = []
            slab.forEach { _, value in walked.append(value) }
            #expect(walked == [1, 2, 4, 5])
            var slot: UInt32 = 0
            var found: [Token] = []
            while let token = slab.first(from: slot) {
                found.append(token)
                slot = token.slot + 1
            }
            #expect(found == [tokens[1], tokens[2], tokens[4], tokens[5]])
        }

        @Test func anElementIsChangedInPlace() throws {
            var slab = Slab<[Int]>(capacity: 2)
            let inserted = slab.insert([])
            let token = try #require(inserted)
            slab[token].append(1)
            let count = slab.withElement(token) { element in
                element.append(2)
                return element.count
            }
            #expect(count == 2)
            let ofNobody = slab.withElement(Token(raw: 0)) { _ in 0 }
            #expect(ofNobody == nil)
            let element = slab[token]
            #expect(element == [1, 2])
        }

        @Test func aRingKeepsItsOrderOverManyRounds() {
            var ring = Ring<Int>()
            var put = 0
            var taken = 0
            for round in 0..<200 {
                for _ in 0..<(round % 7 + 1) {
                    ring.append(put)
                    put += 1
                }
                for _ in 0..<(round % 5 + 1) {
                    guard let element = ring.popFirst() else { break }
                    #expect(element == taken)
                    taken += 1
                }
            }
            while let element = ring.popFirst() {
                #expect(element == taken)
                taken += 1
            }
            #expect(taken == put)
        }
    }
}
