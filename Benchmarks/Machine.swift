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
    }

    /// For people, a line.
    var text: String {
        ["\(cpu), \(cores) cores, \(memoryGigabytes) GB", "Linux \(kernel)", postgres, pgbouncer].compactMap(\.self)
            .joined(separator: "; ")
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
