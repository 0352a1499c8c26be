import CConfine
import Glibc
import Reactor

/// Removing a tree that others may have filled. A symbolic link is removed, never followed, and what is emptied is the
/// directory that was opened, whatever its name comes to mean meanwhile. A tenant may have chosen names that are no
/// text, taken its directories' rights away, and nested them as deep as it liked.
enum Removal {
    /// Removes `name` and everything below it; nothing there is no error. Stops early, with the rest in place, once
    /// `isStopping` says so.
    static func remove(
        _ name: String, in directory: borrowing Descriptor, unless isStopping: () -> Bool = { false }
    ) throws(EmbedError) {
        var names = [Array(name.utf8CString)]
        while let name = names.popLast() {
            try remove(name, in: directory, depth: 0, top: directory, lifted: &names, unless: isStopping)
        }
    }

    /// Each level holds a descriptor and a part of the stack: what lies deeper is lifted to the top and removed later.
    private static let mostLevels = 64

    private static func remove(
        _ name: [CChar], in directory: borrowing Descriptor, depth: Int, top: borrowing Descriptor,
        lifted: inout [[CChar]], unless isStopping: () -> Bool
    ) throws(EmbedError) {
        if isStopping() { return }
        if unsafe Glibc.unlinkat(directory.number, name, 0) == 0 || errno == ENOENT { return }
        // POSIX lets a system say EPERM of a directory; Linux says EISDIR.
        guard errno == EISDIR else { throw failure(name) }
        if depth == mostLevels {
            let place = Array(Random.name().utf8CString)
            guard unsafe Glibc.renameat(directory.number, name, top.number, place) == 0 else { throw failure(name) }
            lifted.append(place)
            return
        }
        let inside = try enter(name, in: directory)
        for entry in try FileSystem.rawEntries(of: inside, path: text(name)) {
            try remove(entry, in: inside, depth: depth + 1, top: top, lifted: &lifted, unless: isStopping)
        }
        if isStopping() { return }
        guard unsafe Glibc.unlinkat(directory.number, name, AT_REMOVEDIR) == 0 || errno == ENOENT else {
            throw failure(name)
        }
    }

    /// Opens a directory after seeing to it that it can be read and emptied.
    private static func enter(_ name: [CChar], in directory: borrowing Descriptor) throws(EmbedError) -> Descriptor {
        let flags = files_o_path | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        let number = unsafe Glibc.openat(directory.number, name, flags)
        guard number >= 0 else { throw failure(name) }
        let place = Descriptor(owning: number)
        // Through /proc, because there is no chmod that takes such a descriptor. Whether it worked, the next call tells.
        unsafe _ = Glibc.chmod("/proc/self/fd/\(place.number)", 0o700)
        return try FileSystem.open(".", in: place, O_RDONLY | O_DIRECTORY)
    }

    private static func failure(_ name: [CChar]) -> EmbedError {
        let failure = Errno.last
        return .fileSystem(operation: "remove", path: text(name), failure)
    }

    private static func text(_ name: [CChar]) -> String {
        String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
