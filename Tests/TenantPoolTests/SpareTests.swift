import Testing

@testable import TenantPool

/// Every phase that spare 1, the only one that is wanted, can be in, as the table's columns.
private enum Column: String, CaseIterable, Codable {
    /// It is cloned.
    case preparing
    /// As `preparing`; instance 2 serves `b`, and client 9 waits for the spare's slot.
    case wanted
    /// As `preparing`, with settings that have changed since.
    case outdated
    case booting
    case ready
    /// As `wanted`, but it was ready and is given up.
    case stopping
    /// It was not ready in time and stops.
    case timedOut
    /// It could not be cloned; there is a pause.
    case paused
    /// Tenant `a` has it; client 1 waits for that.
    case claimed

    var driver: Driver {
        var driver = Driver(spares: 1)
        switch self {
        case .preparing: _ = driver.wait()
        case .wanted: _ = [driver.wait(), driver.open(8, "b", 2), driver.request(9, "c")]
        case .outdated: _ = [driver.wait(), driver.outdateSpares()]
        case .booting: _ = [driver.wait(), driver.sparePrepared(1)]
        case .ready: _ = driver.makeSpare(1)
        case .stopping: _ = [driver.makeSpare(1), driver.open(8, "b", 2), driver.request(9, "c")]
        case .timedOut: _ = [driver.wait(), driver.sparePrepared(1), driver.wait(300)]
        case .paused: _ = [driver.wait(), driver.spareFailed(1)]
        case .claimed: _ = [driver.makeSpare(1), driver.request(1, "a"), driver.isNew(2)]
        }
        return driver
    }
}

/// Every event that concerns a spare, as the table's rows.
private enum Row: String, CaseIterable, Codable {
    case prepared, failed, ready, exited, requested, settingsChanged, shutDown, deadline

    func happen(to driver: inout Driver) -> String {
        switch self {
        case .prepared: driver.sparePrepared(1)
        case .failed: driver.spareFailed(1)
        case .ready: driver.ready(1)
        case .exited: driver.exited(1)
        case .requested: driver.request(7, "d")
        case .settingsChanged: driver.outdateSpares()
        case .shutDown: driver.shutDown()
        case .deadline: driver.wait()
        }
    }
}

/// What is said, and how many spares there are and are ready then; no entry where the event is the executor's mistake
/// and traps.
private let table: [Row: [Column: String]] = [
    .prepared: [
        .preparing: "boot 1 → 1, 0", .wanted: "prepare 3 c → 0, 0", .outdated: "prepareSpare 2 → 1, 0",
    ],
    .failed: [.preparing: " → 0, 0", .wanted: "prepare 3 c → 0, 0", .outdated: " → 0, 0"],
    .ready: [
        .booting: " → 1, 1", .stopping: " → 1, 0", .timedOut: " → 1, 0", .paused: " → 0, 0",
        .claimed: "grant 1 1, prepareSpare 3 → 1, 0",
    ],
    .exited: [
        .booting: " → 0, 0", .ready: " → 0, 0", .stopping: "prepare 3 c → 0, 0", .timedOut: " → 0, 0",
        .claimed: "prepare 3 a → 0, 0",
    ],
    .requested: [
        .preparing: "prepare 2 d → 1, 0", .wanted: " → 1, 0", .outdated: "prepare 2 d → 1, 0",
        .booting: "prepare 2 d → 1, 0",
        .ready: "prepare 2 d → 1, 1", .stopping: " → 1, 0", .timedOut: "prepare 2 d → 1, 0",
        .paused: "prepare 2 d → 0, 0", .claimed: "prepare 3 d → 0, 0",
    ],
    .settingsChanged: [
        .preparing: " → 1, 0", .wanted: " → 1, 0", .outdated: " → 1, 0", .booting: "stop 1 → 1, 0",
        .ready: "stop 1 → 1, 0", .stopping: " → 1, 0", .timedOut: " → 1, 0", .paused: " → 0, 0", .claimed: " → 0, 0",
    ],
    .shutDown: [
        .preparing: " → 1, 0", .wanted: "terminate 2, refuse 9 shuttingDown → 1, 0", .outdated: " → 1, 0",
        .booting: "stop 1 → 1, 0",
        .ready: "stop 1 → 1, 0", .stopping: "terminate 2, refuse 9 shuttingDown → 1, 0", .timedOut: " → 1, 0",
        .paused: " → 0, 0", .claimed: "refuse 1 shuttingDown, stop 1 → 0, 0",
    ],
    .deadline: [
        .preparing: " → 1, 0", .wanted: "refuse 9 timeout:instances → 1, 0", .outdated: " → 1, 0",
        .booting: "stop 1 → 1, 0",
        .ready: " → 1, 1", .stopping: "refuse 9 timeout:instances → 1, 0", .timedOut: " → 1, 0",
        .paused: "prepareSpare 2 → 1, 0", .claimed: "prepareSpare 3 → 1, 0",
    ],
]

