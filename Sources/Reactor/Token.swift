/// The name of one source of completions: a slot and the generation that lives in it.
///
/// A slot is reused, a token is not: the generation changes with every insertion and removal, so a late event that
/// carries the token of a slot's earlier tenant is recognised by one comparison. `raw` is what the kernel keeps for us
/// in `epoll_data` or `user_data`.
///
/// Sources use 28 bits of the slot. The highest bit marks deadlines; the three below it are free for an engine to say
/// in `user_data` which of a source's operations has completed.
public struct Token: Hashable, Sendable, BitwiseCopyable {
    /// Slot in the low 32 bits, generation in the high 32. Never 0 for a token that was handed out.
    public let raw: UInt64

    /// A token from what the kernel gave back.
    @inlinable
    public init(raw: UInt64) {
        self.raw = raw
    }

    @inlinable
    init(slot: UInt32, generation: UInt32) {
        self.raw = UInt64(generation) << 32 | UInt64(slot)
    }

    /// The index of the slot.
    @inlinable
    public var slot: UInt32 { UInt32(truncatingIfNeeded: raw) }

    /// How many times the slot had changed hands when this token was made; odd while the slot is taken.
    @inlinable
    public var generation: UInt32 { UInt32(truncatingIfNeeded: raw >> 32) }
}

extension Token: CustomStringConvertible {
    /// Slot and generation, for a log.
    public var description: String { "\(slot)#\(generation)" }
}
