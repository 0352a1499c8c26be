import TenantPool
import Testing

@testable import TenantRouter

@Suite struct PausesTests {
    private let instance = InstanceID(3)

    @Test func aReconnectMeansWhatIsThere() {
        var pauses = Pauses()
        #expect(!pauses.isToReconnect(instance, epoch: 0))
        pauses.reconnect(instance, .ready, before: 2)
        #expect(pauses.isToReconnect(instance, epoch: 1) && !pauses.isToReconnect(instance, epoch: 2))
        #expect(!pauses.isToReconnect(InstanceID(4), epoch: 1))
    }

    /// A second reconnect, while the instance stopped, made the first forgotten, and nobody was waited for.
    @Test(arguments: [TenantState.draining, .hibernating, .dropping])
    func atAnInstanceThatStopsItMeansEverybody(state: TenantState) {
        var pauses = Pauses()
        pauses.reconnect(instance, .ready, before: 2)
        pauses.reconnect(instance, state, before: nil)
        #expect(pauses.isToReconnect(instance, epoch: 1) && pauses.isToReconnect(instance, epoch: 7))
    }

    @Test(arguments: [TenantState.provisioning, .claiming, .booting])
    func atAnInstanceThatStartsItMeansNobody(state: TenantState) {
        var pauses = Pauses()
        pauses.reconnect(instance, state, before: nil)
        #expect(!pauses.isToReconnect(instance, epoch: 0))
    }
}
