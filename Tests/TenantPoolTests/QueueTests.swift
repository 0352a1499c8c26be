import TestSupport
import Testing

@testable import TenantPool

@Suite struct QueueTests {
    @Test func aQueueIsFirstInFirstOutWhoeverLeaves() {
        var chance = Chance()
        var queue = LinkedQueue<Int>()
        var model: [Int] = []
        for element in 0..<3_000 {
            switch Int.random(in: 0..<5, using: &chance) {
            case 0, 1, 2:
                queue.append(element)
                model.append(element)
            case 3:
                let popped = queue.popFirst()
                #expect(popped == (model.isEmpty ? nil : model.removeFirst()), "seed \(chance.seed)")
            default:
                let leaver = model.randomElement(using: &chance) ?? -1
                queue.remove(leaver)
                model.removeAll { $0 == leaver }
            }
            #expect(queue.first == model.first && queue.count == model.count, "seed \(chance.seed)")
        }
        while let element = queue.popFirst() { #expect(element == model.removeFirst()) }
        #expect(model.isEmpty && queue.isEmpty)
    }

    @Test func anAgendaKnowsTheEarliest() {
        var chance = Chance()
        var agenda = Agenda<Int>()
        var model: [Int: Duration] = [:]
        for _ in 0..<4_000 {
            let key = Int.random(in: 0..<60, using: &chance)
            let instant: Duration? =
                Int.random(in: 0..<3, using: &chance) == 0
                ? nil : .milliseconds(Int.random(in: 0..<500, using: &chance))
            agenda.set(key, at: instant)
            model[key] = instant
            let earliest = model.values.min()
            #expect(agenda.first?.instant == earliest, "seed \(chance.seed)")
            if let first = agenda.first { #expect(model[first.key] == earliest, "seed \(chance.seed)") }
        }
        for key in model.keys { agenda.set(key, at: nil) }
        #expect(agenda.first == nil)
    }

    @Test func pausesDoubleUpToTheirLimit() {
        var backoff = Backoff(minimum: .milliseconds(250), maximum: .seconds(15), seed: 7)
        for doublings in 0..<70 {
            let whole = doublings < 6 ? Duration.milliseconds(250 << doublings) : .seconds(15)
            let pause = backoff.pause(doublings: doublings)
            #expect(pause >= whole / 2 && pause <= whole, "\(doublings)")
        }
        var other = Backoff(minimum: .milliseconds(250), maximum: .seconds(15), seed: 8)
        var same = Backoff(minimum: .milliseconds(250), maximum: .seconds(15), seed: 8)
        let pauses = (0..<9).map { _ in other.pause(doublings: 9) }
        #expect(Set(pauses).count > 1)
        #expect(pauses == (0..<9).map { _ in same.pause(doublings: 9) })
    }
}
