/// A queue that grows to its busiest moment and then allocates no more.
@safe
struct Ring<Element: BitwiseCopyable>: ~Copyable {
    private var elements: UnsafeMutablePointer<Element>
    /// A power of two, or 0 before the first element.
    private var capacity = 0
    private var head = 0
    private(set) var count = 0

    init() {
        unsafe elements = .allocate(capacity: 0)
    }

    deinit {
        unsafe elements.deallocate()
    }

    /// Whether nothing waits.
    var isEmpty: Bool { count == 0 }

    /// Queues an element.
    mutating func append(_ element: Element) {
        if count == capacity { grow() }
        unsafe (elements + ((head + count) & (capacity - 1))).initialize(to: element)
        count += 1
    }

    /// The element that waited longest.
    mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = unsafe elements[head]
        head = (head + 1) & (capacity - 1)
        count -= 1
        return element
    }

    private mutating func grow() {
        let larger = max(16, capacity * 2)
        let moved = UnsafeMutablePointer<Element>.allocate(capacity: larger)
        for index in 0..<count {
            unsafe (moved + index).initialize(to: elements[(head + index) & (capacity - 1)])
        }
        unsafe elements.deallocate()
        unsafe elements = moved
        capacity = larger
        head = 0
    }
}
