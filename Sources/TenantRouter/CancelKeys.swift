import TenantPool
import WireProtocol

/// Who may cancel what. The router hands each client the backend's own process id with a secret of its own making,
/// because a cancel request names no database and two instances may have given out the same pair.
///
/// PostgreSQL manual, "Canceling Requests in Progress".
struct CancelKeys {
    /// What a valid cancel request is turned into.
    struct Target {
        let instance: InstanceID
        /// The key that the backend itself gave out.
        let key: CancelKey
    }

    private var targets: [CancelKey: Target] = [:]
    private var issued: [UInt64: CancelKey] = [:]

    /// Makes the key that the client gets for the backend's own, with a fresh secret of the same length: protocol 3.0
    /// allows four bytes and nothing else.
    mutating func issue(for key: CancelKey, of instance: InstanceID, session number: UInt64) -> CancelKey {
        revoke(session: number)
        var random = SystemRandomNumberGenerator()
        while true {
            let secret = key.secret.map { _ in UInt8.random(in: .min ... .max, using: &random) }
            let fresh = CancelKey(processID: key.processID, secret: secret)
            guard targets[fresh] == nil else { continue }
            targets[fresh] = Target(instance: instance, key: key)
            issued[number] = fresh
            return fresh
        }
    }

    /// The backend that a cancel request means; a wrong key means none, and nobody learns that it was wrong.
    func target(of key: CancelKey) -> Target? { targets[key] }

    /// The process id of a session's backend, which its key carries.
    func backend(ofSession number: UInt64) -> Int32? { issued[number]?.processID }

    /// The session has ended: its key is worth nothing any more.
    mutating func revoke(session number: UInt64) {
        guard let key = issued.removeValue(forKey: number) else { return }
        targets[key] = nil
    }
}
