import TenantPool
import Testing

@testable import TenantRouter

@Suite("Instances that go down when the router stops")
struct StopQueueTests {
    private func id(_ number: UInt64) -> InstanceID { InstanceID(number) }

    @Test("so many at once as are allowed; each that is gone lets another begin, until none waits")
    func order() {
        var queue = StopQueue(limit: 2)
        var begun: [InstanceID] = []
        for number in 1...5 where queue.enter(id(UInt64(number))) { begun.append(id(UInt64(number))) }
        #expect(begun == [id(1), id(2)])
        var gone = 0
        while gone < begun.count {
            if let next = queue.left(begun[gone]) { begun.append(next) }
            gone += 1
            #expect(begun.count - gone <= 2)
        }
        #expect(Set(begun) == Set((1...5).map { id($0) }) && begun.count == 5)
    }

    @Test("one that dies while it waits makes no place, and is not named again")
    func dyingInTheQueue() {
        var queue = StopQueue(limit: 1)
        expect(queue.enter(id(1)), true)
        expect(queue.enter(id(2)), false)
        expect(queue.enter(id(3)), false)
        expect(queue.left(id(3)), nil)
        expect(queue.left(id(1)), id(2))
        expect(queue.left(id(2)), nil)
        // Its place is free.
        expect(queue.enter(id(4)), true)
    }

    @Test("in a hurry nobody waits")
    func hurry() {
        var queue = StopQueue(limit: 1)
        expect(queue.enter(id(1)), true)
        expect(queue.enter(id(2)), false)
        queue.hurry()
        expect(queue.left(id(1)), nil)
        expect(queue.left(id(2)), nil)
    }

    /// The macro cannot call what mutates.
    private func expect<Value: Equatable>(
        _ value: Value, _ expected: Value, at location: SourceLocation = #_sourceLocation
    ) {
        #expect(value == expected, sourceLocation: location)
    }
}
