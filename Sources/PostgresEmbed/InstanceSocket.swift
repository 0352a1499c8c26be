import CConfine
import Glibc
import Reactor

/// The only way to an instance's listening socket: a descriptor without a name in the file system.
public final class InstanceSocket: Sendable {
    private let descriptor: Descriptor

    /// Holds the socket by its inode; its name may go.
    init(path: String) throws(EmbedError) {
        self.descriptor = try FileSystem.open(path, files_o_path | O_NOFOLLOW)
    }

    /// Allows connecting, which the postmaster allows nobody: to be called once the name is gone.
    func admit() throws(EmbedError) {
        guard unsafe chmod(path, 0o600) == 0 else { throw .fileSystem(operation: "open", path: path, .last) }
    }

    /// What to connect to, valid in this process while the object lives. Source: proc(5), `/proc/pid/fd`.
    public var path: String { "/proc/self/fd/\(descriptor.number)" }
}
