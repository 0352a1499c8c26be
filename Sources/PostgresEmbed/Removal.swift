import Glibc
import Reactor

/// Removing a tree that others may have filled. A symbolic link is removed, never followed, and what is emptied is the
/// directory that was opened, whatever its name comes to mean meanwhile.
enum Removal {
    /// Removes `name` and everything below it; nothing there is no error. Stops early, with the rest in place, once
    /// `isStopping` says so.
    static func remove(
        _ name: String, in directory: borrowing Descriptor, unless isStopping: () -> Bool = { false }
    ) throws(EmbedError) {
        guard let status = try FileSystem.status(of: name, in: directory) else { return }
        guard status.kind == .directory else { return try FileSystem.unlinkIfPresent(name, in: directory) }
        let inside = try FileSystem.openDirectory(name, in: directory)
        for entry in try FileSystem.entries(of: inside, path: name) {
            if isStopping() { return }
            try remove(entry, in: inside, unless: isStopping)
        }
        if isStopping() { return }
        guard unsafe Glibc.unlinkat(directory.number, name, AT_REMOVEDIR) == 0 || errno == ENOENT else {
            throw .fileSystem(operation: "remove", path: name, .last)
        }
    }
}
