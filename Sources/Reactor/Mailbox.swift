import Synchronization

/// Messages from any thread to the thread of a reactor.
public final class Mailbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    private let doorbell: Doorbell

    /// An empty mailbox beside a reactor's door.
    public init(doorbell: Doorbell) {
        self.doorbell = doorbell
    }

    /// Leaves a message, from any thread. Only the one that finds the box empty rings.
    public func post(_ message: Message) {
        let wasEmpty = messages.withLock { messages in
            messages.append(message)
            return messages.count == 1
        }
        if wasEmpty { doorbell.ring() }
    }

    /// Everything that was posted, in order; the box is empty afterwards. Called at every `.woken`.
    public func drain() -> [Message] {
        messages.withLock { messages in
            var taken: [Message] = []
            swap(&taken, &messages)
            return taken
        }
    }
}
