import CConfine
import Glibc
import Reactor

/// What the tenants' data survives.
public enum Durability: Sendable {
    /// Whatever is killed and whenever the power goes, as PostgreSQL's manual promises it.
    case full
    /// The end of a postmaster, not that of the machine: nothing waits for a disk. For directories in memory.
    case none
}

extension Durability {
    /// Waits until a file's content, or a directory's names, are on the disk.
    func sync(_ file: borrowing Descriptor, path: String) throws(EmbedError) {
        switch self {
        case .full: guard fsync(file.number) == 0 else { throw .fileSystem(operation: "sync", path: path, .last) }
        case .none: break
        }
    }

    /// Waits until everything below `directory`, and all else on its file system, is on the disk.
    ///
    /// One syncfs for the thousand files: on ext4 55 ms where one fsync for each took 1,500, because each of those
    /// waits for the journal and the disk's cache on its own (27 against 165 without a journal; 45 against 390 beside a
    /// tenant under full write load). What others have written costs less than a thousand flushes.
    func syncFileSystem(of directory: borrowing Descriptor, path: String) throws(EmbedError) {
        switch self {
        case .full:
            guard files_sync_filesystem(directory.number) == 0 else {
                throw .fileSystem(operation: "sync", path: path, .last)
            }
        case .none: break
        }
    }
}
