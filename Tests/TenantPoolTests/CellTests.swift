import Testing

@testable import TenantPool

/// Every phase that tenant `a` can be in, as the table's columns.
private enum Column: String, CaseIterable, Codable {
    /// Nobody ever asked for it.
    case cold
    /// Client 1 waits; instances 1 and 2 serve others.
    case queued
    /// Client 1 waits for instance 1.
    case provisioning
    /// Client 1 waits for instance 1; there was no directory.
    case creating
    /// Client 1 waits for instance 1, which was a spare.
    case claiming
    /// Client 1 waits for instance 1.
    case booting
    /// Instance 1 serves nobody.
    case idle
    /// As `idle` for so long that it was asked.
    case asked
    /// As `asked`, but the answer to an earlier question comes first.
    case held
    /// As `asked`, and something else than a lease keeps it busy.
    case occupied
    /// Client 1 has one of two leases of instance 1.
    case busy
    /// Clients 1 and 2 have both, client 3 waits.
    case full
    /// As `busy`, asked to stop.
    case draining
    /// As `idle`, asked to stop.
    case stopping
    /// Instance 1 was not ready in time and stops; client 2 waits.
    case timedOut
    /// Instances 1 and 2 exited before they were ready.
    case failed
    /// As `provisioning`, and dropped.
    case dropsPreparing
    /// As `busy`, and dropped.
    case dropsSessions
    /// As `idle`, and dropped.
    case dropsStopping
    /// As `cold`, and dropped; client 1 waits.
    case dropsDirectory

    var driver: Driver {
        var driver = Driver()
        switch self {
        case .cold: break
        case .queued: _ = [driver.open(8, "b", 1), driver.open(9, "c", 2), driver.request(1, "a")]
        case .provisioning: _ = driver.request(1, "a")
        case .creating: _ = [driver.request(1, "a"), driver.isNew(1)]
        case .claiming:
            driver = Driver(spares: 1)
            _ = [driver.makeSpare(1), driver.request(1, "a"), driver.isNew(2)]
        case .booting: _ = [driver.request(1, "a"), driver.prepared(1)]
        case .idle: _ = [driver.open(1, "a", 1), driver.giveBack(1)]
        case .asked: _ = [driver.open(1, "a", 1), driver.giveBack(1), driver.wait(300)]
        case .held:
            driver = Column.asked.driver
            _ = [driver.request(2, "a"), driver.giveBack(1), driver.wait(300)]
        case .occupied:
            driver = Column.asked.driver
            _ = driver.isOccupied(1)
        case .busy: _ = driver.open(1, "a", 1)
        case .full: _ = [driver.open(1, "a", 1), driver.request(2, "a"), driver.request(3, "a")]
        case .draining: _ = [driver.open(1, "a", 1), driver.stop("a")]
        case .stopping: _ = [driver.open(1, "a", 1), driver.giveBack(1), driver.stop("a")]
        case .timedOut:
            _ = [driver.request(1, "a"), driver.prepared(1), driver.wait(300), driver.request(2, "a")]
        case .failed:
            _ = [driver.request(1, "a"), driver.prepared(1), driver.exited(1), driver.prepared(2), driver.exited(2)]
        case .dropsPreparing: _ = [driver.request(1, "a"), driver.drop("a")]
        case .dropsSessions: _ = [driver.open(1, "a", 1), driver.drop("a")]
        case .dropsStopping: _ = [driver.open(1, "a", 1), driver.giveBack(1), driver.drop("a")]
        case .dropsDirectory: _ = [driver.drop("a"), driver.request(1, "a")]
        }
        return driver
    }
}

/// Every event, as the table's rows.
private enum Row: String, CaseIterable, Codable {
    case requested, left, returned, isNew, prepared, absent, retryable, permanent, ready, exited, isIdle, isOccupied
    case stop, drop, removed, limits, shutDown, deadline