@Suite struct SpareTests {
    @Test func everyCell() {
        for (row, cells) in table {
            for (column, expected) in cells {
                var driver = column.driver
                let said = row.happen(to: &driver)
                let (count, ready) = (driver.pool.spareCount, driver.pool.readySpareCount)
                #expect("\(said) → \(count), \(ready)" == expected, "\(row) in \(column)")
            }
        }
        #expect(table.count == Row.allCases.count)
    }

    @Test func impossibleEventsTrap() async {
        for row in Row.allCases {
            for column in Column.allCases where table[row]?[column] == nil {
                await #expect(processExitsWith: .failure, "\(row) in \(column)") {
                    [row = row as Row, column = column as Column] in
                    var driver = column.driver
                    _ = row.happen(to: &driver)
                }
            }
        }
    }

    @Test func aNewNameGetsTheOldestSpare() {
        var limits = smallLimits
        limits.maxInstances = 4
        var driver = Driver(limits, spares: 2)
        #expect(driver.wait() == "prepareSpare 1")
        #expect(driver.sparePrepared(1) == "boot 1")
        #expect(driver.ready(1) == "prepareSpare 2", "one at a time")
        _ = driver.sparePrepared(2)
        #expect(driver.ready(2) == "", "two are enough")
        #expect(driver.request(1, "a") == "prepare 3 a")
        #expect(driver.isNew(3) == "claim 1 a insteadOf 3")
        #expect(driver.pool.state(of: name("a")) == .claiming)
        #expect(driver.pool.instanceCount == 1 && driver.pool.spareCount == 1)
        #expect(driver.request(2, "a") == "")
        #expect(driver.ready(1) == "grant 1 1, grant 2 1, prepareSpare 4")
        #expect(driver.pool.state(of: name("a")) == .ready)
    }

    /// A clone that began with the client's connect took the core that its backend started on.
    @Test func theSessionThatTookASpareHasTheMachineForAWhile() {
        var limits = smallLimits
        limits.sparePause = .seconds(1)
        var driver = Driver(limits, spares: 1)
        _ = driver.makeSpare(1)
        _ = [driver.request(1, "a"), driver.isNew(2)]
        #expect(driver.ready(1) == "grant 1 1")
        #expect(driver.wait(0.9) == "")
        #expect(driver.wait(0.1) == "prepareSpare 3")
        // A claim that lasts longer than that, and spares that nobody wants any more.
        _ = [driver.giveBack(1), driver.stop("a"), driver.exited(1), driver.sparePrepared(3), driver.ready(3)]
        _ = [driver.request(2, "b"), driver.isNew(4)]
        #expect(driver.wait(2) == "")
        #expect(driver.change { $0.spares = 0 } == "")
        #expect(driver.ready(3) == "grant 2 3")
    }

    @Test func aKnownNameLeavesTheSparesAlone() {
        var driver = Driver(spares: 1)
        _ = driver.makeSpare(1)
        #expect(driver.open(1, "a", 2) == "prepare 2 a, boot 2, grant 1 2")
        #expect(driver.pool.readySpareCount == 1)
    }

    @Test func withoutASpareThatIsReadyANewNameIsCloned() {
        var driver = Driver(spares: 1)
        _ = [driver.wait(), driver.sparePrepared(1)]
        #expect(driver.request(1, "a") == "prepare 2 a")
        #expect(driver.isNew(2) == "create 2 a")
        #expect(driver.ready(1) == "", "too late for a")
        #expect(driver.prepared(2) == "boot 2")
    }

    @Test func sparesGoBeforeAnythingOfATenant() {
        var driver = Driver(spares: 1)
        _ = [driver.makeSpare(1), driver.open(1, "a", 2), driver.giveBack(2)]
        #expect(driver.request(2, "b") == "stop 1")
        #expect(driver.pool.limit(holding: name("b")) == .instances)
        #expect(driver.request(3, "c") == "ask 2", "one was not enough")
        #expect(driver.exited(1) == "prepare 3 b")
        #expect(driver.wait(30) == "refuse 2 timeout:startup, refuse 3 timeout:instances")
    }

    @Test func aSpareInPreparationGivesWay() {
        var driver = Driver(spares: 1)
        _ = [driver.wait(), driver.open(1, "a", 2), driver.giveBack(2)]
        #expect(driver.request(2, "b") == "", "it is a clone of 60 ms: nobody is evicted for it")
        #expect(driver.sparePrepared(1) == "prepare 3 b")
        #expect(driver.pool.spareCount == 0)
    }

    /// One that was cloned while the settings changed booted with the old ones, and a new name got it.
    @Test func aSpareInPreparationGivesWayToNewSettings() {
        var driver = Driver(spares: 1)
        _ = [driver.wait(), driver.outdateSpares(), driver.outdateSpares()]
        #expect(driver.sparePrepared(1) == "prepareSpare 2", "another, with the new ones")
        #expect(driver.sparePrepared(2) == "boot 2")
        // One that is late for a tenant, for other settings and for the operator is given up once.
        _ = [driver.ready(2), driver.outdateSpares(), driver.exited(2), driver.outdateSpares()]
        _ = [driver.open(1, "a", 4), driver.request(2, "b"), driver.change { $0.spares = 0 }]
        #expect(driver.sparePrepared(3) == "prepare 5 b")
        #expect(driver.pool.spareCount == 0)
    }

    @Test func sparesAreMadeWhenNobodyStarts() {
        var limits = smallLimits
        limits.maxInstances = 3
        var driver = Driver(limits, spares: 1)
        _ = driver.request(1, "a")
        #expect(driver.wait(0) == "")
        _ = driver.prepared(1)
        #expect(driver.wait(2.9) == "", "nor while it boots")
        #expect(driver.ready(1) == "grant 1 1, prepareSpare 2")
    }

    @Test func withoutAFreeSlotThereAreNoSpares() {
        var driver = Driver(spares: 2)
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2)]
        #expect(driver.wait(1) == "" && driver.pool.spareCount == 0)
        _ = [driver.giveBack(2), driver.stop("b")]
        #expect(driver.exited(2) == "prepareSpare 3")
        _ = driver.sparePrepared(3)
        #expect(driver.ready(3) == "", "two would be one too many")
    }

    /// A full disk was met again at every turn.
    @Test func pausesGrowWhileSparesKeepFailing() {
        var driver = Driver(spares: 1)
        var pauses: [Duration] = []
        for spare in UInt64(1)...12 {
            #expect(driver.wait() == "prepareSpare \(spare)")
            let failedAt = driver.now
            if spare.isMultiple(of: 2) {
                #expect(driver.spareFailed(spare) == "")
            } else {
                _ = driver.sparePrepared(spare)
                #expect(driver.exited(spare) == "")
            }
            pauses.append((driver.pool.nextDeadline ?? failedAt) - failedAt)
        }
        for (doublings, pause) in pauses.enumerated() {
            let whole = min(Duration.milliseconds(250 << doublings), .seconds(15))
            #expect(pause >= whole / 2 && pause <= whole)
        }
        _ = driver.makeSpare(13)
        #expect(driver.exited(13) == "", "nobody told it to")
        #expect((driver.pool.nextDeadline ?? .zero) - driver.now <= .milliseconds(250), "one was ready meanwhile")
    }

    @Test func aSpareThatHangsIsStopped() {
        var driver = Driver(spares: 1)
        _ = [driver.wait(), driver.sparePrepared(1)]
        #expect(driver.wait(299) == "")
        #expect(driver.wait(1) == "stop 1")
        #expect(driver.exited(1) == "", "it backs off")
        #expect(driver.wait() == "prepareSpare 2")
    }

    /// What the claim had reached is found by the next look.
    @Test func aClaimThatFailsIsAFailedStart() {
        var driver = Driver(spares: 1)
        _ = [driver.makeSpare(1), driver.request(1, "a"), driver.isNew(2)]
        #expect(driver.exited(1) == "prepare 3 a")
        #expect(driver.prepared(3) == "boot 3")
        #expect(driver.exited(3) == "refuse 1 failed:exit, prepareSpare 4")
    }

    @Test func sparesEndWithTheRouter() {
        var limits = smallLimits
        limits.maxInstances = 3
        var driver = Driver(limits, spares: 2)
        _ = [driver.makeSpare(1), driver.wait()]
        #expect(driver.pool.spareCount == 2)
        #expect(driver.shutDown() == "stop 1")
        #expect(driver.sparePrepared(2) == "")
        #expect(!driver.pool.isEmpty)
        #expect(driver.exited(1) == "")
        #expect(driver.pool.isEmpty && driver.pool.nextDeadline == nil)
    }
}
