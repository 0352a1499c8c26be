import TenantPool
import Testing
import WireProtocol

@testable import TenantRouter

@Suite struct CancelKeysTests {
    private let backendKey = CancelKey(processID: 4711, secret: [1, 2, 3, 4])

    /// Notifications carry the process id and drivers compare it; protocol 3.0 allows four bytes of secret only.
    @Test(arguments: [4, 32, 256]) func processIDAndLengthStay(_ length: Int) {
        let key = CancelKey(processID: 4711, secret: .init(repeating: 0, count: length))
        var keys = CancelKeys()
        let issued = keys.issue(for: key, of: InstanceID(1), session: 0)
        #expect(issued.processID == 4711)
        #expect(issued.secret.count == length)
        #expect(issued.secret != key.secret)
    }

    @Test func theRightKeyLeadsToTheBackend() throws {
        var keys = CancelKeys()
        let issued = keys.issue(for: backendKey, of: InstanceID(1), session: 0)
        let target = try #require(keys.target(of: issued))
        #expect(target.key == backendKey && target.instance == InstanceID(1))
    }

    @Test func noOtherKeyDoes() {
        var keys = CancelKeys()
        let issued = keys.issue(for: backendKey, of: InstanceID(1), session: 0)
        #expect(keys.target(of: backendKey) == nil, "the backend's own")
        #expect(keys.target(of: CancelKey(processID: 4712, secret: issued.secret)) == nil)
        for bit in 0..<32 {
            var secret = issued.secret
            secret[bit / 8] ^= 1 << (bit % 8)
            #expect(keys.target(of: CancelKey(processID: 4711, secret: secret)) == nil)
        }
        #expect(keys.target(of: CancelKey(processID: 4711, secret: issued.secret + [0])) == nil)
    }

    @Test func anEndedSessionsKeyIsWorthNothing() {
        var keys = CancelKeys()
        let issued = keys.issue(for: backendKey, of: InstanceID(1), session: 3)
        keys.revoke(session: 3)
        #expect(keys.target(of: issued) == nil)
        keys.revoke(session: 3)
    }

    @Test func anotherAttemptOfASessionReplacesItsKey() {
        var keys = CancelKeys()
        let first = keys.issue(for: backendKey, of: InstanceID(1), session: 3)
        let second = keys.issue(for: backendKey, of: InstanceID(1), session: 3)
        #expect(keys.target(of: first) == nil && keys.target(of: second) != nil)
        keys.revoke(session: 3)
        #expect(keys.target(of: second) == nil)
    }

    @Test func aBackendThatLivesOnTakesItsOwnKeyAlong() {
        var keys = CancelKeys()
        let issued = keys.issue(for: backendKey, of: InstanceID(1), session: 3)
        let taken = [keys.take(session: 3), keys.take(session: 3)]
        #expect(taken == [backendKey, nil])
        #expect(keys.target(of: issued) == nil)
    }

    /// It may still be on its way.
    @Test func aCancelRequestWasCarriedToIt() {
        var keys = CancelKeys()
        let issued = keys.issue(for: backendKey, of: InstanceID(1), session: 3)
        let target = keys.use(issued)
        #expect(target?.key == backendKey)
        let taken = keys.take(session: 3)
        #expect(taken == nil && keys.target(of: issued) == nil)
    }

    /// Two instances may give out the same pair; each client still cancels its own backend only.
    @Test func twoBackendsWithTheSameKeyAreToldApart() throws {
        var keys = CancelKeys()
        let first = keys.issue(for: backendKey, of: InstanceID(1), session: 0)
        let second = keys.issue(for: backendKey, of: InstanceID(2), session: 1)
        #expect(first != second)
        #expect(try #require(keys.target(of: first)).instance == InstanceID(1))
        keys.revoke(session: 0)
        #expect(keys.target(of: first) == nil)
        #expect(try #require(keys.target(of: second)).instance == InstanceID(2))
    }
}
