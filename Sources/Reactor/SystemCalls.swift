import CEpoll
import Glibc

// Calls on a descriptor that is ready, the same for every engine: they never wait.

/// What one read or write came to. Waiting and the end are values, not errors.
enum IOResult: BitwiseCopyable {
    case bytes(Int)
    case wouldBlock
    case failed(Errno)
}

/// What one accept came to.
enum AcceptResult: ~Copyable {
    case accepted(Descriptor)
    case wouldBlock
    /// Descriptors or memory have run out: trying again at once would spin. The connection stays in the backlog.
    case exhausted(Errno)
    /// The peer was gone before it was accepted, or its network was: accept(2) lists a dozen.
    case nobody
}

extension Source.Kind {
    /// One read into a buffer's room.
    func read(_ number: CInt, into buffer: inout Buffer) -> IOResult {
        while true {
            let count =
                switch self {
                case .stream, .datagrams: unsafe recv(number, buffer.room, buffer.remainingCapacity, 0)
                case .file, .listener, .process, .signals:
                    unsafe Glibc.read(number, buffer.room, buffer.remainingCapacity)
                }
            if count >= 0 {
                buffer.received(count)
                return .bytes(count)
            }
            if errno == EAGAIN { return .wouldBlock }
            if errno != EINTR { return .failed(.last) }
        }
    }

    /// One write of the front of a send queue, which is not empty.
    func writeFront(_ number: CInt, of sends: borrowing SendQueue) -> IOResult {
        guard let front = unsafe sends.front else { return .bytes(0) }
        let length = unsafe Int(front.pointee.received &- front.pointee.sent)
        return unsafe write(number, front.payload + Int(front.pointee.sent), length)
    }

    /// Writes what is readable in a buffer: one call.
    func write(_ number: CInt, _ buffer: borrowing Buffer) -> IOResult {
        unsafe write(number, buffer.lent.payload + Int(buffer.lent.pointee.sent), buffer.count)
    }

    private func write(_ number: CInt, _ start: UnsafeRawPointer, _ length: Int) -> IOResult {
        if length == 0 { return .bytes(0) }
        while true {
            let count =
                switch self {
                case .stream, .datagrams: unsafe Glibc.send(number, start, length, CInt(MSG_NOSIGNAL))
                case .file, .listener, .process, .signals: unsafe Glibc.write(number, start, length)
                }
            if count >= 0 { return .bytes(count) }
            if errno == EAGAIN { return .wouldBlock }
            if errno != EINTR { return .failed(.last) }
        }
    }
}

enum SystemCalls {
    /// `accept4(2)`.
    static func accept(_ listener: CInt) -> AcceptResult {
        let number = ce_accept(listener)
        if number >= 0 { return .accepted(Descriptor(owning: number)) }
        switch errno {
        case EAGAIN: return .wouldBlock
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .exhausted(.last)
        case EBADF, EFAULT, EINVAL, ENOTSOCK: preconditionFailure("accept4: \(Errno.last)")
        default: return .nobody
        }
    }

    /// `waitid(2)`: how a process has ended; nil while it runs.
    static func reap(_ pidfd: CInt) -> ExitStatus? {
        var code: CInt = 0
        var status: CInt = 0
        return switch unsafe ce_waitid(pidfd, &code, &status) {
        case 0: nil
        case 1: code == CInt(CLD_EXITED) ? .exited(status) : .signalled(status)
        default: .unknown
        }
    }

    /// The next signal of a signalfd; nil when none is pending.
    static func signal(_ signalfd: CInt) -> CInt? {
        let number = ce_signalfd_read(signalfd)
        precondition(number >= 0, "signalfd: \(Errno.last)")
        return number > 0 ? number : nil
    }

    /// `SO_ERROR`, which reading clears.
    static func pendingError(_ socket: CInt) -> Errno? {
        var code: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        guard unsafe getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else { return .last }
        return code == 0 ? nil : Errno(code: code)
    }

    static func makeNonBlocking(_ number: CInt) throws(ReactorError) {
        let flags = fcntl(number, F_GETFL)
        guard flags >= 0 else { throw .system(call: "fcntl", .last) }
        if flags & O_NONBLOCK != 0 { return }
        guard fcntl(number, F_SETFL, flags | O_NONBLOCK) == 0 else { throw .system(call: "fcntl", .last) }
    }
}
