import TenantPool

/// Which instances go down while the router stops. A thousand at once would share processors and disk so that hardly any
/// has written its last checkpoint when its patience ends; so some do, and each of the others follows one that is gone.
struct StopQueue {
    private let limit: Int
    private var underWay: Set<InstanceID> = []
    /// The one to follow next is the last.
    private var waiting: [InstanceID] = []

    /// - Parameter limit: how many go down side by side.
    init(limit: Int) { self.limit = limit }

    /// Whether this one may begin now; if not, ``left(_:)`` will name it.
    mutating func enter(_ id: InstanceID) -> Bool {
        guard underWay.count >= limit else {
            underWay.insert(id)
            return true
        }
        waiting.append(id)
        return false
    }

    /// This one is gone, whether it had begun or not. Returns the one that may begin.
    mutating func left(_ id: InstanceID) -> InstanceID? {
        guard underWay.remove(id) != nil else {
            waiting.removeAll { $0 == id }
            return nil
        }
        guard let next = waiting.popLast() else { return nil }
        underWay.insert(next)
        return next
    }

    /// All of them begin at once, wherever they stand.
    mutating func hurry() { waiting = [] }
}
