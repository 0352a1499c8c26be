import CConfine
import Glibc
import Reactor

/// The file system's calls with typed errors. Everything below a tenant's directory goes through a descriptor of that
/// directory and never follows a symbolic link, because the tenant can write there.
enum FileSystem {
    // MARK: Opening

    /// Opens relative to `directory`, close-on-exec.
    static func open(
        _ name: String, in directory: borrowing Descriptor, _ flags: CInt, mode: mode_t = 0o600
    ) throws(EmbedError) -> Descriptor {
        try open(name, at: directory.number, flags, mode: mode)
    }

    /// Opens by path, close-on-exec.
    static func open(_ path: String, _ flags: CInt, mode: mode_t = 0o600) throws(EmbedError) -> Descriptor {
        try open(path, at: AT_FDCWD, flags, mode: mode)
    }

    private static func open(
        _ path: String, at directory: CInt, _ flags: CInt, mode: mode_t
    ) throws(EmbedError) -> Descriptor {
        let number = retrying { unsafe Glibc.openat(directory, path, flags | O_CLOEXEC, mode) }
        guard number >= 0 else { throw .fileSystem(operation: "open", path: path, .last) }
        return Descriptor(owning: number)
    }

    /// A directory of our own or the administrator's: a symbolic link to one is followed.
    static func openDirectory(_ path: String) throws(EmbedError) -> Descriptor {
        try open(path, O_RDONLY | O_DIRECTORY)
    }

