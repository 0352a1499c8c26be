import CConfine
import Glibc
import Reactor

/// A base directory for a router whose data nobody wants afterwards: in memory, or at least in a place for what is
/// temporary.
public struct MemoryDirectory: Sendable {
    /// Absolute; mode 0700, empty when it is made.
    public let path: String

    private static let prefix = "routerd-memory-"

    /// Makes one where a file system in memory is mounted, after removing what killed routers have left there.
    ///
    /// - Throws: `directoryUnusable` where there is none.
    public static func make() throws(EmbedError) -> MemoryDirectory {
        try make(in: parents().filter(isInMemory))
    }

    /// Makes one in memory if there is room for a dozen clusters, and on the disk otherwise: a container's `/dev/shm` has
    /// 64 MB.
    ///
    /// - Throws: `directoryUnusable` where neither has a place.
    public static func makeTemporary() throws(EmbedError) -> MemoryDirectory {
        let variable = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) }
        let onDisk = [variable, "/tmp", "/var/tmp"].compactMap { $0 }.filter { $0.hasPrefix("/") }
        return try make(in: parents().filter { isInMemory($0) && freeBytes(of: $0) >= roomForADozen } + onDisk)
    }

    private static let roomForADozen = 512 << 20

    private static func make(in places: [String]) throws(EmbedError) -> MemoryDirectory {
        var failure = EmbedError.directoryUnusable(path: "/dev/shm", Errno(code: ENOENT))
        for parent in places {
            removeLeftovers(in: parent)
            var template = Array((parent + "/" + prefix + "XXXXXX").utf8CString)
            if unsafe mkdtemp(&template) != nil {
                return MemoryDirectory(
                    path: String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
            }
            failure = .directoryUnusable(path: parent, .last)
        }
        throw failure
    }

    /// Bytes that fit into it at present.
    public var freeBytes: Int { Self.freeBytes(of: path) }

    /// Where ``make()`` would make one, and how much fits there; nil where nothing is in memory.
    public static var place: (path: String, freeBytes: Int)? {
        parents().first(where: isInMemory).map { ($0, freeBytes(of: $0)) }
    }

    private static func freeBytes(of path: String) -> Int {
        var status = statvfs()
        guard unsafe statvfs(path, &status) == 0 else { return 0 }
        return Int(clamping: status.f_bavail) * Int(clamping: status.f_frsize)
    }

    /// Removes it with everything in it. Its server has stopped.
    public func remove() {
        guard let slash = path.lastIndex(of: "/"), let parent = try? FileSystem.openDirectory(String(path[..<slash]))
        else { return }
        try? Removal.remove(String(path[path.index(after: slash)...]), in: parent)
    }

    private static func parents() -> [String] {
        let own = unsafe getenv("XDG_RUNTIME_DIR").map { unsafe String(cString: $0) }
        return ["/dev/shm", own, "/tmp"].compactMap { $0 }.filter { $0.hasPrefix("/") }
    }

    private static func isInMemory(_ path: String) -> Bool {
        unsafe files_is_in_memory(path) == 1
    }

    /// A directory of ours whose lock nobody holds belongs to a router that was killed; nobody has
    /// signed the lock of one that is being made.
    private static func removeLeftovers(in parent: String) {
        guard let directory = try? FileSystem.openDirectory(parent),
            let names = try? FileSystem.entries(of: directory, path: parent)
        else { return }
        for name in names where name.hasPrefix(prefix) {
            guard let status = FileSystem.status(ofPath: "\(parent)/\(name)/.routerd/lock"),
                status.owner == geteuid(), status.size > 0,
                let lock = try? ServerLock.take("\(parent)/\(name)/.routerd/lock", for: name)
            else { continue }
            if let leftover = lock.earlierRuntimeDirectory { RuntimeDirectory.removeLeftover(leftover) }
            try? remove(name, in: directory, path: parent)
        }
    }

    /// The lock goes last: where an instance that is about to end still makes files, the next router finds it again.
    private static func remove(
        _ name: String, in parent: borrowing Descriptor, path: String
    ) throws(EmbedError) {
        let directory = try FileSystem.openDirectory(name, in: parent)
        for entry in try FileSystem.entries(of: directory, path: "\(path)/\(name)") where entry != ".routerd" {
            try Removal.remove(entry, in: directory)
        }
        try Removal.remove(name, in: parent)
    }
}
