/// How much one reactor holds. Every field says its unit and why it has its default.
public struct ReactorLimits: Sendable, Equatable {
    /// Sources (sockets, listeners, processes, signals) at one time. A source costs about 100 bytes of memory once
    /// used; the caller checks the number against `RLIMIT_NOFILE`.
    public var sources = 65_536
    /// Deadlines at one time. Two per session (statement and queue) with room for instances.
    public var deadlines = 262_144
    /// Bytes of one buffer with its header. Relayed in bulk from a Unix socket to a TCP socket, a gigabyte costs 400 ms
    /// of processor time with 16 KB, 300 with 32 KB, 220 with 64 KB and no less with 128 KB. A small message touches
    /// one page of it.
    public var bufferBytes = 65_536
    /// Free buffers that are kept warm for the next read; what comes back beyond them goes back to the kernel.
    public var idleBuffers = 64
    /// Bytes that one source may receive in one tick before every other source has had its turn.
    public var receiveBudgetBytes = 262_144
    /// Connections that one listener may hand over in one tick: a storm of connects must not starve sessions.
    public var acceptBudget = 64
    /// Kernel events fetched by one wait. More live in the kernel's list and come in turn.
    public var eventsPerWait = 256

    /// The defaults.
    public init() {}
}
