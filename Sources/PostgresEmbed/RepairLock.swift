import Glibc
import Reactor

/// Who repairs a cluster has it for himself; who boots it makes sure that nobody does, until it is up.
///
/// flock(2) on the cluster's directory: held while the descriptor is open, given up by the kernel with its holder.
enum RepairLock {
    /// How long a server may take to prepare a boot, and that boot to succeed or to fail.
    private static let patience: Duration = .seconds(10)

    /// - Throws: `underRepair`.
    static func take(_ cluster: borrowing Descriptor, path: String) throws(EmbedError) {
        let deadline = ContinuousClock.now + patience
        while flock(cluster.number, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
            guard ContinuousClock.now < deadline else { throw .underRepair(path: path) }
            usleep(10_000)
        }
    }

    /// Held as long as the descriptor. Also gives the configuration its names back, should a repair have been killed.
    ///
    /// - Throws: `underRepair`, `fileSystem`.
    static func share(_ cluster: borrowing Descriptor, path: String) throws(EmbedError) {
        // A file system that has no locks has no repairs that could be noticed either.
        guard flock(cluster.number, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK else {
            throw .underRepair(path: path)
        }
        try ConfigurationFile.restore(in: cluster)
    }
}

/// Where the repair that has the lock keeps its sockets, so that the next one removes them should it be killed.
struct RepairNote: ~Copyable {
    private let directory: Descriptor
    private let name: String

    init(directoryName: String, baseDirectory: String) throws(EmbedError) {
        directory = try FileSystem.openDirectory(baseDirectory + "/.routerd")
        name = "repair-" + directoryName
    }

    /// Also removes what the last one left.
    func write(runtimeDirectory: String) throws(EmbedError) {
        if let leftover = try FileSystem.contents(of: name, in: directory) {
            RuntimeDirectory.removeLeftover(String(decoding: leftover, as: UTF8.self))
        }
        try FileSystem.replace(name, in: directory, with: Array(runtimeDirectory.utf8))
    }

    func remove() { try? FileSystem.unlinkIfPresent(name, in: directory) }
}
