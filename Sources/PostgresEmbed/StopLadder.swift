import Glibc

/// The orderly way down: SIGINT, SIGQUIT, SIGKILL, each with its deadline. Pure; the executor sends the signals.
///
/// ```
/// SIGINT  fast shutdown: sessions end, a checkpoint is written        10 s, or 2 s when hurried
/// SIGQUIT immediate: as after a crash, nothing acknowledged is lost    6 s (PostgreSQL kills stragglers after 5)
/// SIGKILL                                                              2 s, then again: only the kernel is in the way
/// ```
/// Source: PostgreSQL manual, section 19.5.
public struct StopLadder: Sendable, Equatable {
    /// How much patience the first rung gets.
    public enum Speed: Sendable { case orderly, hurried }

    /// What to do now: send this signal, and come back when the deadline expires and the postmaster still lives.
    public struct Step: Sendable, Equatable {
        /// To be sent at once.
        public let signal: CInt
        /// An instant, counted as `now` is.
        public let deadline: Duration
    }

    private enum Rung { case above, fast, immediate, kill }
    private var rung = Rung.above

    /// At the top: no signal was sent.
    public init() {}

    /// The instance is to stop. Asked again, it repeats the rung that it stands on.
    public mutating func begin(now: Duration, speed: Speed) -> Step {
        guard rung == .above else { return step(now: now) }
        rung = .fast
        switch speed {
        case .orderly: return step(now: now)
        case .hurried: return Step(signal: SIGINT, deadline: now + .seconds(2))
        }
    }

    /// The deadline passed and the postmaster lives: the next rung. The last repeats for ever.
    public mutating func expired(now: Duration) -> Step {
        switch rung {
        case .above: rung = .fast
        case .fast: rung = .immediate
        case .immediate, .kill: rung = .kill
        }
        return step(now: now)
    }

    /// Somebody lost patience: skips to SIGQUIT. Nil when that rung, or a later one, has been reached.
    public mutating func hurry(now: Duration) -> Step? {
        switch rung {
        case .above, .fast:
            rung = .immediate
            return step(now: now)
        case .immediate, .kill:
            return nil
        }
    }

    private func step(now: Duration) -> Step {
        switch rung {
        case .above, .fast: Step(signal: SIGINT, deadline: now + .seconds(10))
        case .immediate: Step(signal: SIGQUIT, deadline: now + .seconds(6))
        case .kill: Step(signal: SIGKILL, deadline: now + .seconds(2))
        }
    }
}
