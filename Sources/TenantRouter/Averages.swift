import TenantPool

/// What has passed within one period, again and again: what PgBouncer calls averages.
struct Averages {
    /// What had passed when a period last ended.
    private var before = Capture()
    private var beganAt = Duration.zero
    /// What passed in the period that ended last.
    private(set) var databases: [TenantName: Traffic] = [:]
    private(set) var total = Traffic()
    /// How long that took; zero before the first has ended.
    private(set) var length = Duration.zero

    /// What has passed since the router started.
    struct Capture {
        var total = Traffic()
        var databases: [TenantName: Traffic] = [:]
    }

    func isDue(now: Duration) -> Bool { now - beganAt >= Limits.averagePeriod }

    /// The present period ends, and the next begins.
    mutating func periodEnded(_ capture: Capture, now: Duration) {
        total = capture.total - before.total
        databases = capture.databases.reduce(into: [:]) { passed, entry in
            // A tenant that was dropped and made again is counted from zero.
            let earlier = before.databases[entry.key].flatMap { entry.value.mayFollow($0) ? $0 : nil }
            passed[entry.key] = entry.value - (earlier ?? Traffic())
        }
        (length, beganAt, before) = (now - beganAt, now, capture)
    }
}

extension Router {
    /// Looks at the clock once in a while.
    mutating func keepAverages() {
        guard averages.isDue(now: reactor.now) else { return }
        ask(.traffic(.all)) { router, view in
            let (traffic, now) = (view.traffic, router.reactor.now)
            router.averages.periodEnded(.init(total: traffic.total, databases: traffic.databases), now: now)
        }
    }
}
