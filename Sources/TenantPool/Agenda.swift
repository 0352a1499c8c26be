/// One instant for each key, the earliest first: a binary heap that knows where each key stands, so that an instant can
/// be moved or given up in logarithmic time and none is ever stale.
struct Agenda<Key: Hashable & Sendable>: Sendable {
    struct Entry: Sendable {
        let key: Key
        let instant: Duration
    }

    /// No entry is earlier than its parent at `(index − 1) / 2`.
    private var heap: [Entry] = []
    private var places: [Key: Int] = [:]

    var first: Entry? { heap.first }

    /// Sets or moves the key's instant; nil gives it up.
    mutating func set(_ key: Key, at instant: Duration?) {
        switch (places[key], instant) {
        case (nil, nil): break
        case (nil, let instant?): insert(Entry(key: key, instant: instant))
        case (let place?, nil): remove(at: place)
        case (let place?, let instant?):
            guard heap[place].instant != instant else { return }
            remove(at: place)
            insert(Entry(key: key, instant: instant))
        }
    }

    private mutating func insert(_ entry: Entry) {
        heap.append(entry)
        rise(entry, from: heap.count - 1)
    }

    private mutating func remove(at place: Int) {
        places[heap[place].key] = nil
        let moved = heap.removeLast()
        guard place < heap.count else { return }
        if place > 0, moved.instant < heap[(place - 1) / 2].instant {
            rise(moved, from: place)
        } else {
            sink(moved, from: place)
        }
    }

    private mutating func rise(_ entry: Entry, from start: Int) {
        var place = start
        while place > 0 {
            let parent = (place - 1) / 2
            guard entry.instant < heap[parent].instant else { break }
            put(heap[parent], at: place)
            place = parent
        }
        put(entry, at: place)
    }

    private mutating func sink(_ entry: Entry, from start: Int) {
        var place = start
        while true {
            var child = 2 * place + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1].instant < heap[child].instant { child += 1 }
            guard heap[child].instant < entry.instant else { break }
            put(heap[child], at: place)
            place = child
        }
        put(entry, at: place)
    }

    private mutating func put(_ entry: Entry, at place: Int) {
        heap[place] = entry
        places[entry.key] = place
    }
}
