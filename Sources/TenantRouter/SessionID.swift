import Reactor
import TenantPool

/// A session of the router's, whichever lane it lives on: a token alone is a lane's own.
///
///     63          32 31   28 27          0
///     ┌─────────────┬───────┬────────────┐
///     │ generation  │ lane  │ slot       │
///     └─────────────┴───────┴────────────┘
///
/// The slot of a session has 28 bits, because each has a source of the reactor's, whose slot has no more.
struct SessionID: Hashable, Sendable, BitwiseCopyable {
    private static let shift: UInt64 = 28
    private static let mask = UInt64(Limits.workers - 1) << shift

    private let raw: UInt64

    init(_ token: Token, lane: Int) { raw = token.raw | UInt64(lane) << Self.shift }

    /// The session that the pool knows as this waiter.
    init(_ waiter: WaiterID) { raw = waiter.raw }

    var waiter: WaiterID { WaiterID(raw) }
    var lane: Int { Int((raw & Self.mask) >> Self.shift) }
    var token: Token { Token(raw: raw & ~Self.mask) }
}
