import Histogram

/// How long something took, each time: an HdrHistogram of nanoseconds, three digits exact.
struct Latencies {
    private var histogram = Histogram<UInt64>(numberOfSignificantValueDigits: .three)

    init() {}

    init(_ durations: [Duration]) {
        for duration in durations { record(duration) }
    }

    mutating func record(_ duration: Duration) {
        histogram.record(UInt64(max(1, duration / .nanoseconds(1))))
    }

    mutating func add(_ other: Latencies) {
        histogram.add(other.histogram)
    }

    /// What they come down to, in milliseconds.
    struct Summary: Codable {
        let count: Int
        let least: Double
        let median: Double
        let p90: Double
        let p99: Double
        let p999: Double
        let greatest: Double
    }

    var summary: Summary {
        func milliseconds(_ percentile: Double) -> Double {
            Double(histogram.valueAtPercentile(percentile)) / 1e6
        }
        return Summary(
            count: Int(histogram.totalCount), least: Double(histogram.min) / 1e6, median: milliseconds(50),
            p90: milliseconds(90), p99: milliseconds(99), p999: milliseconds(99.9),
            greatest: Double(histogram.max) / 1e6)
    }

    /// Points of the distribution, from half of the samples up to the share that leaves one of them out.
    var curve: [Point] {
        histogram.percentiles(ticksPerHalfDistance: 4).filter { $0.percentile >= 50 && $0.percentile < 100 }
            .map { Point(percentile: $0.percentile, milliseconds: Double($0.value) / 1e6) }
    }

    struct Point: Codable {
        let percentile: Double
        let milliseconds: Double
    }
}

/// The time `work` takes, beside what it returns.
func timed<Value>(_ work: () throws(Failure) -> Value) throws(Failure) -> (value: Value, time: Duration) {
    let start = ContinuousClock.now
    let value = try work()
    return (value, ContinuousClock.now - start)
}

extension Duration {
    var milliseconds: Double { self / .milliseconds(1) }
}