    /// A directory below a tenant's: never through a link.
    static func openDirectory(_ name: String, in directory: borrowing Descriptor) throws(EmbedError) -> Descriptor {
        try open(name, in: directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    }

    // MARK: Whole small files

    /// The first `limit` bytes of a regular file; nil when there is none. A FIFO, a device or a link in its place (the
    /// tenant may have put it there) counts as none and never blocks.
    static func contents(
        of name: String, in directory: borrowing Descriptor, limit: Int = 8192
    ) throws(EmbedError) -> [UInt8]? {
        let number = retrying {
            unsafe Glibc.openat(directory.number, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        }
        if number < 0 {
            if [ENOENT, ELOOP, ENXIO].contains(errno) { return nil }
            throw .fileSystem(operation: "open", path: name, .last)
        }
        let file = Descriptor(owning: number)
        guard try status(of: file, path: name).kind == .file else { return nil }
        return try read(file, path: name, limit: limit)
    }

    /// Reads from the current offset to the end, or `limit` bytes.
    static func read(_ file: borrowing Descriptor, path: String, limit: Int) throws(EmbedError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: limit)
        var count = 0
        while count < limit {
            let number = file.number
            let got = unsafe bytes.withUnsafeMutableBytes { space in
                retrying { unsafe Glibc.read(number, space.baseAddress! + count, limit - count) }
            }
            guard got >= 0 else { throw .fileSystem(operation: "read", path: path, .last) }
            if got == 0 { break }
            count += got
        }
        bytes.removeLast(limit - count)
        return bytes
    }

    /// Writes all bytes at the current offset.
    static func write(_ bytes: [UInt8], to file: borrowing Descriptor, path: String) throws(EmbedError) {
        var written = 0
        while written < bytes.count {
            let number = file.number
            let put = unsafe bytes.withUnsafeBytes { space in
                retrying { unsafe Glibc.write(number, space.baseAddress! + written, space.count - written) }
            }
            guard put >= 0 else { throw .fileSystem(operation: "write", path: path, .last) }
            written += put
        }
    }

    /// Replaces a file as a whole: written beside, then renamed over whatever stood there (a link included). With
    /// `durability` the content is on the disk before the name is; the name itself is not synced.
    static func replace(
        _ name: String, in directory: borrowing Descriptor, with bytes: [UInt8], durability: Durability = .none
    ) throws(EmbedError) {
        let temporary = name + ".new"
        try unlinkIfPresent(temporary, in: directory)
        let file = try open(temporary, in: directory, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
        try write(bytes, to: file, path: temporary)
        try durability.sync(file, path: temporary)
        guard unsafe Glibc.renameat(directory.number, temporary, directory.number, name) == 0 else {
            throw .fileSystem(operation: "rename", path: temporary, .last)
        }
    }

    // MARK: Names

    /// Makes a directory of mode 0700. False when something of that name is there already.
    @discardableResult
    static func makeDirectory(_ path: String) throws(EmbedError) -> Bool {
        if unsafe Glibc.mkdir(path, 0o700) == 0 { return true }
        guard errno == EEXIST else { throw .fileSystem(operation: "create directory", path: path, .last) }
        return false
    }

    static func makeDirectory(_ name: String, in directory: borrowing Descriptor) throws(EmbedError) {
        guard unsafe Glibc.mkdirat(directory.number, name, 0o700) == 0 else {
            throw .fileSystem(operation: "create directory", path: name, .last)
        }
    }

    static func unlinkIfPresent(_ name: String, in directory: borrowing Descriptor) throws(EmbedError) {
        guard unsafe Glibc.unlinkat(directory.number, name, 0) == 0 || errno == ENOENT else {
            throw .fileSystem(operation: "remove", path: name, .last)
        }
    }

    /// The names in a directory, without `.` and `..`, in the file system's order.
    static func entries(of directory: borrowing Descriptor, path: String) throws(EmbedError) -> [String] {
        try rawEntries(of: directory, path: path).map { name in
            String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    /// The same as the file system has them, each with a zero byte behind it: a name need not be UTF-8.
    static func rawEntries(of directory: borrowing Descriptor, path: String) throws(EmbedError) -> [[CChar]] {
        // fdopendir owns what it is given, and shares the offset with it.
        let copy = try open(".", in: directory, O_RDONLY | O_DIRECTORY).release()
        guard let stream = unsafe Glibc.fdopendir(copy) else {
            let failure = Errno.last
            _ = Glibc.close(copy)
            throw .fileSystem(operation: "list", path: path, failure)
        }
        defer { unsafe _ = Glibc.closedir(stream) }
        let dot = CChar(bitPattern: UInt8(ascii: "."))
        var names: [[CChar]] = []
        while true {
            // A failure looks like the end but for this: a clone of half a directory would pass for whole.
            errno = 0
            guard let entry = unsafe Glibc.readdir(stream) else { break }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe bytes.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
            }
            if name != [dot, 0] && name != [dot, dot, 0] { names.append(name) }
        }
        guard errno == 0 else { throw .fileSystem(operation: "list", path: path, .last) }
        return names
    }

    // MARK: Status

    enum Kind { case file, directory, link, other }

    /// What a file is and which: device and inode are its identity, whatever name it was reached by.
    struct Status: Equatable {
        var kind: Kind
        var size: Int
        var device: UInt
        var inode: UInt
        var owner: uid_t

        func isSameFile(as other: Status) -> Bool { device == other.device && inode == other.inode }
    }

    static func status(of file: borrowing Descriptor, path: String) throws(EmbedError) -> Status {
        var status = stat()
        guard unsafe Glibc.fstat(file.number, &status) == 0 else {
            throw .fileSystem(operation: "examine", path: path, .last)
        }
        return Status(status)
    }

    /// Nil when nothing is there (or the way to it is closed). Follows links.
    static func status(ofPath path: String) -> Status? {
        var status = stat()
        return unsafe Glibc.fstatat(AT_FDCWD, path, &status, 0) == 0 ? Status(status) : nil
    }

    /// Nil when nothing is there. Does not follow a link.
    static func status(of name: String, in directory: borrowing Descriptor) throws(EmbedError) -> Status? {
        var status = stat()
        if unsafe Glibc.fstatat(directory.number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 { return Status(status) }
        guard errno == ENOENT else { throw .fileSystem(operation: "examine", path: name, .last) }
        return nil
    }

    /// What a symbolic link points to; nil when it is none.
    static func target(ofLink path: String) -> String? {
        var bytes = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = unsafe bytes.withUnsafeMutableBytes { space in
            unsafe Glibc.readlink(path, space.baseAddress!.assumingMemoryBound(to: CChar.self), space.count)
        }
        return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}

extension FileSystem.Status {
    init(_ status: Glibc.stat) {
        let kind: FileSystem.Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            case S_IFLNK: .link
            default: .other
            }
        self.init(
            kind: kind, size: Int(status.st_size), device: UInt(status.st_dev), inode: UInt(status.st_ino),
            owner: status.st_uid)
    }
}

extension Errno {
    /// The calling thread's errno, to be read at once after the call that failed.
    static var last: Errno { Errno(code: errno) }
}

/// Repeats a call that a signal interrupted.
func retrying<Result: SignedInteger>(_ call: () -> Result) -> Result {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}
