import Reactor

/// Clients that have connected and not said yet what they want, the one that has been silent for longest first. They
/// make room when the last places are taken, so that a flood of half-open connections shuts nobody out.
struct SilentClients {
    private var sessions: [Token] = []
    private var first = 0

    mutating func append(_ session: Token) { sessions.append(session) }

    /// The longest silent session, taken out.
    ///
    /// - Parameter isSilent: whether a session is still there and still silent; the others are forgotten here.
    mutating func popFirst(where isSilent: (Token) -> Bool) -> Token? {
        while first < sessions.count {
            let session = sessions[first]
            first += 1
            if isSilent(session) { return session }
        }
        return nil
    }

    /// Forgets sessions that are silent no longer, once there are more of them than of all that live: a moment's work
    /// now and then.
    mutating func tidy(live: Int, where isSilent: (Token) -> Bool) {
        guard sessions.count > 2 * live + Self.slack else { return }
        sessions = sessions[first...].filter(isSilent)
        first = 0
    }

    private static let slack = 1024
}
