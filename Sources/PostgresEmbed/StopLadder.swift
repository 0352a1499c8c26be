/// The orderly way down: SIGINT, SIGQUIT, SIGKILL, each with its deadline. Pure; the executor sends the signals.
public struct StopLadder: Sendable, Equatable {
    /// How much patience the first rung gets.
    public enum Speed: Sendable { case orderly, hurried }
    /// What to do now: send this signal, and come back when the deadline expires and the postmaster still lives.
    public struct Step: Sendable, Equatable {
        public let signal: CInt
        public let deadline: Duration
    }

    public init() {}
    public mutating func begin(now: Duration, speed: Speed) -> Step { fatalError("written next") }
    /// The deadline passed and the postmaster lives: the next rung. The last repeats for ever.
    public mutating func expired(now: Duration) -> Step { fatalError("written next") }
    /// Somebody lost patience: skips to SIGQUIT. Nil when that rung, or a later one, has been reached.
    public mutating func hurry(now: Duration) -> Step? { fatalError("written next") }
}
