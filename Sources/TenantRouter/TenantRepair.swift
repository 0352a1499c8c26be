import PostgresEmbed
import TenantPool

/// Finds out why a tenant does not boot, and takes out the lines of its own configuration that stop it. Works with and
/// without a server that serves the base directory. Blocking: it boots the tenant, for a moment and for nobody.
///
/// ```swift
/// let repair = try TenantRepair(tenant: "alice", baseDirectory: "./data")
/// if case .lines(let lines, let remedy) = try repair.examine() { try repair.apply(remedy) }
/// ```
public struct TenantRepair: Sendable {
    /// A line that stops a boot.
    public struct Line: Sendable, Equatable {
        /// Absolute path of the file it stands in.
        public let file: String
        /// From 1.
        public let number: Int
        /// The line as it is.
        public let text: String
        /// What it sets, such as `shared_preload_libraries`.
        public let setting: String
        /// What PostgreSQL says of it.
        public let message: String
    }

    /// What came of an examination, which leaves everything as it was.
    public enum Diagnosis: Sendable {
        /// The tenant boots.
        case healthy
        /// It boots without these lines.
        case lines([Line], Remedy)
        /// It does not boot without any line of its own either: the last lines of PostgreSQL's log.
        case otherCause(said: [String])
    }

    /// What makes comments of the lines to blame.
    public struct Remedy: Sendable {
        fileprivate let remedy: Repair.Remedy
    }

    private let repair: Repair

    /// Looks for the tenant.
    ///
    /// - Parameters:
    ///   - tenant: the database's name.
    ///   - baseDirectory: where its server keeps it.
    ///   - postgresBinDirectory: the directory with PostgreSQL's programs; `nil` takes the newest version found.
    ///   - confinement: as its server's.
    /// - Throws: ``RouterError``: no such tenant, no PostgreSQL, no access to the directory; also when the process runs
    ///   as root.
    public init(
        tenant: String, baseDirectory: String, postgresBinDirectory: String? = nil, confinement: Confinement = .auto
    ) throws(RouterError) {
        let name: TenantName
        do throws(TenantNameError) {
            name = try TenantName(tenant)
        } catch {
            throw RouterError(.configuration, error.message)
        }
        do throws(EmbedError) {
            repair = try Repair(
                directoryName: name.directoryName, databaseName: name.string, baseDirectory: baseDirectory,
                installation: try .find(binDirectory: postgresBinDirectory), confinement: confinement.embed)
        } catch {
            throw RouterError(error)
        }
    }

    /// Boots the tenant, with all of its lines and with fewer, until it is clear which are to blame.
    ///
    /// - Parameter isCancelled: asked before each boot whether to give up.
    /// - Throws: ``RouterError``: the tenant runs, another repair is at work, the directory is no cluster of this
    ///   PostgreSQL.
    public func examine(isCancelled: @escaping () -> Bool = { false }) throws(RouterError) -> Diagnosis {
        do throws(EmbedError) {
            switch try repair.examine(isCancelled: isCancelled) {
            case .healthy: return .healthy
            case .lines(let findings, let remedy):
                return .lines(findings.map(Line.init), Remedy(remedy: remedy))
            case .otherCause(let said): return .otherCause(said: said)
            }
        } catch {
            throw Self.error(error)
        }
    }

    /// Makes comments of the lines to blame. Each file is replaced as a whole.
    ///
    /// - Throws: ``RouterError``: the tenant runs, or a file was changed since.
    public func apply(_ remedy: Remedy) throws(RouterError) {
        do throws(EmbedError) {
            try repair.apply(remedy.remedy)
        } catch {
            throw Self.error(error)
        }
    }

    /// In use means something else here: whatever runs needs no repair.
    private static func error(_ error: EmbedError) -> RouterError {
        guard case .clusterInUse(let path, let processID) = error else { return RouterError(error) }
        return RouterError(
            .environment,
            "the database in \(path) runs (process \(processID)), so nothing stops its boot; what is wrong with the next "
                + "one can be seen when it has stopped")
    }
}

extension TenantRepair.Line {
    fileprivate init(_ finding: Repair.Finding) {
        self.init(
            file: finding.file, number: finding.line, text: finding.text, setting: finding.setting,
            message: finding.message)
    }
}