    func happen(to driver: inout Driver) -> String {
        switch self {
        case .requested: driver.request(7, "a")
        case .left: driver.leave(1)
        case .returned: driver.giveBack(1)
        case .isNew: driver.isNew(1)
        case .prepared: driver.prepared(1)
        case .absent: driver.prepareFailed(1, .absent)
        case .retryable: driver.prepareFailed(1, .retryable)
        case .permanent: driver.prepareFailed(1, .permanent)
        case .ready: driver.ready(1)
        case .exited: driver.exited(1)
        case .isIdle: driver.isIdle(1)
        case .isOccupied: driver.isOccupied(1)
        case .stop: driver.stop("a")
        case .drop: driver.drop("a")
        case .removed: driver.removed("a")
        case .limits: driver.change { ($0.maxInstances, $0.idleTimeout) = (3, .seconds(1)) }
        case .shutDown: driver.shutDown()
        case .deadline: driver.wait()
        }
    }
}

/// What is said, and the state after it; no entry where the event is the executor's mistake and traps.
private let table: [Row: [Column: String]] = [
    .requested: [
        .cold: "prepare 1 a → provisioning", .queued: " → queued", .provisioning: " → provisioning",
        .creating: " → provisioning", .claiming: " → claiming", .booting: " → booting",
        .idle: "grant 7 1 → ready", .asked: "grant 7 1 → ready", .held: "grant 7 1 → ready",
        .occupied: "grant 7 1 → ready", .busy: "grant 7 1 → ready", .full: " → ready", .draining: " → draining",
        .stopping: " → hibernating", .timedOut: " → hibernating", .failed: "refuse 7 failed:exit → failed",
        .dropsPreparing: " → dropping", .dropsSessions: " → dropping", .dropsStopping: " → dropping",
        .dropsDirectory: " → dropping",
    ],
    .left: [
        .cold: " → cold", .queued: " → cold", .provisioning: " → provisioning", .creating: " → provisioning",
        .claiming: " → claiming", .booting: " → booting", .idle: " → ready", .asked: " → ready", .held: " → ready",
        .occupied: " → ready", .busy: " → ready", .full: " → ready", .draining: " → draining",
        .stopping: " → hibernating", .timedOut: " → hibernating", .failed: " → failed",
        .dropsPreparing: " → dropping", .dropsSessions: " → dropping", .dropsStopping: " → dropping",
        .dropsDirectory: " → dropping",
    ],
    // In the column `queued` instance 1 is another tenant's: it is left idle, and shall make room for `a`.
    .returned: [
        .cold: " → cold", .queued: "ask 1 → queued", .busy: " → ready", .full: "grant 3 1 → ready",
        .draining: "stop 1 → hibernating", .stopping: " → hibernating", .timedOut: " → hibernating",
        .failed: " → failed", .dropsSessions: "stop 1 → dropping", .dropsStopping: " → dropping",
        .dropsDirectory: " → dropping",
    ],
    .isNew: [.provisioning: "create 1 a → provisioning", .dropsPreparing: "remove a → dropping"],
    .prepared: [
        .provisioning: "boot 1 → booting", .creating: "boot 1 → booting", .dropsPreparing: "remove a → dropping",
    ],
    .absent: [
        .provisioning: "refuse 1 doesNotExist → cold", .creating: "refuse 1 doesNotExist → cold",
        .dropsPreparing: "remove a → dropping",
    ],
    .retryable: [
        .provisioning: "prepare 2 a → provisioning", .creating: "prepare 2 a → provisioning",
        .dropsPreparing: "remove a → dropping",
    ],
    .permanent: [
        .provisioning: "refuse 1 failed:unusable → cold", .creating: "refuse 1 failed:unusable → cold",
        .dropsPreparing: "remove a → dropping",
    ],
    .ready: [
        .cold: " → cold", .claiming: "grant 1 1, prepareSpare 3 → ready", .booting: "grant 1 1 → ready",
        .draining: " → draining", .stopping: " → hibernating", .timedOut: " → hibernating", .failed: " → failed",
        .dropsSessions: " → dropping", .dropsStopping: " → dropping", .dropsDirectory: " → dropping",
    ],
    .exited: [
        .queued: "terminate 1, prepare 3 a → provisioning", .claiming: "prepare 3 a → provisioning",
        .booting: "prepare 2 a → provisioning", .idle: " → cold", .asked: " → cold", .held: " → cold",
        .occupied: " → cold", .busy: "terminate 1 → cold", .full: "terminate 1, prepare 2 a → provisioning",
        .draining: " → cold", .stopping: " → cold", .timedOut: "prepare 2 a → provisioning",
        .dropsSessions: "remove a → dropping", .dropsStopping: "remove a → dropping",
    ],
    .isIdle: [
        .cold: " → cold", .queued: " → queued", .provisioning: " → provisioning", .creating: " → provisioning",
        .claiming: " → claiming", .booting: " → booting", .idle: " → ready", .asked: "stop 1 → hibernating",
        .held: "ask 1 → ready", .occupied: " → ready", .busy: " → ready", .full: " → ready", .draining: " → draining",
        .stopping: " → hibernating", .timedOut: " → hibernating", .failed: " → failed",
        .dropsPreparing: " → dropping", .dropsSessions: " → dropping", .dropsStopping: " → dropping",
        .dropsDirectory: " → dropping",
    ],
    .isOccupied: [
        .cold: " → cold", .queued: " → queued", .provisioning: " → provisioning", .creating: " → provisioning",
        .claiming: " → claiming", .booting: " → booting", .idle: " → ready", .asked: " → ready",
        .held: "ask 1 → ready", .occupied: " → ready", .busy: " → ready", .full: " → ready", .draining: " → draining",
        .stopping: " → hibernating", .timedOut: " → hibernating", .failed: " → failed",
        .dropsPreparing: " → dropping", .dropsSessions: " → dropping", .dropsStopping: " → dropping",
        .dropsDirectory: " → dropping",
    ],
    .stop: [
        .cold: " → cold", .queued: " → queued", .provisioning: " → provisioning", .creating: " → provisioning",
        // Nobody starts any more: there is time for a spare.
        .claiming: "stop 1, prepareSpare 3 → hibernating", .booting: "stop 1 → hibernating",
        .idle: "stop 1 → hibernating", .asked: "stop 1 → hibernating", .held: "stop 1 → hibernating",
        .occupied: "stop 1 → hibernating", .busy: "terminate 1 → draining", .full: "terminate 1 → draining",
        .draining: " → draining", .stopping: " → hibernating", .timedOut: " → hibernating", .failed: " → failed",
        .dropsPreparing: " → dropping", .dropsSessions: " → dropping", .dropsStopping: " → dropping",
        .dropsDirectory: " → dropping",
    ],
    .drop: [
        .cold: "remove a → dropping", .queued: "remove a → dropping", .provisioning: " → dropping",
        .creating: " → dropping", .claiming: "stop 1, prepareSpare 3 → dropping", .booting: "stop 1 → dropping",
        .idle: "stop 1 → dropping", .asked: "stop 1 → dropping", .held: "stop 1 → dropping",
        .occupied: "stop 1 → dropping", .busy: "terminate 1 → dropping", .full: "terminate 1 → dropping",
        .draining: " → dropping", .stopping: " → dropping", .timedOut: " → dropping", .failed: "remove a → dropping",
        .dropsPreparing: " → dropping", .dropsSessions: " → dropping", .dropsStopping: " → dropping",
        .dropsDirectory: " → dropping",
    ],
    .removed: [.dropsDirectory: "prepare 1 a → provisioning"],
    // One instance more may run: only in `queued` somebody waits for that.
    .limits: [
        .cold: " → cold", .queued: "prepare 3 a → provisioning", .provisioning: " → provisioning",
        .creating: " → provisioning", .claiming: " → claiming", .booting: " → booting",
        .idle: " → ready", .asked: " → ready", .held: " → ready", .occupied: " → ready", .busy: " → ready",
        .full: " → ready", .draining: " → draining", .stopping: " → hibernating", .timedOut: " → hibernating",
        .failed: " → failed", .dropsPreparing: " → dropping", .dropsSessions: " → dropping",
        .dropsStopping: " → dropping", .dropsDirectory: " → dropping",
    ],
    .shutDown: [
        .cold: " → cold", .queued: "refuse 1 shuttingDown, terminate 1, terminate 2 → cold",
        .provisioning: "refuse 1 shuttingDown → provisioning", .creating: "refuse 1 shuttingDown → provisioning",
        .claiming: "refuse 1 shuttingDown, stop 1 → hibernating",
        .booting: "refuse 1 shuttingDown, stop 1 → hibernating", .idle: "stop 1 → hibernating",
        .asked: "stop 1 → hibernating", .held: "stop 1 → hibernating", .occupied: "stop 1 → hibernating",
        .busy: "terminate 1 → draining", .full: "refuse 3 shuttingDown, terminate 1 → draining",
        .draining: " → draining", .stopping: " → hibernating", .timedOut: "refuse 2 shuttingDown → hibernating",
        .failed: " → cold", .dropsPreparing: "refuse 1 shuttingDown → dropping", .dropsSessions: " → dropping",
        .dropsStopping: " → dropping", .dropsDirectory: "refuse 1 shuttingDown → dropping",
    ],
    // A start that takes long gives up its slot first, and nobody waits for that here.
    .deadline: [
        .cold: " → cold", .queued: "refuse 1 timeout:instances → cold", .provisioning: " → provisioning",
        .creating: " → provisioning", .claiming: "prepareSpare 3 → claiming", .booting: " → booting",
        .idle: "ask 1 → ready", .asked: " → ready", .held: " → ready", .occupied: "ask 1 → ready",
        .busy: " → ready", .full: "refuse 3 timeout:connections → ready", .draining: "stop 1 → hibernating",
        .stopping: " → hibernating", .timedOut: "refuse 2 timeout:startup → hibernating", .failed: " → cold",
        .dropsPreparing: " → dropping", .dropsSessions: "stop 1 → dropping", .dropsStopping: " → dropping",
        .dropsDirectory: "refuse 1 timeout:startup → dropping",
    ],
]

