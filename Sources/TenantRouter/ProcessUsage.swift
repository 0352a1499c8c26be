import Glibc
import Reactor

/// What the system says of this process, and of instances: proc(5).
struct ProcessUsage: Sendable {
    let residentBytes: Int
    let openDescriptors: Int
    let cpuSeconds: Double
    /// Seconds since 1970.
    let started: Double

    /// Reads it now; takes some tens of microseconds.
    static func now(started: Double) -> ProcessUsage {
        var usage = rusage()
        unsafe getrusage(CInt(RUSAGE_SELF.rawValue), &usage)
        let seconds = { (time: timeval) in Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000 }
        return ProcessUsage(
            residentBytes: residentPages * pageSize, openDescriptors: countDescriptors(),
            cpuSeconds: seconds(usage.ru_utime) + seconds(usage.ru_stime), started: started)
    }

    /// Of this process, in memory.
    static var residentPages: Int {
        let words = ProcessFile.text("/proc/self/statm")?.split(separator: " ")
        return words?.dropFirst().first.flatMap { Int($0) } ?? 0
    }

    /// In bytes.
    static var pageSize: Int { sysconf(CInt(_SC_PAGESIZE)) }

    /// Linux 6.2 tells their number as the directory's size; before, each is an entry.
    private static func countDescriptors() -> Int {
        var status = stat()
        if unsafe stat("/proc/self/fd", &status) == 0, status.st_size > 0 { return Int(status.st_size) }
        guard let directory = unsafe opendir("/proc/self/fd") else { return 0 }
        defer { unsafe closedir(directory) }
        // "." and ".." and the directory itself.
        var count = -3
        while unsafe readdir(directory) != nil { count += 1 }
        return count
    }

    /// Under the names that every exporter has for them.
    func write(to page: inout MetricsPage) {
        page.gauge("process_resident_memory_bytes", "Resident memory of the router itself.", residentBytes)
        page.gauge("process_open_fds", "Open descriptors of the router.", openDescriptors)
        page.gauge("process_max_fds", "Descriptors that it may have.", Limits.descriptors)
        page.counter("process_cpu_seconds_total", "Processor time of the router.", cpuSeconds)
        page.gauge("process_start_time_seconds", "When it started, in seconds since 1970.", started)
    }
}

/// What an instance takes of the memory.
enum InstanceMemory {
    /// What its processes have to themselves, and share with each other, in bytes; pages of files, which all instances
    /// share, are not in it. Nil when it is gone.
    static func bytes(ofPostmaster process: Int32) -> Int? {
        guard let postmaster = share(of: process) else { return nil }
        let children = ProcessFile.text("/proc/\(process)/task/\(process)/children")?.split(separator: " ") ?? []
        return children.compactMap { Int32($0).flatMap { share(of: $0) } }.reduce(postmaster, +)
    }

    /// A page that several have counts for each of them with its part: what a child has not written yet is its
    /// postmaster's too.
    private static func share(of process: Int32) -> Int? {
        guard let text = ProcessFile.text("/proc/\(process)/smaps_rollup") else { return nil }
        return ["Pss_Anon:", "Pss_Shmem:"].reduce(0) { $0 + bytes($1, in: text) }
    }

    /// `Pss_Anon:        1234 kB` → 1,263,616
    private static func bytes(_ name: String, in text: String) -> Int {
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }
}

private enum ProcessFile {
    /// The beginning of a file of proc(5): 8 KB at most.
    static func text(_ path: String) -> String? {
        let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { return nil }
        let file = Descriptor(owning: number)
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(file.number, $0.baseAddress, $0.count) }
        return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }
}
