/// Pauses between starts that keep failing: doubled each time, half of each by chance, so that tenants which failed
/// together do not come back together.
struct Backoff: Sendable {
    private let minimum: Duration
    private let maximum: Duration
    private var chance: SplitMix64

    init(minimum: Duration, maximum: Duration, seed: UInt64) {
        self.minimum = minimum
        self.maximum = maximum
        self.chance = SplitMix64(state: seed)
    }

    /// The pause after as many pauses as `doublings` in a row.
    mutating func pause(doublings: Int) -> Duration {
        // Beyond 2¹⁶ times any minimum the maximum has long been reached.
        let whole = min(maximum, minimum * (1 << min(doublings, 16)))
        return whole / 2 + whole * Double.random(in: 0...0.5, using: &chance)
    }
}

/// Sebastiano Vigna's splitmix64: small, seedable, good enough to spread retries.
struct SplitMix64: RandomNumberGenerator, Sendable {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }
}
