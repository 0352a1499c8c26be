import CConfine
import Glibc
import Reactor

/// A fresh directory of this server run, for sockets: mode 0700, short (a socket's path has 107 bytes at most), with
/// one subdirectory for each instance.
final class RuntimeDirectory: Sendable {
    let path: String

    /// Makes one in the best place: the user's own runtime directory, else /tmp.
    init() throws(EmbedError) {
        var failure = EmbedError.directoryUnusable(path: "/tmp", Errno(code: EACCES))
        for parent in Self.parents() {
            var template = Array((parent + "/routerd-XXXXXX").utf8CString)
            if unsafe mkdtemp(&template) != nil {
                path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
                return
            }
            failure = .directoryUnusable(path: parent, .last)
        }
        throw failure
    }

    /// The best first.
    static func parents() -> [String] {
        let own = unsafe getenv("XDG_RUNTIME_DIR").map { unsafe String(cString: $0) }
        return ["/run/routerd", own, "/tmp"].compactMap { $0 }.filter { path in
            // Somebody else's (root's, after this process dropped its rights) is of no use; too long a one neither.
            guard path.hasPrefix("/"), path.utf8.count <= 60, let status = FileSystem.status(ofPath: path) else {
                return false
            }
            return status.kind == .directory && (status.owner == geteuid() || path == "/tmp")
        }
    }

    /// An instance's own subdirectory, by a name that no other instance can guess: whoever knows it could tell the
    /// router that an instance is ready which is not. Its parent cannot be listed from inside one.
    func makeSubdirectory() throws(EmbedError) -> String {
        let path = "\(path)/\(Random.name())"
        try FileSystem.makeDirectory(path)
        return path
    }

    func remove() { Self.remove(path) }

    /// Removes a runtime directory or a part of one; what cannot be removed stays.
    static func remove(_ path: String) {
        guard let slash = path.lastIndex(of: "/"),
            let parent = try? FileSystem.openDirectory(String(path[..<slash]))
        else { return }
        try? Removal.remove(String(path[path.index(after: slash)...]), in: parent)
    }

    /// Removes what a killed server left: only a directory of the shape made here, and only our own.
    static func removeLeftover(_ path: String) {
        guard let name = path.split(separator: "/").last, name.hasPrefix("routerd-"), path.hasPrefix("/"),
            let status = FileSystem.status(ofPath: path), status.kind == .directory, status.owner == geteuid()
        else { return }
        remove(path)
    }
}

/// A Unix datagram socket, bound to a path.
enum NotifySocket {
    static func bind(_ path: String) throws(EmbedError) -> Descriptor {
        var address = sockaddr_un()
        let bytes = Array(path.utf8)
        // The address holds 108 bytes, a zero byte included.
        guard bytes.count <= 107 else { throw .socketPathTooLong(path: path) }
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        let flags = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let number = socket(AF_UNIX, flags, 0)
        guard number >= 0 else { throw .fileSystem(operation: "create", path: path, .last) }
        let descriptor = Descriptor(owning: number)
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe Glibc.bind(number, $0, size) }
        }
        guard result == 0 else { throw .fileSystem(operation: "bind", path: path, .last) }
        return descriptor
    }
}
