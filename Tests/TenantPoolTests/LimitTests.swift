import Testing

@testable import TenantPool

/// Limits that change while clients and instances live by the old ones.
@Suite struct LimitTests {
    @Test func fewerInstancesLetTheIdleGoAndNobodyElse() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2), driver.giveBack(2)]
        #expect(driver.change { $0.maxInstances = 1 } == "ask 2")
        #expect(driver.isIdle(2) == "stop 2")
        #expect(driver.exited(2) == "")
        #expect(driver.request(3, "b") == "", "instance 1 is the only one that may run")
        #expect(driver.giveBack(1) == "ask 1")
    }

    @Test func whatServesStaysUntilItIsIdle() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2)]
        #expect(driver.change { $0.maxInstances = 1 } == "")
        #expect(driver.request(3, "a") == "grant 3 1")
        #expect(driver.giveBack(2) == "ask 2")
    }

    @Test func moreInstancesStartThoseWhoWait() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2), driver.request(3, "c")]
        #expect(driver.change { $0.maxInstances = 3 } == "prepare 3 c")
    }

    @Test func anInstanceKeepsTheConnectionsItBootedWith() {
        var driver = Driver()
        _ = driver.open(1, "a", 1)
        #expect(driver.change { $0.maxConnections = 3 } == "")
        #expect(driver.request(2, "a") == "grant 2 1")
        #expect(driver.request(3, "a") == "", "PostgreSQL has no third connection")
        #expect(driver.pool.connections(of: name("a")) == 2)
        _ = [driver.leave(3), driver.giveBack(1), driver.giveBack(1), driver.exited(1), driver.open(4, "a", 2)]
        #expect(driver.pool.connections(of: name("a")) == 3)
    }

    /// Its settings may be written before the change or after it.
    @Test func anInstanceInPreparationGetsTheSmallerNumber() {
        var driver = Driver()
        _ = driver.request(1, "a")
        _ = driver.change { $0.maxConnections = 3 }
        #expect(driver.pool.connections(of: name("a")) == 2)
        _ = driver.change { $0.maxConnections = 1 }
        #expect(driver.pool.connections(of: name("a")) == 1)
        _ = [driver.prepared(1), driver.change { $0.maxConnections = 5 }]
        #expect(driver.pool.connections(of: name("a")) == 1)
    }

    @Test func theIdleTimeoutHoldsForThoseThatIdleAlready() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.giveBack(1), driver.wait(10)]
        #expect(driver.change { $0.idleTimeout = .seconds(20) } == "")
        #expect(driver.wait(9) == "")
        #expect(driver.wait(1) == "ask 1")
        _ = [driver.isOccupied(1), driver.wait(5)]
        #expect(driver.change { $0.idleTimeout = .zero } == "")
        #expect(driver.wait(1000) == "")
    }

    @Test func whoWaitsKeepsItsDeadline() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2), driver.request(3, "c")]
        _ = [driver.change { $0.queueTimeout = .seconds(5) }, driver.request(4, "c")]
        #expect(driver.wait(5) == "refuse 4 timeout:instances")
        #expect(driver.wait(25) == "refuse 3 timeout:instances")
    }

    @Test func sparesComeAndGo() {
        var driver = Driver()
        #expect(driver.change { $0.spares = 1 } == "prepareSpare 1")
        #expect(driver.change { $0.spares = 0 } == "")
        #expect(driver.sparePrepared(1) == "", "withdrawn")
        #expect(driver.pool.spareCount == 0)
        _ = [driver.change { $0.spares = 1 }, driver.sparePrepared(2), driver.ready(2)]
        #expect(driver.outdateSpares() == "stop 2")
        #expect(driver.exited(2) == "prepareSpare 3")
        #expect(driver.outdateSpares() == "")
        #expect(driver.sparePrepared(3) == "prepareSpare 4", "its settings were the old ones")
        _ = [driver.sparePrepared(4), driver.ready(4)]
        #expect(driver.change { $0.spares = 0 } == "stop 4")
        #expect(driver.exited(4) == "")
    }

    @Test func nothingChangesAnyMoreAtTheEnd() {
        var driver = Driver(spares: 1)
        _ = [driver.wait(), driver.shutDown()]
        #expect(driver.change { $0.spares = 3 } == "")
        #expect(driver.outdateSpares() == "")
    }
}
