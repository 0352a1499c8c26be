/// Storage for a bounded number of elements that are reached by token, also elements that cannot be copied.
///
///     slot         0       1       2       3       4 … capacity
///     generation   5       2       1       8       –
///     element      A       free    B       free    not allocated yet
///
/// A generation is odd while its slot is taken and goes up by one at every insertion and removal, so a stale token
/// matches nothing. Memory grows by doubling up to the capacity and stays: a slab is as large as its busiest moment.
/// The slot that was freed last is taken first, because it is still in the processor's cache.
@safe
public struct Slab<Element: ~Copyable>: ~Copyable {
    @usableFromInline
    struct Header: BitwiseCopyable {
        @usableFromInline var generation: UInt32
        /// The next free slot while this one is free.
        @usableFromInline var next: UInt32

        @inlinable
        init(generation: UInt32, next: UInt32) {
            self.generation = generation
            self.next = next
        }
    }

    /// The largest number of elements at one time.
    public let capacity: Int
    @usableFromInline var live = 0
    /// Slots that memory exists for.
    @usableFromInline var allocated = 0
    /// Slots that were ever taken; those above have no header yet.
    @usableFromInline var touched = 0
    @usableFromInline var freeSlot = UInt32.max
    @usableFromInline var headers: UnsafeMutablePointer<Header>
    @usableFromInline var elements: UnsafeMutablePointer<Element>

    /// An empty slab.
    ///
    /// - Parameter capacity: the largest number of elements, 1 … 2³¹.
    @inlinable
    public init(capacity: Int) {
        precondition(capacity > 0 && capacity <= Int(Int32.max), "a slab holds 1 … 2³¹ elements")
        self.capacity = capacity
        unsafe headers = .allocate(capacity: 0)
        unsafe elements = .allocate(capacity: 0)
    }

    @inlinable
    deinit {
        for slot in 0..<touched where unsafe headers[slot].generation & 1 == 1 {
            unsafe (elements + slot).deinitialize(count: 1)
        }
        unsafe headers.deallocate()
        unsafe elements.deallocate()
    }

    /// The number of elements at this moment.
    @inlinable
    public var count: Int { live }

    /// How many elements there is memory for now.
    @inlinable
    public var allocatedCount: Int { allocated }

    /// Whether the next insertion finds no slot.
    @inlinable
    public var isFull: Bool { live == capacity }

    /// Takes an element in.
    ///
    /// - Returns: its token, or nil when the slab is full; the element is gone then, so ask `isFull` first where it
    ///   matters.
    @inlinable
    public mutating func insert(_ element: consuming Element) -> Token? {
        guard let slot = takeSlot() else { return nil }
        unsafe (elements + slot).initialize(to: element)
        unsafe headers[slot].generation &+= 1
        live += 1
        return unsafe Token(slot: UInt32(slot), generation: headers[slot].generation)
    }

    /// Gives an element back to the caller and ends its token.
    ///
    /// - Returns: the element, or nil when the token is stale.
    @inlinable
    public mutating func remove(_ token: Token) -> Element? {
        guard contains(token) else { return nil }
        let slot = Int(token.slot)
        unsafe headers[slot].generation &+= 1
        unsafe headers[slot].next = freeSlot
        freeSlot = token.slot
        live -= 1
        return unsafe (elements + slot).move()
    }

    /// Whether the element of this token is still there.
    @inlinable
    public func contains(_ token: Token) -> Bool {
        guard Int(token.slot) < touched, token.generation & 1 == 1 else { return false }
        return unsafe headers[Int(token.slot)].generation == token.generation
    }

    /// The element of a live token, in place. A stale token traps: ask `contains` where one may come.
    @inlinable
    public subscript(token: Token) -> Element {
        _read {
            precondition(contains(token), "a stale token")
            yield unsafe elements[Int(token.slot)]
        }
        _modify {
            precondition(contains(token), "a stale token")
            yield unsafe &elements[Int(token.slot)]
        }
    }

    /// Calls the body with the element in place, or returns nil when the token is stale.
    @inlinable
    public mutating func withElement<Result: ~Copyable, Failure: Error>(
        _ token: Token, _ body: (inout Element) throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        guard contains(token) else { return nil }
        return try unsafe body(&elements[Int(token.slot)])
    }

    /// Calls the body with every element in the order of the slots. The slab does not change meanwhile.
    @inlinable
    public func forEach(_ body: (Token, borrowing Element) -> Void) {
        for slot in 0..<touched where unsafe headers[slot].generation & 1 == 1 {
            unsafe body(Token(slot: UInt32(slot), generation: headers[slot].generation), elements[slot])
        }
    }

    /// The live token of a slot; nil where the slot is free.
    @inlinable
    public func token(at slot: UInt32) -> Token? {
        guard Int(slot) < touched else { return nil }
        let generation = unsafe headers[Int(slot)].generation
        return generation & 1 == 1 ? Token(slot: slot, generation: generation) : nil
    }

    /// The first live token at or after a slot: `while let token = slab.first(from: slot) { slot = token.slot + 1 … }`
    /// walks the slab while it changes.
    @inlinable
    public func first(from slot: UInt32) -> Token? {
        var slot = Int(slot)
        while slot < touched {
            let generation = unsafe headers[slot].generation
            if generation & 1 == 1 { return Token(slot: UInt32(slot), generation: generation) }
            slot += 1
        }
        return nil
    }

    @inlinable
    mutating func takeSlot() -> Int? {
        if freeSlot != .max {
            let slot = Int(freeSlot)
            freeSlot = unsafe headers[slot].next
            return slot
        }
        guard touched < capacity else { return nil }
        if touched == allocated { grow() }
        unsafe (headers + touched).initialize(to: Header(generation: 0, next: .max))
        touched += 1
        return touched - 1
    }

    @inlinable
    mutating func grow() {
        let larger = min(capacity, max(16, allocated * 2))
        let movedHeaders = UnsafeMutablePointer<Header>.allocate(capacity: larger)
        let movedElements = UnsafeMutablePointer<Element>.allocate(capacity: larger)
        unsafe movedHeaders.moveInitialize(from: headers, count: touched)
        for slot in 0..<touched where unsafe movedHeaders[slot].generation & 1 == 1 {
            unsafe (movedElements + slot).moveInitialize(from: elements + slot, count: 1)
        }
        unsafe headers.deallocate()
        unsafe elements.deallocate()
        unsafe headers = movedHeaders
        unsafe elements = movedElements
        allocated = larger
    }
}
