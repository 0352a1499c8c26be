import Glibc

/// A seeded generator that says its seed when asked; `ROUTERD_TEST_SEED` repeats a run.
struct Chance: RandomNumberGenerator {
    let seed: UInt64
    private var state: UInt64

    init() {
        let given = unsafe getenv("ROUTERD_TEST_SEED").flatMap { unsafe UInt64(String(cString: $0)) }
        self.init(seed: given ?? .random(in: 0...(.max)))
    }

    init(seed: UInt64) {
        self.seed = seed
        self.state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }
}