@Suite struct CellTests {
    @Test func everyCell() {
        for (row, cells) in table {
            for (column, expected) in cells {
                var driver = column.driver
                let said = row.happen(to: &driver)
                #expect("\(said) → \(driver.pool.state(of: name("a")))" == expected, "\(row) in \(column)")
            }
        }
        #expect(table.count == Row.allCases.count)
    }

    @Test func columnsAreWhatTheySay() {
        let phases = Column.allCases.map { column in
            column.driver.pool.tenants[name("a")].map { "\($0.phase)".prefix { $0 != "(" } } ?? "cold"
        }
        #expect(
            phases == [
                "cold", "queued", "provisioning", "creating", "claiming", "booting", "idle", "asked", "asked",
                "occupied", "busy", "busy", "draining", "stopping", "stopping", "failed", "dropping", "dropping",
                "dropping", "dropping",
            ])
        let states = Set(Column.allCases.map { $0.driver.pool.state(of: name("a")) })
        #expect(states == Set(TenantState.allCases))
    }

    /// An event that the actions did not lead to would leave the pool with a wrong count for ever: it must not go on.
    @Test func impossibleEventsTrap() async {
        // That a failure is impossible is found out before it matters which one it is.
        for row in Row.allCases where row != .absent && row != .permanent {
            for column in Column.allCases where table[row]?[column] == nil {
                await #expect(processExitsWith: .failure, "\(row) in \(column)") {
                    [row = row as Row, column = column as Column] in
                    var driver = column.driver
                    _ = row.happen(to: &driver)
                }
            }
        }
    }

    @Test func aWaiterThatWaitsCannotAskAgain() async {
        await #expect(processExitsWith: .failure) {
            var driver = Driver()
            _ = [driver.request(1, "a"), driver.request(1, "b")]
        }
    }
}
