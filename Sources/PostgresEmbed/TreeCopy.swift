import CConfine
import Glibc
import Reactor

/// Copies a directory tree of regular files, as fast as the file system allows, and makes it durable.
///
/// ```
/// shared blocks (FICLONE) → inside the kernel (copy_file_range) → through a buffer
/// ```
/// The first way that the file system refuses is not tried again for the rest of the tree.
struct TreeCopy {
    private enum Way { case sharedBlocks, kernelCopy, buffer }
    private var way = Way.sharedBlocks
    private let durability: Durability

    init(durability: Durability) { self.durability = durability }

    /// Copies what is in `source` into the empty directory `target`. Links and special files are not copied: a template
    /// has none. Writing to the disk is begun for every file, so that ``Durability/syncFileSystem(of:path:)`` finds most
    /// of it done.
    mutating func copy(
        _ source: borrowing Descriptor, to target: borrowing Descriptor, path: String
    ) throws(EmbedError) {
        for name in try FileSystem.entries(of: source, path: path) {
            guard let status = try FileSystem.status(of: name, in: source) else { continue }
            switch status.kind {
            case .file:
                try copyFile(name, size: status.size, from: source, to: target)
            case .directory:
                try FileSystem.makeDirectory(name, in: target)
                let inside = try FileSystem.openDirectory(name, in: source)
                try copy(inside, to: try FileSystem.openDirectory(name, in: target), path: name)
            case .link, .other:
                continue
            }
        }
    }

    private mutating func copyFile(
        _ name: String, size: Int, from source: borrowing Descriptor, to target: borrowing Descriptor
    ) throws(EmbedError) {
        let input = try FileSystem.open(name, in: source, O_RDONLY | O_NOFOLLOW)
        let output = try FileSystem.open(name, in: target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
        guard size > 0 else { return }
        if way == .sharedBlocks {
            if files_clone(output.number, input.number) == 0 { return }
            way = .kernelCopy
        }
        if way == .kernelCopy {
            if try copyInKernel(input, to: output, size: size, name: name) { return startWriteback(output) }
            way = .buffer
        }
        try copyThroughBuffer(input, to: output, name: name)
        startWriteback(output)
    }

    /// False when the file system cannot, before anything was copied.
    private func copyInKernel(
        _ input: borrowing Descriptor, to output: borrowing Descriptor, size: Int, name: String
    ) throws(EmbedError) -> Bool {
        var copied = 0
        while copied < size {
            let count = files_copy_range(input.number, output.number, size - copied)
            if count < 0 {
                if errno == EINTR { continue }
                let refusals = [EXDEV, EINVAL, ENOSYS, EOPNOTSUPP, EPERM]
                if copied == 0, refusals.contains(errno) { return false }
                throw .fileSystem(operation: "copy", path: name, .last)
            }
            if count == 0 { break }
            copied += count
        }
        // A file system that copies nothing and says so without an error (some FUSE and old kernels' /proc) is left to
        // the buffer.
        return copied == size
    }

    private func copyThroughBuffer(
        _ input: borrowing Descriptor, to output: borrowing Descriptor, name: String
    ) throws(EmbedError) {
        guard Glibc.lseek(input.number, 0, SEEK_SET) == 0, Glibc.lseek(output.number, 0, SEEK_SET) == 0 else {
            throw .fileSystem(operation: "copy", path: name, .last)
        }
        while true {
            let bytes = try FileSystem.read(input, path: name, limit: 256 * 1024)
            if bytes.isEmpty { return }
            try FileSystem.write(bytes, to: output, path: name)
        }
    }

    /// Only begins: errors are for ``Durability/syncFileSystem(of:path:)`` to report.
    private func startWriteback(_ file: borrowing Descriptor) {
        switch durability {
        case .full: _ = files_start_writeback(file.number)
        case .none: break
        }
    }
}
