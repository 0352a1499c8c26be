import CConfine
import Glibc
import Reactor

/// What is to be removed is first moved out of sight, which is quick and whole; the tree itself goes when there is time.
extension ClusterStore {
    /// Moves the tenant's directory out of sight, durably, and removes its logs; the tree is removed by
    /// ``sweep(isStopping:)``. The tenant's own postmaster must have exited. Where the tenant's name is a symbolic link
    /// to a cluster, the link goes and what it leads to stays.
    ///
    /// - Returns: false when there is no such directory.
    /// - Throws: `clusterInUse` when a postmaster that no routerd started serves it, `survivorRemains`; `notACluster`;
    ///   `fileSystem`. The directory is where it was then.
    public func drop(directoryName: String) throws(EmbedError) -> Bool {
        let tenant = residence(directoryName: directoryName, databaseName: directoryName)
        let base = try FileSystem.openDirectory(baseDirectory)
        guard try FileSystem.status(of: directoryName, in: base) != nil else { return false }
        guard Self.isCluster(tenant.path) else {
            throw .notACluster(
                path: tenant.path,
                reason: "It is not a directory with a file PG_VERSION, or with directories base and global.")
        }
        let cluster = try FileSystem.openDirectory(tenant.path)
        let identity = try FileSystem.status(of: cluster, path: tenant.path)
        try Survivors(path: tenant.path, identity: identity, mark: mark).clear(cluster)
        try Move(from: tenant.path, to: "\(Leftovers.trash(in: baseDirectory))/\(Random.name())")
            .perform(durability: durability)
        tenant.log.remove()
        return true
    }

    /// Removes what is in the trash: dropped tenants, and what an earlier server left half-made or unclaimed. Blocking
    /// and long; may run beside everything else, and again. What cannot be removed stays for the next time.
    public func sweep(isStopping: () -> Bool) {
        let path = Leftovers.trash(in: baseDirectory)
        guard let trash = try? FileSystem.openDirectory(path),
            let names = try? FileSystem.entries(of: trash, path: path)
        else { return }
        for name in names {
            if isStopping() { return }
            endSurvivors(of: name, in: trash)
            try? Removal.remove(name, in: trash, unless: isStopping)
        }
    }

    /// Removes what was begun and has failed. Where that fails too, for want of descriptors, it is moved out of sight,
    /// which needs none, and the next sweep finds it.
    func abandon(_ name: String, in parent: borrowing Descriptor) {
        do throws(EmbedError) {
            try Removal.remove(name, in: parent)
        } catch {
            let place = "\(Leftovers.trash(in: baseDirectory))/\(Random.name())"
            unsafe _ = files_rename_new(parent.number, name, AT_FDCWD, place)
        }
    }

    /// The postmaster of an earlier server's spare may still be about to end.
    private func endSurvivors(of name: String, in trash: borrowing Descriptor) {
        guard let cluster = try? FileSystem.openDirectory(name, in: trash),
            let identity = try? FileSystem.status(of: cluster, path: name)
        else { return }
        let survivors = Survivors(path: name, identity: identity, mark: mark)
        if (try? survivors.mayRemain(cluster)) == true { try? survivors.endAll() }
    }
}
