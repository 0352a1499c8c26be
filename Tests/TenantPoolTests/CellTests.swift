import Testing

@testable import TenantPool

/// Every state that tenant `a` can be in, as the table's columns.
private enum Column: String, CaseIterable, Codable {
    /// Nobody ever asked for it.
    case cold
    /// Client 1 waits; instances 1 and 2 serve others.
    case queued
    /// Client 1 waits for instance 1.
    case provisioning
    /// Client 1 waits for instance 1.
    case booting
    /// Instance 1 serves nobody.
    case idle
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

    var driver: Driver {
        var driver = Driver()
        switch self {
        case .cold: break
        case .queued: _ = [driver.open(8, "b", 1), driver.open(9, "c", 2), driver.request(1, "a")]
        case .provisioning: _ = driver.request(1, "a")
        case .booting: _ = [driver.request(1, "a"), driver.prepared(1)]
        case .idle: _ = [driver.open(1, "a", 1), driver.giveBack(1)]
        case .busy: _ = driver.open(1, "a", 1)
        case .full: _ = [driver.open(1, "a", 1), driver.request(2, "a"), driver.request(3, "a")]
        case .draining: _ = [driver.open(1, "a", 1), driver.stop("a")]
        case .stopping: _ = [driver.open(1, "a", 1), driver.giveBack(1), driver.stop("a")]
        case .timedOut:
            _ = [driver.request(1, "a"), driver.prepared(1), driver.wait(300), driver.request(2, "a")]
        case .failed:
            _ = [driver.request(1, "a"), driver.prepared(1), driver.exited(1), driver.prepared(2), driver.exited(2)]
        }
        return driver
    }
}

/// Every event, as the table's rows.
private enum Row: String, Codable {
    case requested, left, returned, prepared, absent, retryable, permanent, ready, exited, stop, shutDown, deadline

    func happen(to driver: inout Driver) -> String {
        switch self {
        case .requested: driver.request(7, "a")
        case .left: driver.leave(1)
        case .returned: driver.giveBack(1)
        case .prepared: driver.prepared(1)
        case .absent: driver.prepareFailed(1, .absent)
        case .retryable: driver.prepareFailed(1, .retryable)
        case .permanent: driver.prepareFailed(1, .permanent)
        case .ready: driver.ready(1)
        case .exited: driver.exited(1)
        case .stop: driver.stop("a")
        case .shutDown: driver.shutDown()
        case .deadline: driver.wait()
        }
    }
}

