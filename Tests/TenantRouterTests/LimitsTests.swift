import Reactor
import TenantPool
import Testing
import WireProtocol

@testable import TenantRouter

@Suite struct LimitsTests {
    @Test func theDescriptorsOfAllClientsAndInstancesFitTheLimit() {
        for descriptors in [400, 1024, 1025, 4096, 1 << 20] {
            for instances in [1, 10, 100] {
                let clients = Limits.clientsThatFit(maxInstances: instances, descriptors: descriptors)
                guard clients > 0 else { continue }
                let used =
                    Limits.descriptorsOfTheRouter + instances * Limits.descriptorsPerInstance
                    + (clients + Limits.refusedClients) * Limits.descriptorsPerSession
                #expect(used <= descriptors, "\(instances) instances, \(descriptors) descriptors")
                #expect(used + Limits.descriptorsPerSession > descriptors, "and none is left unused")
            }
        }
    }

    @Test func eachWorkerTakesDescriptorsOfItsOwn() {
        let one = Limits.clientsThatFit(maxInstances: 10, descriptors: 4096)
        let four = Limits.clientsThatFit(maxInstances: 10, workers: 4, descriptors: 4096)
        #expect((one - four) * Limits.descriptorsPerSession == 3 * Limits.descriptorsPerWorker)
    }

    @Test func tooFewDescriptorsLeaveNoClient() {
        #expect(Limits.clientsThatFit(maxInstances: 100, descriptors: 64) <= 0)
        #expect(Limits.clientsThatFit(maxInstances: 1, descriptors: 0) <= 0)
    }

    /// What Debian gives a process by default still serves a few hundred clients with all defaults.
    @Test func theUsualLimitServesTheDefaults() {
        let clients = Limits.clientsThatFit(maxInstances: RouterConfiguration().maxInstances, descriptors: 1024)
        #expect(clients >= 200)
    }

    @Test func theDescriptorLimitIsThisProcesss() { #expect(Limits.descriptors > 10) }

    @Test func deadlinesAreInTheOrderThatTheyNeed() {
        #expect(Limits.backendRetryPause < Limits.backendConnectDeadline)
        #expect(Limits.backendConnectDeadline < RouterConfiguration().queueTimeout)
        #expect(Limits.lingerDeadline < RouterConfiguration().startupTimeout)
        #expect(Limits.refusedClients > 0)
        #expect(Limits.pipelinedBytes >= StartupReader.bodyLimit)
    }

    @Test func aVanishedClientIsNoticedWithinTwoMinutes() throws {
        let keepalive = try #require(Limits.clientSockets.keepalive)
        #expect(Limits.clientSockets.noDelay)
        #expect(keepalive.idle + keepalive.interval * keepalive.count <= .seconds(120))
        #expect(try #require(Limits.clientSockets.userTimeout) <= .seconds(120))
    }

    @Test func thePoolsLimitsAreTheConfigurations() {
        let limits = PoolLimits(
            RouterConfiguration(
                maxInstances: 7, maxConnections: 8, queueTimeout: .seconds(9), idleTimeout: .seconds(10)))
        #expect(limits.maxInstances == 7 && limits.maxConnections == 8)
        #expect(limits.queueTimeout == .seconds(9) && limits.idleTimeout == .seconds(10))
        #expect(limits.drainTimeout == .zero)
        #expect(limits.maxWaitersPerTenant >= 2000)
    }
}
