import CConfine
import Glibc
import Reactor

/// Clusters that are cloned, synced, booted and warmed before anybody asks for them.
///
/// ```
/// .routerd/spares/<random>   prepareSpare → spawn → READY → claim → <base>/<tenant>
///                                                 └ discard → absent
/// ```
/// A spare's name is never used again, so what one run leaves behind is never taken for another's.
extension ClusterStore {
    /// Clones the template into a directory that nobody owns yet, ready to be spawned. What it is called then does not
    /// matter: its database is to be claimed.
    ///
    /// - Throws: `fileSystem`, and then nothing is left behind.
    public func prepareSpare() throws(EmbedError) -> PreparedCluster {
        let spare = spareResidence()
        let spares = try FileSystem.openDirectory(Leftovers.spares(in: baseDirectory))
        do throws(EmbedError) {
            try FileSystem.makeDirectory(spare.directoryName, in: spares)
            try fill(try FileSystem.openDirectory(spare.directoryName, in: spares), claim: nil)
            return try prepare(spare, created: true)
        } catch {
            abandon(spare.directoryName, in: spares)
            spare.log.remove()
            throw error
        }
    }

    /// A postmaster keeps the absolute path that it was started with, and a spare's directory is to be renamed under
    /// it. It is told to look at its working directory, which is the cluster whatever it is called, in the postmaster
    /// and in all its children. So `SHOW data_directory` says `/proc/self/cwd` until the next boot.
    private func spareResidence() -> Residence {
        let name = Random.name()
        let path = "\(Leftovers.spares(in: baseDirectory))/\(name)"
        return Residence(
            directoryName: name, databaseName: RouterSQL.claimableDatabase, path: path,
            dataDirectory: "/proc/self/cwd", clusterName: "spare", log: InstanceLog(path: path + ".log"))
    }

    /// Makes a booted spare the tenant's: journal, rename, both parents on the disk. What is still to be done over SQL
    /// is in the result's ``PreparedCluster/claim``, and may be done meanwhile; its end is ``finishClaim(_:)``.
    ///
    /// The result shares the running postmaster; `spare` is not to be used again once this returns. When it throws, the
    /// spare is as it was, without a claim file.
    ///
    /// - Throws: `fileSystem` (EEXIST: the tenant has a directory).
    public func claim(_ spare: PreparedCluster, by claim: Claim) throws(EmbedError) -> PreparedCluster {
        guard let directoryName = claim.directoryName else {
            preconditionFailure("a spare's claim says what its directory shall be called")
        }
        let residence = residence(directoryName: directoryName, databaseName: claim.databaseName)
        let cluster = try FileSystem.openDirectory(spare.dataDirectory)
        let move = try Move(from: spare.dataDirectory, to: residence.path)
        do throws(EmbedError) {
            try claim.write(in: cluster, durability: durability)
            try move.perform(durability: durability)
        } catch {
            // Where the rename could not be undone the claim stands, and the tenant's next boot finishes it.
            if FileSystem.status(ofPath: spare.dataDirectory)?.isSameFile(as: spare.identity) == true {
                try? Claim.withdraw(from: cluster, durability: durability)
            }
            throw error
        }
        // The postmaster writes on, to the same file. One that could not be renamed serves until the next boot.
        let log = spare.log.rename(to: residence.log)
        return PreparedCluster(spare, movedTo: residence, log: log, claim: claim)
    }

    /// After the postmaster of a spare has exited, or when it was never booted: ends what survived it and removes its
    /// runtime subdirectory and its directory. One that is in a tenant's place already stays, with its claim.
    public func discard(_ spare: PreparedCluster) {
        retire(spare)
        spare.log.remove()
        do throws(EmbedError) {
            let spares = try FileSystem.openDirectory(Leftovers.spares(in: baseDirectory))
            let cluster = try FileSystem.openDirectory(spare.directoryName, in: spares)
            // Of a claim that failed: nobody was let in by it. The next start would finish it, under a name that has
            // another directory by then, or that was dropped.
            if try Claim.isWritten(in: cluster) { try Claim.withdraw(from: cluster, durability: durability) }
            abandon(spare.directoryName, in: spares)
        } catch {
            // Out of sight, which needs no descriptor; the next sweep finds it.
            let place = "\(Leftovers.trash(in: baseDirectory))/\(Random.name())"
            unsafe _ = files_rename_new(AT_FDCWD, spare.dataDirectory, AT_FDCWD, place)
        }
    }
}

extension Claim {
    /// Writes the file, whole or not at all, and waits until it is on the disk: the rename that follows must not get
    /// there first.
    func write(in cluster: borrowing Descriptor, durability: Durability) throws(EmbedError) {
        try FileSystem.replace(Self.fileName, in: cluster, with: content, durability: durability)
        try durability.sync(cluster, path: Self.fileName)
    }

    /// Takes a claim back whose cluster was not renamed, for good: it must not come back with the next start.
    static func withdraw(from cluster: borrowing Descriptor, durability: Durability) throws(EmbedError) {
        try FileSystem.unlinkIfPresent(fileName, in: cluster)
        try durability.sync(cluster, path: fileName)
    }

    /// Whether there is a claim file, readable or not.
    static func isWritten(in cluster: borrowing Descriptor) throws(EmbedError) -> Bool {
        try FileSystem.status(of: fileName, in: cluster) != nil
    }
}
