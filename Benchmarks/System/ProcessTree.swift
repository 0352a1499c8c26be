import Foundation
import Glibc

/// A process and all its descendants, as they are at one moment.
struct ProcessTree {
    /// The root first.
    let pids: [pid_t]
    /// The root's own children: of routerd, its postmasters.
    let children: Int
    /// What all of them have used since they started, and what their children used that have ended.
    let cpu: Duration

    init(of root: pid_t) {
        var parents: [pid_t: Entry] = [:]
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        for pid in names.compactMap({ pid_t($0) }) { parents[pid] = Entry(pid) }
        var found = [root]
        var next = 0
        var childrenOf: [pid_t: [pid_t]] = [:]
        for (pid, entry) in parents { childrenOf[entry.parent, default: []].append(pid) }
        while next < found.count {
            found += childrenOf[found[next]] ?? []
            next += 1
        }
        pids = found
        children = childrenOf[root]?.count ?? 0
        cpu = found.reduce(.zero) { sum, pid in
            sum + ((try? ProcessCPU(of: pid))?.total ?? .zero) + (parents[pid]?.ofReapedChildren ?? .zero)
        }
    }

    /// From a process's stat (proc_pid_stat(5)).
    private struct Entry {
        let parent: pid_t
        /// cutime and cstime.
        let ofReapedChildren: Duration

        init?(_ pid: pid_t) {
            // The second field, in parentheses, may hold anything.
            guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
                let name = stat.lastIndex(of: ")")
            else { return nil }
            let fields = stat[name...].split(separator: " ")
            guard fields.count > 15, let parent = pid_t(fields[2]), let user = Int(fields[14]),
                let system = Int(fields[15])
            else { return nil }
            self.parent = parent
            ofReapedChildren = .seconds(1) * (user + system) / Int(sysconf(CInt(_SC_CLK_TCK)))
        }
    }
}
