import Testing

@testable import TenantPool

@Suite struct PoolTests {
    /// Two first connects raced to initialise one directory.
    @Test func aThousandFirstConnectsMakeOneInstance() {
        var limits = PoolLimits()
        limits.maxConnections = 40
        var driver = Driver(limits)
        #expect(driver.request(1, "a") == "prepare 1 a")
        for waiter in 2...1_000 { #expect(driver.request(UInt64(waiter), "a") == "") }
        #expect(driver.prepared(1) == "boot 1")
        #expect(driver.ready(1) == (1...40).map { "grant \($0) 1" }.joined(separator: ", "))
        for waiter in 41...1_000 { #expect(driver.giveBack(1) == "grant \(waiter) 1") }
        for _ in 1...40 { #expect(driver.giveBack(1) == "") }
        #expect(driver.pool.snapshot.map(\.leases) == [0] && driver.pool.waiterCount == 0)
    }

    /// The first release of a lock cleared every waiter's timer; dead clients stayed queued.
    @Test func everyWaiterHasItsOwnDeadline() {
        var limits = smallLimits
        limits.maxWaitersPerTenant = 50
        limits.maxConnections = 1
        var driver = Driver(limits)
        _ = driver.open(100, "a", 1)
        for waiter in 1...50 {
            #expect(driver.request(UInt64(waiter), "a") == "")
            _ = driver.wait(0.1)
        }
        for waiter in stride(from: 2, through: 50, by: 2) { #expect(driver.leave(UInt64(waiter)) == "") }
        #expect(driver.giveBack(1) == "grant 1 1")
        #expect(driver.pool.waiterCount == 24)
        for waiter in stride(from: 3, through: 49, by: 2) {
            #expect(driver.wait() == "refuse \(waiter) timeout:connections")
            #expect(driver.now == .seconds(130) + .milliseconds(100) * (waiter - 1))
        }
        #expect(driver.pool.nextDeadline == nil)
    }

    @Test func aWaiterThatLeftFreesItsPlaceAtOnce() {
        var driver = Driver()
        _ = driver.request(1, "a")
        #expect(
            [driver.request(2, "a"), driver.request(3, "a"), driver.request(4, "a")] == ["", "", "refuse 4 queueFull"])
        #expect(driver.leave(2) == "")
        #expect(driver.request(4, "a") == "")
        #expect(driver.request(5, "a") == "refuse 5 queueFull")
        _ = driver.prepared(1)
        #expect(driver.ready(1) == "grant 1 1, grant 3 1")
        #expect(driver.leave(1) == "", "an answered waiter leaves nothing")
        #expect(driver.giveBack(1) == "grant 4 1")
    }

    /// The limit counted for ever; now the longest idle makes room.
    @Test func theLongestIdleIsEvicted() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2)]
        _ = driver.giveBack(2)
        _ = driver.wait(1)
        _ = driver.giveBack(1)
        #expect(driver.request(3, "c") == "ask 2")
        #expect(driver.request(4, "c") == "")
        #expect(driver.isIdle(2) == "stop 2")
        #expect(driver.pool.state(of: name("b")) == .hibernating)
        #expect(driver.exited(2) == "prepare 3 c")
        _ = driver.prepared(3)
        #expect(driver.ready(3) == "grant 3 3, grant 4 3")
        #expect(driver.pool.state(of: name("a")) == .ready, "one eviction was enough")
    }

