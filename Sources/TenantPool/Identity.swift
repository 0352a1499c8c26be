/// One client that asks for a lease, named by whoever asks. May be used again once the pool has answered it.
public struct WaiterID: Hashable, Sendable, BitwiseCopyable {
    /// The asker's own number.
    public let raw: UInt64

    /// A waiter by that number.
    public init(_ raw: UInt64) { self.raw = raw }
}

/// One life of a tenant's postmaster, from its preparation to its exit. Never used again.
public struct InstanceID: Hashable, Sendable, BitwiseCopyable {
    /// Counts up from 1.
    public let raw: UInt64

    /// An instance by that number.
    public init(_ raw: UInt64) { self.raw = raw }
}
