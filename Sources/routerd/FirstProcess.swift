import Glibc

/// What the first process of a container owes to the others: it inherits every orphan, and nobody else can reap them.
///
/// The router waits for its own children one by one, and the backends of a postmaster that was killed are not among
/// them. So where the program is process 1 it serves in a child, and what stays behind only reaps, passes signals on,
/// and ends as the child ends.
enum FirstProcess {
    /// Returns at once in every process but the first; there it returns in the child.
    static func standAside() throws(Failure) {
        guard getpid() == 1 else { return }
        var (all, before) = (sigset_t(), sigset_t())
        unsafe sigfillset(&all)
        // Before the fork, so that a signal that comes too early waits for `attend`.
        unsafe sigprocmask(SIG_BLOCK, &all, &before)
        // Ignored, it would have the kernel reap the child unseen.
        _ = signal(SIGCHLD, SIG_DFL)
        let child = fork()
        guard child >= 0 else { throw .failed("cannot start a process: \(Privileges.reason(errno))") }
        guard child == 0 else { attend(child) }
        takeTerminal()
        takeVariables()
        unsafe sigprocmask(SIG_SETMASK, &before, nil)
    }

    /// A group of its own, in the foreground: Ctrl-C reaches the child once, not by the terminal and by the first
    /// process as well, which would hurry it. The order is that of the manual: SIGTTOU is still blocked.
    private static func takeTerminal() {
        setpgid(0, 0)
        if tcgetpgrp(STDIN_FILENO) >= 0 { tcsetpgrp(STDIN_FILENO, getpgrp()) }
    }

    /// Descriptors that were passed to process 1 are the child's now, and so is the watchdog. Sources:
    /// sd_listen_fds(3), sd_watchdog_enabled(3).
    private static func takeVariables() {
        for name in ["LISTEN_PID", "WATCHDOG_PID"] {
            guard let value = unsafe getenv(name), unsafe String(cString: value) == "1" else { continue }
            unsafe setenv(name, "\(getpid())", 1)
        }
    }

    private static func attend(_ child: pid_t) -> Never {
        // A listener that stayed open here would keep clients waiting while the child stops.
        closefrom(STDERR_FILENO + 1)
        var all = sigset_t()
        unsafe sigfillset(&all)
        while true {
            var signal: CInt = 0
            guard unsafe sigwait(&all, &signal) == 0 else { continue }
            guard signal == SIGCHLD else {
                kill(child, signal)
                continue
            }
            if let status = reap(upTo: child) { exit(status) }
        }
    }

    /// Reaps whatever has ended; the exit status once `child` is among it.
    private static func reap(upTo child: pid_t) -> CInt? {
        var status: CInt = 0
        while true {
            let process = unsafe waitpid(-1, &status, WNOHANG)
            guard process > 0 else { return nil }
            guard process == child else { continue }
            // wait(2): the low seven bits are the signal that ended it, the next byte is the exit status.
            let signal = status & 0x7f
            return signal == 0 ? (status >> 8) & 0xff : 128 + signal
        }
    }
}
