import Glibc

/// A command that is run in this process's stead: it has our terminal, our descriptors and our process group, is passed
/// the signals that we are sent, and its end is ours.
///
/// In one process group, Ctrl-C and Ctrl-Z reach both, as in a shell that had started the command itself; so a signal of
/// the terminal's, which the kernel sent, is not passed on a second time.
struct Errand {
    private let command: [String]

    /// Searched for in PATH. The signals of `Signals.forwarded` and SIGCHLD are blocked already.
    init(_ command: [String]) { self.command = command }

    /// The exit status, as a shell gives it.
    func run() throws(Failure) -> CInt {
        let process = fork()
        guard process >= 0 else { throw .failed("cannot start a process: \(Privileges.reason(errno))") }
        if process == 0 { execute() }
        while true {
            let signal = Signals.next()
            guard signal.number == SIGCHLD else {
                if signal.isToBePassedOn(to: process) { kill(process, signal.number) }
                continue
            }
            var status: CInt = 0
            if unsafe waitpid(process, &status, WNOHANG) == process { return Signals.exitStatus(status) }
        }
    }

    private func execute() -> Never {
        Signals.restoreOriginal()
        var arguments = unsafe command.map { unsafe strdup($0) }
        unsafe arguments.append(nil)
        unsafe execvp(command[0], arguments)
        let failure = errno
        Console.complain("cannot run \(command[0]): \(Privileges.reason(failure))")
        _exit(failure == ENOENT ? 127 : 126)
    }
}

/// The signals of a process that runs a command.
enum Signals {
    static let forwarded = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2]

    /// A signal that came, and from whom.
    struct Arrival {
        let number: CInt
        /// Nil for the kernel: what is typed on a terminal.
        let sender: pid_t?

        /// Not what the terminal has sent to its whole group, nor what the command itself sent.
        func isToBePassedOn(to process: pid_t) -> Bool { sender.map { $0 != process } ?? false }
    }

    nonisolated(unsafe) private static var original = sigset_t()

    private static func set(_ numbers: [CInt]) -> sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in numbers { unsafe sigaddset(&set, number) }
        return set
    }

    /// From now on they wait until they are asked for; what was blocked before is remembered, and returned.
    static func blockForwarded() -> sigset_t {
        var blocked = set(forwarded + [SIGCHLD])
        unsafe sigprocmask(SIG_BLOCK, &blocked, &original)
        // Ignored, it would have the kernel reap the command unseen.
        _ = signal(SIGCHLD, SIG_DFL)
        return unsafe original
    }

    static func restore(_ mask: sigset_t) {
        var mask = mask
        unsafe sigprocmask(SIG_SETMASK, &mask, nil)
    }

    static func restoreOriginal() { unsafe restore(original) }

    /// Waits for one.
    static func next() -> Arrival {
        var awaited = set(forwarded + [SIGCHLD])
        while true {
            var cause = unsafe siginfo_t()
            let number = unsafe sigwaitinfo(&awaited, &cause)
            guard number > 0 else { continue }
            // sigaction(2): zero and below are processes.
            let sender = unsafe cause.si_code <= 0 ? cause._sifields._kill.si_pid : nil
            return Arrival(number: number, sender: sender)
        }
    }

    /// One that has come and would end a program.
    static func pending() -> CInt? {
        var waiting = sigset_t()
        unsafe sigpending(&waiting)
        return [SIGINT, SIGTERM, SIGHUP, SIGQUIT].first { unsafe sigismember(&waiting, $0) == 1 }
    }

    static func waitForChild(milliseconds: Int) {
        var awaited = set([SIGCHLD])
        var patience = timespec(tv_sec: 0, tv_nsec: milliseconds * 1_000_000)
        unsafe sigtimedwait(&awaited, nil, &patience)
    }

    /// Waits for the end of a child.
    static func status(ofEnded process: pid_t) -> CInt {
        var status: CInt = 0
        while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
        return exitStatus(status)
    }

    /// wait(2): the low seven bits are the signal that ended it, the next byte is the exit status.
    static func exitStatus(_ status: CInt) -> CInt {
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }
}
