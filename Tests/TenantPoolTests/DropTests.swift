import Testing

@testable import TenantPool

@Suite struct DropTests {
    @Test func whoComesMeanwhileGetsANewDatabase() {
        var driver = Driver()
        _ = driver.open(1, "a", 1)
        #expect(driver.drop("a") == "terminate 1")
        #expect(driver.request(2, "a") == "")
        #expect(driver.pool.limit(holding: name("a")) == .startup)
        #expect(driver.drop("a") == "")
        #expect(driver.giveBack(1) == "stop 1")
        #expect(driver.drop("a") == "")
        #expect(driver.exited(1) == "remove a")
        #expect(driver.drop("a") == "")
        #expect(driver.request(3, "a") == "", "nothing is looked for while it is removed")
        #expect(driver.removed("a") == "prepare 2 a")
        #expect(driver.isNew(2) == "create 2 a")
        _ = driver.prepared(2)
        #expect(driver.ready(2) == "grant 2 2, grant 3 2")
    }

    @Test func whatNobodyWantsIsForgotten() {
        var driver = Driver()
        #expect(driver.drop("a") == "remove a")
        #expect(!driver.pool.isEmpty && driver.pool.instanceCount == 0)
        #expect(driver.removed("a") == "")
        #expect(driver.pool.isEmpty && driver.pool.state(of: name("a")) == .cold)
    }

    @Test func sessionsHaveADeadline() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.request(2, "a"), driver.drop("a")]
        #expect(driver.giveBack(1) == "")
        #expect(driver.wait(3) == "stop 1")
        #expect(driver.giveBack(1) == "")
        #expect(driver.exited(1) == "remove a")
    }

    /// A database that was being made came back to life after its drop.
    @Test(arguments: ["new", "prepared", "failed"])
    func whatIsBeingPreparedDoesNotBoot(answer: String) {
        var driver = Driver(spares: 1)
        _ = [driver.makeSpare(1), driver.request(1, "a"), driver.drop("a")]
        switch answer {
        case "new": #expect(driver.isNew(2) == "remove a")
        case "prepared": #expect(driver.prepared(2) == "remove a")
        default: #expect(driver.prepareFailed(2, .permanent) == "remove a")
        }
        #expect(driver.pool.instanceCount == 0 && driver.pool.readySpareCount == 1)
        #expect(driver.removed("a").hasPrefix("prepare"), "client 1 still waits")
    }

    @Test func itsSlotIsAsGoodAsFree() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2), driver.giveBack(2), driver.drop("a")]
        #expect(driver.request(3, "c") == "", "b stays")
        _ = driver.giveBack(1)
        #expect(driver.exited(1) == "remove a, prepare 3 c")
    }

    @Test func failuresOfTheOldDatabaseAreNotTheNewOnes() {
        var driver = Driver()
        _ = [driver.request(1, "a"), driver.prepared(1), driver.exited(1), driver.drop("a")]
        #expect(driver.prepared(2) == "remove a")
        #expect(driver.removed("a") == "prepare 3 a")
        #expect(driver.prepareFailed(3, .retryable) == "prepare 4 a", "the first of the new one's")
    }

    @Test func aDropOutlastsTheRouter() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.drop("a"), driver.request(2, "a")]
        #expect(driver.shutDown() == "refuse 2 shuttingDown")
        #expect(driver.giveBack(1) == "stop 1")
        #expect(driver.exited(1) == "remove a")
        #expect(!driver.pool.isEmpty)
        #expect(driver.removed("a") == "")
        #expect(driver.pool.isEmpty && driver.pool.nextDeadline == nil)
    }
}
