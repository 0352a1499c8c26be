import Glibc

/// A seeded generator that says its seed when asked; `ROUTERD_TEST_SEED` repeats a run.
package struct Chance: RandomNumberGenerator {
    package let seed: UInt64
    private var state: UInt64

    package init() {
        let given = unsafe getenv("ROUTERD_TEST_SEED").flatMap { unsafe UInt64(String(cString: $0)) }
        self.init(seed: given ?? .random(in: 0...(.max)))
    }

    package init(seed: UInt64) {
        self.seed = seed
        self.state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }

    /// The bytes in chunks of chance length, some of them empty.
    package mutating func chunks(of bytes: [UInt8], upTo longest: Int) -> [[UInt8]] {
        var chunks: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            chunks.append(Array(rest.prefix(Int.random(in: 0...longest, using: &self))))
            rest = rest.dropFirst(chunks[chunks.count - 1].count)
        }
        return chunks
    }

    /// The same bytes with a few flipped, cut out, doubled or put in.
    package mutating func mutation(of bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...8, using: &self) where !bytes.isEmpty {
            let place = Int.random(in: 0..<bytes.count, using: &self)
            switch Int.random(in: 0..<5, using: &self) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &self)
            case 1: bytes[place] = [0, 1, 3, 4, 0x7f, 0x80, 0xff].randomElement(using: &self) ?? 0
            case 2: bytes.removeSubrange(place..<min(place + 5, bytes.count))
            case 3: bytes.insert(contentsOf: bytes[place..<min(place + 9, bytes.count)], at: place)
            default: bytes.insert(.random(in: 0...255, using: &self), at: place)
            }
        }
        return bytes
    }

    /// True so many times in a hundred.
    package mutating func happens(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}
