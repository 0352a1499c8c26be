import Glibc
import Reactor

/// What this machine, or the cgroup that we run in, has to give.
struct Machine {
    var processors: Int
    var memoryBytes: Int
    /// A name of the time zone database, such as `Europe/Berlin`.
    var timeZone: String

    /// Asks the kernel.
    static func current() -> Machine {
        let pages = sysconf(CInt(_SC_PHYS_PAGES))
        let pageSize = sysconf(CInt(_SC_PAGESIZE))
        let processors = sysconf(CInt(_SC_NPROCESSORS_ONLN))
        let group = ControlGroup()
        return Machine(
            processors: min(max(processors, 1), group.processors ?? .max),
            memoryBytes: min(max(pages, 1) * max(pageSize, 1), group.memoryBytes ?? .max),
            timeZone: hostTimeZone())
    }

    /// As initdb finds it: `TZ`, else what /etc/localtime links to, else UTC. Only a name that the database has.
    private static func hostTimeZone() -> String {
        let variable = unsafe getenv("TZ").map { unsafe String(cString: $0) }
        let link = FileSystem.target(ofLink: "/etc/localtime").flatMap { target -> String? in
            guard let names = target.range(ofLast: "zoneinfo/") else { return nil }
            return String(target[names...])
        }
        for name in [variable, link].compactMap({ $0 }) where !name.hasPrefix("/") && !name.contains("..") {
            if FileSystem.status(ofPath: "/usr/share/zoneinfo/" + name)?.kind == .file { return name }
        }
        return "UTC"
    }
}

/// What our own cgroup and all above it leave us, version 2: version 1 limits nothing here. Source: the kernel's
/// admin-guide/cgroup-v2.
struct ControlGroup {
    /// What `/proc` and `/sys` are below.
    var root = ""

    /// `memory.max`; nil where nothing is limited.
    var memoryBytes: Int? { lines(of: "memory.max").compactMap { Int($0) }.min() }

    /// `cpu.max`: microseconds of processor time in each period; nil where nothing is limited.
    var processors: Int? {
        lines(of: "cpu.max").compactMap { line in
            let numbers = line.split(separator: " ").compactMap { Int($0) }
            return numbers.count == 2 && numbers[1] > 0 ? max(1, numbers[0] / numbers[1]) : nil
        }.min()
    }

    private func lines(of name: String) -> [String] {
        guard let membership = firstLine(of: "/proc/self/cgroup"), membership.hasPrefix("0::/") else { return [] }
        var parts = membership.dropFirst(4).split(separator: "/")
        var lines: [String] = []
        while true {
            let path = (["/sys/fs/cgroup"] + parts.map(String.init) + [name]).joined(separator: "/")
            if let line = firstLine(of: path) { lines.append(line) }
            if parts.popLast() == nil { return lines }
        }
    }

    private func firstLine(of path: String) -> String? {
        guard let file = try? FileSystem.open(root + path, O_RDONLY),
            let bytes = try? FileSystem.read(file, path: root + path, limit: 4096)
        else { return nil }
        return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}

extension String {
    /// Where the text behind the last occurrence of `part` begins.
    fileprivate func range(ofLast part: String) -> String.Index? {
        indices.reversed().first { self[$0...].hasPrefix(part) }.map { index(at: part.count, from: $0) }
    }

    private func index(at distance: Int, from start: String.Index) -> String.Index {
        index(start, offsetBy: distance)
    }
}
