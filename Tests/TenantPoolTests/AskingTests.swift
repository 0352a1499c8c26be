import Testing

@testable import TenantPool

/// A hibernated subscriber receives nothing, and half a base backup is worth nothing: who idles is asked first.
@Suite struct AskingTests {
    @Test func theOccupiedIsLeftAloneForAWhile() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.giveBack(1)]
        #expect(driver.wait(300) == "ask 1")
        #expect(driver.pool.state(of: name("a")) == .ready)
        #expect(driver.isOccupied(1) == "")
        #expect(driver.wait(9.9) == "")
        #expect(driver.wait(0.1) == "ask 1", "its idle timeout has passed all the while")
        #expect(driver.isIdle(1) == "stop 1")
    }

    @Test func anEvictionMovesOnToTheNext() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2), driver.giveBack(1), driver.wait(1), driver.giveBack(2)]
        #expect(driver.request(3, "c") == "ask 1")
        #expect(driver.isOccupied(1) == "ask 2")
        #expect(driver.isOccupied(2) == "")
        #expect(driver.wait(10) == "ask 1", "somebody still waits")
        #expect(driver.isIdle(1) == "stop 1")
        #expect(driver.exited(1) == "prepare 3 c")
    }

    @Test func noMoreAreAskedThanHaveToGo() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2), driver.giveBack(1), driver.giveBack(2)]
        #expect(driver.request(3, "c") == "ask 1")
        #expect(driver.request(4, "c") == "")
        #expect(driver.request(5, "d") == "ask 2")
    }

    /// Whoever counted on the slot waited for nothing.
    @Test func aLeaseWinsAndAnotherIsAsked() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2), driver.giveBack(1), driver.wait(1), driver.giveBack(2)]
        #expect(driver.request(3, "c") == "ask 1")
        #expect(driver.request(4, "a") == "grant 4 1, ask 2")
        #expect(driver.isIdle(1) == "")
        #expect(driver.pool.state(of: name("a")) == .ready)
    }

    /// An answer from before a session was taken for one from after it.
    @Test func anAnswerIsNotTakenForAnothers() {
        var limits = smallLimits
        limits.idleTimeout = .milliseconds(1)
        var driver = Driver(limits)
        _ = [driver.open(1, "a", 1), driver.giveBack(1)]
        #expect(driver.wait(0.001) == "ask 1")
        #expect(driver.request(2, "a") == "grant 2 1")
        #expect(driver.giveBack(1) == "")
        #expect(driver.wait(0.001) == "", "one question at a time")
        #expect(driver.isIdle(1) == "ask 1")
        #expect(driver.isOccupied(1) == "")
        #expect(driver.isIdle(1) == "", "nobody asked")
        #expect(driver.pool.state(of: name("a")) == .ready)
    }

    @Test func whoHasToGoIsNotAsked() {
        let orders: [(inout Driver) -> String] = [{ $0.stop("a") }, { $0.drop("a") }, { $0.shutDown() }]
        for order in orders {
            var driver = Driver()
            _ = [driver.open(1, "a", 1), driver.giveBack(1)]
            #expect(order(&driver) == "stop 1")
            #expect(driver.isOccupied(1) == "")
        }
    }
}
