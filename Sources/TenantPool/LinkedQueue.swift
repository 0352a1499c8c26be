/// First in, first out, and out of the middle at once: thousands of waiters may leave in any order.
///
/// Elements are unique. Each operation takes constant time.
struct LinkedQueue<Element: Hashable & Sendable>: Sendable {
    private struct Neighbours {
        var previous: Element?
        var next: Element?
    }

    private var neighbours: [Element: Neighbours] = [:]
    private(set) var first: Element?
    private var last: Element?

    var count: Int { neighbours.count }
    var isEmpty: Bool { neighbours.isEmpty }

    mutating func append(_ element: Element) {
        precondition(neighbours[element] == nil, "queued twice")
        neighbours[element] = Neighbours(previous: last, next: nil)
        if let last { neighbours[last]?.next = element } else { first = element }
        last = element
    }

    /// Ignored for an element that is not in the queue.
    mutating func remove(_ element: Element) {
        guard let removed = neighbours.removeValue(forKey: element) else { return }
        if let previous = removed.previous { neighbours[previous]?.next = removed.next } else { first = removed.next }
        if let next = removed.next { neighbours[next]?.previous = removed.previous } else { last = removed.previous }
    }

    mutating func popFirst() -> Element? {
        guard let element = first else { return nil }
        remove(element)
        return element
    }
}
