import Foundation
import Glibc

/// Counts the system calls of a running process: with perf where the kernel lets it, which slows nothing down, else
/// with strace.
final class SystemCalls {
    private let tracer: ChildProcess
    private let kind: Kind

    private enum Kind {
        case perf, strace
    }

    /// Begins counting. None where neither program is there, or may look at the process.
    init?(of pid: pid_t, tools: Tools, directory: WorkDirectory) {
        if let perf = tools.perf,
            let tracer = Self.start(
                "perf", perf, ["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", "\(pid)"], in: directory)
        {
            (self.tracer, kind) = (tracer, .perf)
        } else if let strace = tools.strace,
            let tracer = Self.start("strace", strace, ["-c", "-f", "-p", "\(pid)"], in: directory)
        {
            (self.tracer, kind) = (tracer, .strace)
        } else {
            return nil
        }
    }

    /// Starts a tracer and gives it time to attach; none when it has ended by then.
    private static func start(
        _ name: String, _ path: String, _ arguments: [String], in directory: WorkDirectory
    ) -> ChildProcess? {
        guard let tracer = try? ChildProcess(name, path, arguments, as: .own, in: directory) else { return nil }
        usleep(300_000)
        return tracer.isRunning ? tracer : nil
    }

    /// Ends counting.
    ///
    /// - Returns: the number of calls since the beginning; none where the kernel did not count them.
    func end() -> Int? {
        tracer.stop(by: [(SIGINT, .seconds(5))])
        switch kind {
        case .perf:
            // count,unit,event,…
            return tracer.output.split(separator: "\n").first { $0.contains("sys_enter") }?
                .split(separator: ",", omittingEmptySubsequences: false).first.flatMap { Int($0) }
        case .strace:
            // % time, seconds, usecs/call, calls, errors, "total"
            let total = tracer.output.split(separator: "\n").last { $0.hasSuffix(" total") }
            return total?.split(separator: " ").dropFirst(3).first.flatMap { Int($0) }
        }
    }
}