    @Test func whereNothingIsIdleClientsWaitForTheFirstThatIs() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.open(2, "b", 2)]
        #expect(driver.request(3, "c") == "")
        #expect(driver.request(4, "d") == "")
        #expect(driver.pool.limit(holding: name("c")) == .instances)
        #expect(driver.giveBack(1) == "ask 1")
        #expect(driver.isIdle(1) == "stop 1")
        #expect(driver.exited(1) == "prepare 3 c")
        #expect(driver.wait(30) == "refuse 3 timeout:startup, refuse 4 timeout:instances")
        #expect(driver.pool.state(of: name("d")) == .cold)
    }

    /// Eviction met a new connect ("database removed").
    @Test func aConnectThatMeetsAStoppingInstanceWakesIt() {
        var limits = smallLimits
        limits.idleTimeout = .milliseconds(1)
        var driver = Driver(limits)
        _ = [driver.open(1, "a", 1), driver.giveBack(1)]
        for life in UInt64(1)...50 {
            #expect(driver.wait(0.001) == "ask \(life)")
            #expect(driver.isIdle(life) == "stop \(life)")
            #expect(driver.request(life + 100, "a") == "")
            #expect(driver.exited(life) == "prepare \(life + 1) a")
            #expect(driver.prepared(life + 1) == "boot \(life + 1)")
            #expect(driver.ready(life + 1) == "grant \(life + 100) \(life + 1)")
            #expect(driver.giveBack(life + 1) == "")
        }
    }

    @Test func zeroIdleTimeoutMeansNever() {
        var limits = smallLimits
        limits.idleTimeout = .zero
        var driver = Driver(limits)
        _ = [driver.open(1, "a", 1), driver.giveBack(1)]
        #expect(driver.pool.nextDeadline == nil)
        _ = [driver.open(2, "b", 2)]
        #expect(driver.request(3, "c") == "ask 1", "it is evicted all the same")
    }

    @Test func onlySoManyBootAtOnce() {
        var limits = PoolLimits()
        limits.maxBooting = 2
        var driver = Driver(limits)
        #expect(
            [driver.request(1, "a"), driver.request(2, "b"), driver.request(3, "c")] == [
                "prepare 1 a", "prepare 2 b", "",
            ])
        #expect(driver.pool.limit(holding: name("c")) == .starts)
        _ = driver.prepared(2)
        #expect(driver.ready(2) == "grant 2 2, prepare 3 c")
        #expect(driver.request(4, "d") == "")
        #expect(driver.prepareFailed(1, .absent) == "refuse 1 doesNotExist, prepare 4 d")
    }

    /// Two instances that hung while they booted kept every other tenant from starting.
    @Test func aStartThatHangsGivesUpItsSlot() {
        var limits = PoolLimits()
        limits.maxBooting = 1
        var driver = Driver(limits)
        _ = [driver.request(1, "a"), driver.request(2, "b")]
        #expect(driver.wait(3) == "prepare 2 b")
        #expect(driver.pool.state(of: name("a")) == .provisioning)
        _ = driver.prepared(1)
        #expect(driver.request(3, "c") == "", "b has the slot now")
        _ = driver.prepared(2)
        #expect(driver.ready(2) == "grant 2 2, prepare 3 c")
    }

    /// The operator's stop of a booting instance left its slot unused until something else happened.
    @Test func aStoppedStartGivesUpItsSlot() {
        var limits = PoolLimits()
        limits.maxBooting = 1
        var driver = Driver(limits)
        _ = [driver.request(1, "a"), driver.prepared(1), driver.request(2, "b")]
        #expect(driver.stop("a") == "stop 1, prepare 2 b")
    }

    /// A failed first provision stayed cached for ever.
    @Test func aFailureIsRetriedOnceThenToldThenForgotten() {
        var driver = Driver()
        _ = driver.request(1, "a")
        #expect(driver.prepareFailed(1, .retryable) == "prepare 2 a")
        let told = driver.pool.prepareFailed(InstanceID(2), .retryable, now: driver.now)
        guard case .refuse(WaiterID(1), .startFailed(.preparation, let retryAt)) = told.first, told.count == 1 else {
            Issue.record("\(text(told))")
            return
        }
        #expect(retryAt > driver.now && retryAt <= driver.now + .milliseconds(250))
        #expect(driver.request(2, "a") == "refuse 2 failed:preparation")
        driver.now = retryAt
        #expect(driver.request(3, "a") == "prepare 3 a")
        #expect(driver.prepareFailed(3, .retryable) == "refuse 3 failed:preparation", "only the first retry is silent")
        _ = driver.wait(1)
        #expect(driver.request(4, "a") == "prepare 4 a")
        #expect(driver.prepared(4) == "boot 4")
        #expect(driver.ready(4) == "grant 4 4")
        #expect(driver.request(5, "a") == "grant 5 4")
        #expect(driver.request(6, "a") == "", "so that the tenant is not forgotten")
        #expect(driver.exited(4) == "terminate 4, prepare 5 a")
        #expect(driver.prepareFailed(5, .retryable) == "prepare 6 a", "a ready instance cleared the count")
    }

    @Test func failuresOfATenantNobodyWantsAreForgotten() {
        var driver = Driver()
        _ = [driver.request(1, "a"), driver.prepared(1), driver.exited(1), driver.prepared(2), driver.exited(2)]
        #expect(driver.pool.state(of: name("a")) == .failed)
        #expect(driver.pool.isEmpty, "a memory is neither an instance nor a waiter")
        _ = driver.wait(20)
        #expect(driver.pool.state(of: name("a")) == .cold && driver.pool.nextDeadline == nil)
    }

    @Test func pausesGrowWhileBootsKeepFailing() {
        var driver = Driver()
        var pauses: [Duration] = []
        _ = [driver.request(1, "a"), driver.prepared(1), driver.exited(1)]
        for life in UInt64(2)...14 {
            _ = [driver.request(life, "a"), driver.prepared(life)]
            guard
                case .refuse(_, .startFailed(.exit, let retryAt)) =
                    driver.pool.exited(InstanceID(life), now: driver.now).last
            else { continue }
            pauses.append(retryAt - driver.now)
            driver.now = retryAt
        }
        #expect(pauses.count == 13)
        for (doublings, pause) in pauses.enumerated() {
            let whole = min(Duration.milliseconds(250 << doublings), .seconds(15))
            #expect(pause >= whole / 2 && pause <= whole)
        }
    }

    /// The router lived, the instance was dead, clients hung.
    @Test func aCrashEndsItsSessionsAndBootsForThoseWhoWait() {
        var driver = Driver()
        _ = driver.open(1, "a", 1)
        _ = [driver.request(2, "a"), driver.request(3, "a")]
        #expect(driver.exited(1) == "terminate 1, prepare 2 a")
        #expect(driver.giveBack(1) == "" && driver.giveBack(1) == "", "the sessions of a dead instance return late")
        _ = driver.prepared(2)
        #expect(driver.ready(2) == "grant 3 2")
        #expect(driver.ready(1) == "", "a late datagram of the dead")
    }

    @Test func aBootThatHangsIsStopped() {
        var driver = Driver()
        _ = [driver.request(1, "a"), driver.prepared(1)]
        #expect(driver.wait(299) == "refuse 1 timeout:startup")
        #expect(driver.request(2, "a") == "")
        #expect(driver.wait(1) == "stop 1")
        #expect(driver.ready(1) == "", "too late")
        #expect(driver.exited(1) == "prepare 2 a")
        _ = driver.prepared(2)
        #expect(driver.wait(29) == "refuse 2 timeout:startup")
        #expect(driver.wait(271) == "stop 2")
        #expect(driver.request(3, "a") == "")
        #expect(driver.exited(2) == "refuse 3 failed:timeout")
    }

    @Test func drainingHasADeadline() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.request(2, "a")]
        #expect(driver.stop("a") == "terminate 1")
        #expect(driver.giveBack(1) == "")
        #expect(driver.request(3, "a") == "")
        #expect(driver.wait(3) == "stop 1")
        #expect(driver.giveBack(1) == "")
        #expect(driver.exited(1) == "prepare 2 a")
    }

    @Test func shutDownEndsEverything() {
        var driver = Driver()
        _ = [driver.open(1, "a", 1), driver.request(2, "b"), driver.request(3, "c")]
        #expect(driver.shutDown() == "terminate 1, refuse 2 shuttingDown, refuse 3 shuttingDown")
        #expect(driver.request(4, "d") == "refuse 4 shuttingDown")
        #expect(driver.giveBack(1) == "stop 1")
        #expect(driver.prepared(2) == "")
        #expect(!driver.pool.isEmpty)
        #expect(driver.exited(1) == "")
        #expect(driver.pool.isEmpty && driver.pool.snapshot.isEmpty && driver.pool.nextDeadline == nil)
        #expect(driver.shutDown() == "")
    }

    @Test func aSnapshotTellsEverything() {
        var driver = Driver()
        _ = driver.open(1, "a", 1)
        _ = driver.wait(5)
        _ = [driver.request(2, "a"), driver.request(3, "a"), driver.request(4, "b")]
        #expect(
            driver.pool.snapshot.sorted { $0.tenant.string < $1.tenant.string } == [
                TenantSnapshot(
                    tenant: name("a"), instance: InstanceID(1), state: .ready, leases: 2, waiters: 1,
                    since: .seconds(100)),
                TenantSnapshot(
                    tenant: name("b"), instance: InstanceID(2), state: .provisioning, leases: 0, waiters: 1,
                    since: .seconds(105)),
            ])
        #expect(driver.pool.instanceCount == 2 && driver.pool.waiterCount == 2)
    }

    /// Thousands leave, most of them from the middle of the queue: no step may look at all of them.
    @Test func thousandsOfWaitersCostLittle() {
        var limits = PoolLimits()
        limits.maxWaitersPerTenant = 100_000
        var driver = Driver(limits)
        _ = driver.request(0, "a")
        let time = ContinuousClock().measure {
            for waiter in 1...30_000 {
                _ = driver.pool.leaseRequested(WaiterID(UInt64(waiter)), for: name("a"), now: .zero)
            }
            for waiter in (15_000...30_000).reversed() {
                _ = driver.pool.waiterLeft(WaiterID(UInt64(waiter)), now: .zero)
            }
            for waiter in 1..<15_000 { _ = driver.pool.waiterLeft(WaiterID(UInt64(waiter)), now: .zero) }
        }
        #expect(driver.pool.waiterCount == 1)
        // Linear it takes a fraction of a second without optimisation; quadratic, minutes.
        #expect(time < .seconds(20))
    }
}
