import Glibc
import Reactor

/// The lock of a base directory, and a note of who holds it: the process id and the runtime directory, a line each.
struct ServerLock: ~Copyable {
    private let file: Descriptor
    private let path: String
    /// What the last holder wrote; a server that ended cleanly has removed it.
    let earlierRuntimeDirectory: String?

    /// Takes the lock, or says who has it. flock(2): given up by the kernel when the process ends, however it ends.
    static func take(_ path: String, for baseDirectory: String) throws(EmbedError) -> ServerLock {
        let file = try FileSystem.open(path, O_RDWR | O_CREAT | O_NOFOLLOW)
        let isTaken = flock(file.number, LOCK_EX | LOCK_NB) != 0
        let failure = Errno.last
        let lines = String(decoding: try FileSystem.read(file, path: path, limit: 4096), as: UTF8.self)
            .split(separator: "\n")
        if isTaken {
            guard failure.code == EWOULDBLOCK else { throw .fileSystem(operation: "lock", path: path, failure) }
            throw .directoryInUse(path: baseDirectory, processID: lines.first.flatMap { Int32($0) })
        }
        return ServerLock(file: file, path: path, earlierRuntimeDirectory: lines.count > 1 ? String(lines[1]) : nil)
    }

    /// Writes down who holds it.
    func record(runtimeDirectory: String) throws(EmbedError) {
        guard ftruncate(file.number, 0) == 0, lseek(file.number, 0, SEEK_SET) == 0 else {
            throw .fileSystem(operation: "write", path: path, .last)
        }
        try FileSystem.write(Array("\(getpid())\n\(runtimeDirectory)\n".utf8), to: file, path: path)
    }

    /// The descriptor: the lock is held while it is open.
    consuming func release() -> Descriptor { file }
}
