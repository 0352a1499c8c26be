import Glibc
import Reactor

/// How much of the disk a tree takes. Links count for themselves and are not followed: a tenant makes them.
extension ClusterStore {
    /// Bytes of the disk's blocks that the tenant's directory takes, a thousand files looked at; nil where there is none.
    /// What disappears meanwhile does not count.
    public func size(directoryName: String) -> Int? {
        guard let base = try? FileSystem.openDirectory(baseDirectory) else { return nil }
        return Self.size(of: directoryName, in: base, depth: 0)
    }

    /// Deeper than any cluster is; a tenant's own tree may be deeper.
    private static let mostLevels = 32

    private static func size(of name: String, in directory: borrowing Descriptor, depth: Int) -> Int? {
        var status = stat()
        guard unsafe fstatat(directory.number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
        // Source: stat(3type), st_blocks counts units of 512 bytes whatever the file system's are.
        var sum = Int(status.st_blocks) * 512
        guard status.st_mode & S_IFMT == S_IFDIR, depth < mostLevels,
            let inside = try? FileSystem.openDirectory(name, in: directory),
            let entries = try? FileSystem.entries(of: inside, path: name)
        else { return sum }
        for entry in entries { sum += size(of: entry, in: inside, depth: depth + 1) ?? 0 }
        return sum
    }
}
