/// The only thread-safe door into a reactor.
public final class Doorbell: Sendable {
    let descriptor: Descriptor

    init() throws(ReactorError) {
        fatalError("not yet")
    }

    /// Wakes the reactor, from any thread: `.woken` follows. Rings before that are one.
    public func ring() {
        fatalError("not yet")
    }
}
