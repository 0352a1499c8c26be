import Synchronization
import TenantPool

/// Keeps an instance from hibernating and from making room for others, until it is released or nobody holds it any
/// more. It does not keep an instance from crashing, from being dropped, or from stopping with its pool; what connects
/// afterwards finds it started anew, without this lease.
public final class InstanceLease: Sendable {
    /// The database.
    public let instance: PooledInstance

    private let id: InstanceID
    private let isReleased = Atomic(false)

    init(of id: InstanceID, _ instance: PooledInstance) {
        self.id = id
        self.instance = instance
    }

    deinit { release() }

    /// What drivers connect with; see ``InstancePool/connectionString(for:)``. Their sessions have leases of their own.
    public var connectionString: String { instance.connectionString }

    /// Gives the lease back. Idempotent.
    public func release() {
        guard !isReleased.exchange(true, ordering: .relaxed) else { return }
        let id = id
        instance.pool.router.tell { $0.returnLease(of: id) }
    }
}
