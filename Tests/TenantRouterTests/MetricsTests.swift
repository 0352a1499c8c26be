import Testing

@testable import TenantRouter

@Suite struct MetricsTests {
    @Test func aHistogramCountsEachDurationOnce() {
        var histogram = DurationHistogram()
        let durations: [Duration] = [.zero, .microseconds(250), .microseconds(251), .milliseconds(30), .seconds(3600)]
        for duration in durations { histogram.record(duration) }
        #expect(histogram.count == 5 && histogram.sum == 3_600_030_501)
        #expect(histogram.counts[0] == 2 && histogram.counts[1] == 1 && histogram.counts.last == 1)
    }

    /// The buckets of the text add up: each holds all that is smaller too.
    @Test func andIsWrittenInSums() {
        var (histogram, page) = (DurationHistogram(), MetricsPage())
        for milliseconds in [1, 2, 3, 40, 90_000] { histogram.record(.milliseconds(milliseconds)) }
        page.histogram("x_seconds", "help", histogram)
        let lines = page.text.split(separator: "\n")
        let buckets = lines.filter { $0.hasPrefix("x_seconds_bucket") }.compactMap { line in
            line.split(separator: " ").last.flatMap { Int($0) }
        }
        #expect(buckets == buckets.sorted() && buckets.last == 5 && buckets.count == DurationHistogram.bounds.count + 1)
        #expect(lines.contains("x_seconds_count 5") && lines.contains(#"x_seconds_bucket{le="+Inf"} 5"#))
    }

    @Test func aNameCannotForgeALine() {
        var page = MetricsPage()
        page.sample("x", [("tenant", "a\"} 1\ny{b=\"\\")], 2)
        #expect(page.text == "x{tenant=\"a\\\"} 1\\ny{b=\\\"\\\\\"} 2\n")
    }

    /// Ten thousand tenants are not ten thousand series.
    @Test func theBusiestHaveSeriesOfTheirOwn() {
        let tenants = (0..<100).map { number in
            var status = DatabaseStatus(dbName: "t\(number)", state: "ready")
            (status.sessions, status.queueLength) = (number, number == 7 ? 1000 : 0)
            return status
        }
        let busiest = MetricsReport.busiest(tenants).map(\.dbName)
        #expect(busiest.count == 20 && busiest.prefix(3) == ["t7", "t99", "t98"])
    }

    @Test func onlyTheLatestAreKept() {
        var recent = Recent<Int>(keeping: 3)
        for number in 1...5 { recent.append(number) }
        #expect(recent.elements == [3, 4, 5] && recent.last == 5)
        #expect(Array(recent.since(4)) == [5] && recent.since(5).isEmpty && Array(recent.since(0)) == [3, 4, 5])
        // Whoever asks with a number of an earlier life of the router begins anew.
        #expect(Array(recent.since(99)) == [3, 4, 5])
    }

    @Test func jsonEscapesWhatAClientChose() {
        let json = JSON.object([
            ("a\"", .string("</script>\u{1}\u{2028}")), ("n", .number(.nan)), ("c", .count(UInt64.max)),
        ])
        #expect(json.text == #"{"a\"":"</script>\u0001\u2028","n":null,"c":9223372036854775807}"#)
    }
}
