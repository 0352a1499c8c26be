import Foundation
import Glibc

/// Main memory, in bytes.
enum Memory {
    /// What could be had without swapping, in the kernel's own estimate (MemAvailable of proc_meminfo(5)). What all
    /// processes share counts once in a difference of it, which no sum of their sizes does.
    static func available() throws(Failure) -> Int {
        try value("MemAvailable:", in: "/proc/meminfo")
    }

    /// What of a process is in memory, shared pages included.
    static func resident(_ pid: pid_t) throws(Failure) -> Int {
        try value("VmRSS:", in: "/proc/\(pid)/status")
    }

    /// What of a process is in memory, each shared page divided by the number of its users. None where this may not be
    /// looked at.
    static func share(of pid: pid_t) -> Int? {
        try? value("Pss:", in: "/proc/\(pid)/smaps_rollup")
    }

    private static func value(_ label: String, in path: String) throws(Failure) -> Int {
        let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(label) }),
            let kilobytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        else { throw .unreadable(path, output: "") }
        return kilobytes << 10
    }
}
