import Foundation
import Glibc

/// The CPU time a process has used since it started, threads that have ended included; its children not.
struct ProcessCPU {
    /// Exact, in nanoseconds (clock_getcpuclockid(3)).
    let total: Duration
    /// In user space. The kernel splits the total by sampling at its tick (proc_pid_stat(5)), so this needs seconds
    /// of work to mean something.
    let user: Duration

    var system: Duration { total - user }

    /// Reads the clocks of a living process, of any user.
    init(of pid: pid_t) throws(Failure) {
        var clock = clockid_t()
        var time = timespec()
        guard unsafe clock_getcpuclockid(pid, &clock) == 0, unsafe clock_gettime(clock, &time) == 0 else {
            throw .system("Process \(pid) has no CPU clock: it has ended.")
        }
        total = .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
        user = try total * Self.userShare(of: pid)
    }

    private init(total: Duration, user: Duration) {
        self.total = total
        self.user = user
    }

    static func - (later: ProcessCPU, earlier: ProcessCPU) -> ProcessCPU {
        ProcessCPU(total: later.total - earlier.total, user: later.user - earlier.user)
    }

    /// utime / (utime + stime), the fields 14 and 15 of stat; the second field, in parentheses, may hold anything.
    private static func userShare(of pid: pid_t) throws(Failure) -> Double {
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let name = stat.lastIndex(of: ")")
        else { throw .system("/proc/\(pid)/stat cannot be read.") }
        let fields = stat[name...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else {
            throw .unreadable("/proc/\(pid)/stat", output: stat)
        }
        return user + system > 0 ? user / (user + system) : 0
    }
}
