import Glibc
import Reactor

/// The file that a postmaster's output goes to, bounded from outside.
public struct InstanceLog: Sendable {
    /// Absolute path, for messages.
    public let path: String

    /// Bytes after which the file starts anew, and how many of its last ones are kept beside it.
    static let bound = 4 << 20
    static let kept = 256 << 10

    /// The postmaster appends: each line goes to the end, wherever the end has been moved to.
    func open() throws(EmbedError) -> Descriptor {
        try FileSystem.open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW)
    }

    /// Gives the file the other's name, in place of what is there; where it then is.
    func rename(to other: InstanceLog) -> InstanceLog {
        unsafe Glibc.rename(path, other.path) == 0 ? other : self
    }

    /// Removes the file and what was kept of earlier ones.
    func remove() {
        for path in [path, path + ".1"] { unsafe _ = unlink(path) }
    }

    /// Keeps the file below its bound: past 4 MB the last 256 KB move to `.log.1` and the file starts anew. One `stat`
    /// otherwise. Called about once a second while the instance runs; what is logged between the copy and the cut is
    /// lost.
    public func trim() {
        guard let size = FileSystem.status(ofPath: path)?.size, size > Self.bound else { return }
        if let tail = try? tail(Self.kept), let old = try? FileSystem.open(path + ".1", O_WRONLY | O_CREAT | O_TRUNC) {
            try? FileSystem.write(tail, to: old, path: path + ".1")
        }
        unsafe _ = truncate(path, 0)
    }

    /// The last line, without the prefix of time and process; nil when there is none.
    ///
    /// The line that says why: a FATAL, PANIC or ERROR among the last few beats the farewell that follows it.
    public func lastLine() -> String? {
        guard let tail = try? tail(8192) else { return nil }
        let lines = String(decoding: tail, as: UTF8.self).split(separator: "\n").suffix(12).map(Self.withoutPrefix)
        let reason = lines.last { line in ["PANIC:", "FATAL:", "ERROR:"].contains { line.hasPrefix($0) } }
        return reason ?? lines.last
    }

    /// The last lines as they were written, the latest last, at most so many of those in the last 64 KB.
    public func lastLines(_ count: Int) -> [String] {
        guard let tail = try? tail(64 << 10) else { return [] }
        return String(decoding: tail, as: UTF8.self).split(separator: "\n").suffix(count).map { String($0) }
    }

    /// `2026-01-01 00:00:00.000 UTC [123] FATAL:  …` → `FATAL:  …`
    static func withoutPrefix(_ line: Substring) -> String {
        guard let first = line.first, first.isNumber, let bracket = line.firstIndex(of: "]") else {
            return String(line)
        }
        return String(line[line.index(after: bracket)...].drop { $0 == " " })
    }

    func tail(_ count: Int) throws(EmbedError) -> [UInt8] {
        let file = try FileSystem.open(path, O_RDONLY | O_NOFOLLOW)
        let size = try FileSystem.status(of: file, path: path).size
        _ = lseek(file.number, off_t(max(0, size - count)), SEEK_SET)
        return try FileSystem.read(file, path: path, limit: count)
    }
}

extension ClusterStore {
    /// The log of a tenant, which need not exist.
    ///
    /// - Parameter directoryName: one path component that does not begin with a full stop.
    public func log(directoryName: String) -> InstanceLog {
        residence(directoryName: directoryName, databaseName: directoryName).log
    }
}
