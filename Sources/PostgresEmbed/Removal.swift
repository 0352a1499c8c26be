import Glibc
import Reactor

/// Removing a tree that others may have filled. A symbolic link is removed, never followed, and what is emptied is the
/// directory that was opened, whatever its name comes to mean meanwhile.
enum Removal {
    /// Removes `name` and everything below it; nothing there is no error.
    static func remove(_ name: String, in directory: borrowing Descriptor) throws(EmbedError) {
        guard let status = try FileSystem.status(of: name, in: directory) else { return }
        guard status.kind == .directory else { return try FileSystem.unlinkIfPresent(name, in: directory) }
        let inside = try FileSystem.openDirectory(name, in: directory)
        for entry in try FileSystem.entries(of: inside, path: name) {
            try remove(entry, in: inside)
        }
        guard unsafe Glibc.unlinkat(directory.number, name, AT_REMOVEDIR) == 0 || errno == ENOENT else {
            throw .fileSystem(operation: "remove", path: name, .last)
        }
    }
}
