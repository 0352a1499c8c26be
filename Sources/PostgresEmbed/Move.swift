import CConfine
import Glibc
import Reactor

/// A directory that goes from one parent to another, in one piece, and is there after a power cut.
struct Move: ~Copyable {
    private let source: Place
    private let target: Place

    /// A name in a directory that is open.
    private struct Place: ~Copyable {
        let parent: Descriptor
        let name: String
        let path: String

        init(_ path: String) throws(EmbedError) {
            let slash = path.lastIndex(of: "/") ?? path.startIndex
            self.parent = try FileSystem.openDirectory(String(path[..<slash]))
            self.name = String(path[slash...].dropFirst())
            self.path = path
        }
    }

    /// Absolute paths on one file system.
    init(from source: String, to target: String) throws(EmbedError) {
        let from = try Place(source)
        let to = try Place(target)
        self.source = from
        self.target = to
    }

    /// Renames, never over something, and waits until both parents are on the disk. When it throws, the directory is
    /// where it was, unless the file system takes nothing back.
    func perform(durability: Durability) throws(EmbedError) {
        try rename()
        do throws(EmbedError) {
            try sync(durability)
        } catch {
            // Nobody has been told of it.
            _ = unsafe files_rename_new(target.parent.number, target.name, source.parent.number, source.name)
            throw error
        }
    }

    func rename() throws(EmbedError) {
        guard unsafe files_rename_new(source.parent.number, source.name, target.parent.number, target.name) == 0 else {
            throw .fileSystem(operation: "create", path: target.path, .last)
        }
    }

    private func sync(_ durability: Durability) throws(EmbedError) {
        try durability.sync(target.parent, path: target.path)
        try durability.sync(source.parent, path: source.path)
    }
}
