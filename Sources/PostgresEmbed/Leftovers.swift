import CConfine
import Glibc
import Reactor

/// What an earlier server left under `.routerd` when it was killed.
struct Leftovers {
    let baseDirectory: String
    let durability: Durability

    static func spares(in baseDirectory: String) -> String { "\(baseDirectory)/.routerd/spares" }
    static func trash(in baseDirectory: String) -> String { "\(baseDirectory)/.routerd/trash" }

    /// Finishes what was promised and puts the rest into the trash; renames only, so that it takes no time to speak of.
    ///
    /// - Returns: a sentence for each spare that stays where it is.
    func settle() throws(EmbedError) -> [String] {
        // Nothing in staging was ever booted or answered for.
        try discardAll(in: baseDirectory + "/.routerd/staging") { _ in true }
        var findings: [String] = []
        try discardAll(in: Self.spares(in: baseDirectory)) { spare in
            do throws(EmbedError) {
                switch try state(of: spare) {
                case .unclaimed: return true
                case .unreadable: findings.append("\(spare) has a claim file that cannot be read; it stays where it is")
                case .claimed(let name):
                    try Move(from: spare, to: "\(baseDirectory)/\(name)").perform(durability: durability)
                }
            } catch {
                findings.append("\(spare) may belong to a tenant and stays where it is: \(error.message)")
            }
            return false
        }
        return findings
    }

    private enum SpareState {
        case unclaimed
        case claimed(directoryName: String)
        case unreadable
    }

    /// Whatever is there and no directory (a log) is nobody's.
    private func state(of spare: String) throws(EmbedError) -> SpareState {
        guard FileSystem.status(ofPath: spare)?.kind == .directory else { return .unclaimed }
        let cluster = try FileSystem.openDirectory(spare)
        guard try Claim.isWritten(in: cluster) else { return .unclaimed }
        guard let claim = try FileSystem.contents(of: Claim.fileName, in: cluster).flatMap({ Claim($0) }),
            let name = claim.directoryName, Claim.isDirectoryName(name)
        else { return .unreadable }
        return .claimed(directoryName: name)
    }

    /// Moves into the trash what `isRubbish` says so of, given its path. Need not be durable: it would be found again.
    private func discardAll(
        in path: String, where isRubbish: (String) -> Bool
    ) throws(EmbedError) {
        let directory = try FileSystem.openDirectory(path)
        let trash = try FileSystem.openDirectory(Self.trash(in: baseDirectory))
        for name in try FileSystem.entries(of: directory, path: path) where isRubbish("\(path)/\(name)") {
            guard unsafe files_rename_new(directory.number, name, trash.number, Random.name()) == 0 else {
                throw .fileSystem(operation: "move away", path: "\(path)/\(name)", .last)
            }
        }
    }
}
