import CConfine
import Glibc
import Reactor
import Synchronization

/// Copies a directory tree of regular files, as fast as the file system allows, and makes it durable.
///
/// ```
/// shared blocks (FICLONE) → inside the kernel (copy_file_range) → through a buffer
/// ```
/// The first way that the file system refuses is not tried again for the rest of the tree. Two threads make the files,
/// because it is a thousand small ones: 15 ms where one took 24.
struct TreeCopy {
    private let durability: Durability

    init(durability: Durability) { self.durability = durability }

    /// Copies what is in `source` into the empty directory `target`. Links and special files are not copied: a template
    /// has none. Writing to the disk is begun for every file, so that ``Durability/syncFileSystem(of:path:)`` finds most
    /// of it done.
    func copy(
        _ source: borrowing Descriptor, to target: borrowing Descriptor, path: String
    ) throws(EmbedError) {
        let source = try FileSystem.openDirectory(".", in: source)
        let target = try FileSystem.openDirectory(".", in: target)
        var files: [FileList.File] = []
        try makeDirectories(source, target, path: path, prefix: "", &files)
        let list = FileList(files, from: source, to: target, durability: durability)
        do throws(ReactorError) {
            let helper = try Thread.start(name: "copy") { list.copyAll() }
            list.copyAll()
            helper.join()
        } catch {
            list.copyAll()
        }
        if let failure = list.failure { throw failure }
    }

    /// The tree's directories; what is in them is for later.
    private func makeDirectories(
        _ source: borrowing Descriptor, _ target: borrowing Descriptor, path: String, prefix: String,
        _ files: inout [FileList.File]
    ) throws(EmbedError) {
        for name in try FileSystem.entries(of: source, path: path) {
            guard let status = try FileSystem.status(of: name, in: source) else { continue }
            switch status.kind {
            case .file: files.append(.init(path: prefix + name, size: status.size))
            case .directory:
                try FileSystem.makeDirectory(name, in: target)
                let inside = try FileSystem.openDirectory(name, in: source)
                try makeDirectories(
                    inside, try FileSystem.openDirectory(name, in: target), path: name, prefix: "\(prefix)\(name)/",
                    &files)
            case .link, .other: continue
            }
        }
    }
}

/// The files that are to be copied, taken one by one by whoever has time.
private final class FileList: Sendable {
    struct File: Sendable {
        /// Below either directory. No part of it is a link: both are the program's own, until the copy is somebody's.
        let path: String
        let size: Int
    }

    private let source: Descriptor
    private let target: Descriptor
    private let durability: Durability
    private let files: [File]
    private let next = Atomic(0)
    private let firstFailure = Mutex<EmbedError?>(nil)

    init(_ files: [File], from source: consuming Descriptor, to target: consuming Descriptor, durability: Durability) {
        self.files = files
        self.source = source
        self.target = target
        self.durability = durability
    }

    /// Why not all of them were copied.
    var failure: EmbedError? { firstFailure.withLock(\.self) }

    /// Copies until none is left, or one could not be copied.
    func copyAll() {
        var copy = FileCopy(durability: durability)
        while failure == nil {
            let place = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard place < files.count else { return }
            do throws(EmbedError) {
                try copy.copyFile(files[place].path, size: files[place].size, from: source, to: target)
            } catch {
                firstFailure.withLock { $0 = $0 ?? error }
            }
        }
    }
}

/// One file after another, by the best way that is left.
private struct FileCopy {
    private enum Way { case sharedBlocks, kernelCopy, buffer }
    private var way = Way.sharedBlocks
    private let durability: Durability

    init(durability: Durability) { self.durability = durability }

    mutating func copyFile(
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
