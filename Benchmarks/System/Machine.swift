import Foundation
import Glibc

/// Where the figures come from.
struct Machine: Codable {
    let cpu: String
    let cores: Int
    let memoryGigabytes: Int
    let kernel: String
    let postgres: String
    let pgbouncer: String?
    let date: Date
    /// The part of all cores' time that other work took in the second before the first measurement. Figures of a busy
    /// machine are its neighbours' figures too.
    let busy: Double

    /// Takes a second, in which the peers should be up and idle.
    init(tools: Tools, peers: [Peer.Kind]) throws(Failure) {
        let information = ProcessInfo.processInfo
        cpu = Self.field("model name", in: "/proc/cpuinfo") ?? "unknown CPU"
        cores = information.activeProcessorCount
        memoryGigabytes = Int((Double(information.physicalMemory) / Double(1 << 30)).rounded())
        kernel =
            (try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8))?
            .trimmingCharacters(in: .newlines) ?? "unknown"
        postgres = Self.version(tools.postgres("postgres"))
        pgbouncer = peers.contains(.pgbouncer) ? tools.pgbouncer.map(Self.version) : nil
        date = Date()
        busy = try Self.busyPart(of: .seconds(1))
    }

    /// For people.
    var text: String {
        let line = ["\(cpu), \(cores) cores, \(memoryGigabytes) GB", "Linux \(kernel)", postgres, pgbouncer].compactMap(
            \.self
        )
        .joined(separator: "; ")
        guard busy > 0.05 else { return line }
        return line + "\nThis machine was not idle: other work took \(Int((busy * 100).rounded())) % of it."
    }

    private static func busyPart(of time: Duration) throws(Failure) -> Double {
        let before = try ticks()
        let deadline = ContinuousClock.now + time
        while ContinuousClock.now < deadline {
            usleep(20_000)
            try Interruption.check()
        }
        let after = try ticks()
        return 1 - Double(after.idle - before.idle) / Double(max(1, after.total - before.total))
    }

    /// All cores' time since boot, the line "cpu" of proc_stat(5): fields 4 and 5 are idle and waiting for a disk.
    private static func ticks() throws(Failure) -> (idle: Int, total: Int) {
        let text = (try? String(contentsOfFile: "/proc/stat", encoding: .utf8)) ?? ""
        // The last two, guests' time, are contained in the first two.
        let fields = text.prefix { $0 != "\n" }.split(separator: " ").dropFirst().prefix(8).compactMap { Int($0) }
        guard fields.count == 8 else { throw .unreadable("/proc/stat", output: text) }
        return (fields[3] + fields[4], fields.reduce(0, +))
    }

    private static func field(_ name: String, in path: String) -> String? {
        let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").first { $0.hasPrefix(name) }?
            .split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
    }

    /// The first line a program prints for `--version`.
    private static func version(_ program: String) -> String {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(filePath: program)
        process.arguments = ["--version"]
        process.standardOutput = pipe
        guard (try? process.run()) != nil, let bytes = try? pipe.fileHandleForReading.readToEnd() else {
            return "unknown version of \(program)"
        }
        process.waitUntilExit()
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").first.map(String.init) ?? "unknown"
    }
}
