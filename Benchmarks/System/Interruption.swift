import Glibc
import Synchronization

/// The wish to stop early, as a signal brings it. The handler only notes the fact: whoever waits for something asks,
/// throws, and everything that was started is ended on the one way out.
enum Interruption {
    private static let noted = Atomic(false)

    /// Turns SIGINT, SIGTERM and SIGHUP into a noted fact. A handler, not "ignore": programs started later would
    /// inherit that.
    static func watch() {
        // The first use initialises; a handler must not be that use.
        noted.store(false, ordering: .relaxed)
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            Glibc.signal(signal) { _ in Interruption.noted.store(true, ordering: .relaxed) }
        }
    }

    static func check() throws(Failure) {
        if noted.load(ordering: .relaxed) { throw .interrupted }
    }
}