/// What is said, and the state after it; nil where the event is the executor's mistake and traps.
private let table: [(Row, [Column: String?])] = [
    (
        .requested,
        [
            .cold: "prepare 1 a → provisioning", .queued: " → queued", .provisioning: " → provisioning",
            .booting: " → booting", .idle: "grant 7 1 → ready", .busy: "grant 7 1 → ready", .full: " → ready",
            .draining: " → draining", .stopping: " → hibernating", .timedOut: " → hibernating",
            .failed: "refuse 7 failed:exit → failed",
        ]
    ),
    (
        .left,
        [
            .cold: " → cold", .queued: " → cold", .provisioning: " → provisioning", .booting: " → booting",
            .idle: " → ready", .busy: " → ready", .full: " → ready", .draining: " → draining",
            .stopping: " → hibernating", .timedOut: " → hibernating", .failed: " → failed",
        ]
    ),
    (
        // In the column `queued` instance 1 is another tenant's: it is left idle, and is evicted for `a`.
        .returned,
        [
            .cold: " → cold", .queued: "stop 1 → queued", .provisioning: nil, .booting: nil, .idle: nil,
            .busy: " → ready", .full: "grant 3 1 → ready", .draining: "stop 1 → hibernating",
            .stopping: " → hibernating", .timedOut: " → hibernating", .failed: " → failed",
        ]
    ),
    (
        .prepared,
        [
            .cold: nil, .queued: nil, .provisioning: "boot 1 → booting", .booting: nil, .idle: nil, .busy: nil,
            .full: nil, .draining: nil, .stopping: nil, .timedOut: nil, .failed: nil,
        ]
    ),
    (
        .absent,
        [
            .cold: nil, .queued: nil, .provisioning: "refuse 1 doesNotExist → cold", .booting: nil, .idle: nil,
            .busy: nil, .full: nil, .draining: nil, .stopping: nil, .timedOut: nil, .failed: nil,
        ]
    ),
    (
        .retryable,
        [
            .cold: nil, .queued: nil, .provisioning: "prepare 2 a → provisioning", .booting: nil, .idle: nil,
            .busy: nil, .full: nil, .draining: nil, .stopping: nil, .timedOut: nil, .failed: nil,
        ]
    ),
    (
        .permanent,
        [
            .cold: nil, .queued: nil, .provisioning: "refuse 1 failed:unusable → cold", .booting: nil, .idle: nil,
            .busy: nil, .full: nil, .draining: nil, .stopping: nil, .timedOut: nil, .failed: nil,
        ]
    ),
    (
        .ready,
        [
            .cold: " → cold", .queued: nil, .provisioning: nil, .booting: "grant 1 1 → ready", .idle: nil, .busy: nil,
            .full: nil, .draining: " → draining", .stopping: " → hibernating", .timedOut: " → hibernating",
            .failed: " → failed",
        ]
    ),
    (
        .exited,
        [
            .cold: nil, .queued: "terminate 1, prepare 3 a → provisioning", .provisioning: nil,
            .booting: "prepare 2 a → provisioning", .idle: " → cold", .busy: "terminate 1 → cold",
            .full: "terminate 1, prepare 2 a → provisioning", .draining: " → cold", .stopping: " → cold",
            .timedOut: "prepare 2 a → provisioning", .failed: nil,
        ]
    ),
    (
        .stop,
        [
            .cold: " → cold", .queued: " → queued", .provisioning: " → provisioning",
            .booting: "stop 1 → hibernating", .idle: "stop 1 → hibernating", .busy: "terminate 1 → draining",
            .full: "terminate 1 → draining", .draining: " → draining", .stopping: " → hibernating",
            .timedOut: " → hibernating", .failed: " → failed",
        ]
    ),
    (
        .shutDown,
        [
            .cold: " → cold", .queued: "refuse 1 shuttingDown, terminate 1, terminate 2 → cold",
            .provisioning: "refuse 1 shuttingDown → provisioning",
            .booting: "refuse 1 shuttingDown, stop 1 → hibernating", .idle: "stop 1 → hibernating",
            .busy: "terminate 1 → draining", .full: "refuse 3 shuttingDown, terminate 1 → draining",
            .draining: " → draining", .stopping: " → hibernating",
            .timedOut: "refuse 2 shuttingDown → hibernating", .failed: " → cold",
        ]
    ),
    (
        // A start that takes long gives up its slot first, and nobody waits for that here.
        .deadline,
        [
            .cold: " → cold", .queued: "refuse 1 timeout:instances → cold", .provisioning: " → provisioning",
            .booting: " → booting", .idle: "stop 1 → hibernating", .busy: " → ready",
            .full: "refuse 3 timeout:connections → ready", .draining: "stop 1 → hibernating",
            .stopping: " → hibernating", .timedOut: "refuse 2 timeout:startup → hibernating", .failed: " → cold",
        ]
    ),
]

@Suite struct CellTests {
    @Test func everyCell() {
        for (row, cells) in table {
            for column in Column.allCases {
                guard let expected = cells[column] else {
                    Issue.record("no cell for \(row) in \(column)")
                    continue
                }
                guard let expected else { continue }
                var driver = column.driver
                let said = row.happen(to: &driver)
                #expect("\(said) → \(driver.pool.state(of: name("a")))" == expected, "\(row) in \(column)")
            }
        }
    }

    @Test func columnsAreWhatTheySay() {
        let states = Column.allCases.map { $0.driver.pool.state(of: name("a")) }
        #expect(
            states == [
                .cold, .queued, .provisioning, .booting, .ready, .ready, .ready, .draining, .hibernating, .hibernating,
                .failed,
            ])
    }

    /// An event that the actions did not lead to would leave the pool with a wrong count for ever: it must not go on.
    @Test func impossibleEventsTrap() async {
        for (row, cells) in table {
            for (column, cell) in cells where cell == nil {
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
