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
        /// Whether a cancel request was carried to the backend: it may still be on its way when the session ends.
        var isUsed = false
    }

    private var targets: [CancelKey: Target] = [:]
    private var issued: [UInt64: CancelKey] = [:]

    /// Makes the key that the client gets for the backend's own, with a fresh secret of the same length: protocol 3.0
    /// allows four bytes and nothing else.
    mutating func issue(for key: CancelKey, of instance: InstanceID, session number: UInt64) -> CancelKey {
        revoke(session: number)
        while true {
            let fresh = CancelKey(processID: key.processID, secret: Self.secret(byteCount: key.secret.count))
            guard targets[fresh] == nil else { continue }
            targets[fresh] = Target(instance: instance, key: key)
            issued[number] = fresh
            return fresh
        }
    }

    /// From the kernel, eight bytes a call.
    private static func secret(byteCount: Int) -> [UInt8] {
        var random = SystemRandomNumberGenerator()
        var secret: [UInt8] = []
        while secret.count < byteCount {
            let word = random.next()
            for shift in stride(from: 0, to: 64, by: 8) where secret.count < byteCount {
                secret.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        return secret
    }

    /// The backend that a cancel request means; a wrong key means none, and nobody learns that it was wrong.
    func target(of key: CancelKey) -> Target? { targets[key] }

    /// The same, and the request is carried to it.
    mutating func use(_ key: CancelKey) -> Target? {
        targets[key]?.isUsed = true
        return targets[key]
    }

    /// The process id of a session's backend, which its key carries.
    func backend(ofSession number: UInt64) -> Int32? { issued[number]?.processID }

    /// The session has ended, and its backend lives on: answers the backend's own key, unless a cancel request for this
    /// session could strike the next one.
    mutating func take(session number: UInt64) -> CancelKey? {
        guard let issued = issued[number], let target = targets[issued] else { return nil }
        revoke(session: number)
        return target.isUsed ? nil : target.key
    }

    /// The session has ended: its key is worth nothing any more.
    mutating func revoke(session number: UInt64) {
        guard let key = issued.removeValue(forKey: number) else { return }
        targets[key] = nil
    }
}
