import Glibc

/// Time since the reactor was made, `CLOCK_MONOTONIC`: never set back, not counted while the machine sleeps.
struct MonotonicClock: BitwiseCopyable {
    private let start: Int64

    init() {
        start = Self.read()
    }

    /// Nanoseconds since the start.
    var elapsed: Int64 { Self.read() - start }

    private static func read() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

extension Duration {
    /// Whole nanoseconds rounded up, so that nothing expires early; what does not fit (292 years) is for ever.
    var nanosecondsRoundedUp: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (whole, fraction) = attoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        let (sum, carry) = product.addingReportingOverflow(whole + (fraction > 0 ? 1 : 0))
        if carry { return seconds < 0 ? .min : .max }
        return sum
    }
}
