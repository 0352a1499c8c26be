import Glibc
import Reactor

/// Finds the lines of a tenant's own configuration that keep its postmaster from booting, and takes them out when told
/// to.
///
/// PostgreSQL is asked: first for the mistakes that it names when it reads the files, then by boots without some of the
/// lines. It works beside a running server, which does not boot the tenant meanwhile.
public struct Repair: Sendable {
    private let baseDirectory: String
    private let tenant: ClusterStore.Residence
    private let installation: PostgresInstallation
    private let confinement: Confinement

    /// A line that stops a boot.
    public struct Finding: Sendable, Equatable {
        /// Absolute path.
        public let file: String
        /// From 1, as PostgreSQL counts.
        public let line: Int
        /// The line as it is.
        public let text: String
        /// What it sets.
        public let setting: String
        /// What PostgreSQL says when the line is there.
        public let message: String
        let source: ConfigurationFile.Line
    }

    /// What came of an examination.
    public enum Diagnosis: Sendable {
        /// It boots as it is.
        case healthy
        /// It boots without these lines, and does not with any one of them.
        case lines([Finding], Remedy)
        /// It does not boot without any line of its own either. The last lines that the postmaster wrote.
        case otherCause(said: [String])
    }

    /// The files without the lines to blame, for ``Repair/apply(_:)``.
    public struct Remedy: Sendable {
        let files: [ConfigurationFile]
        let leftOut: Set<ConfigurationFile.Line>
    }

    /// Looks for the tenant.
    ///
    /// - Throws: `absent`, `directoryUnusable`.
    public init(
        directoryName: String, databaseName: String, baseDirectory: String, installation: PostgresInstallation,
        confinement: Confinement
    ) throws(EmbedError) {
        self.baseDirectory = try ClusterStore.absolute(baseDirectory)
        let path = "\(self.baseDirectory)/\(directoryName)"
        guard FileSystem.status(ofPath: path) != nil else { throw .absent(databaseName: databaseName) }
        self.tenant = ClusterStore.Residence(
            baseDirectory: self.baseDirectory, directoryName: directoryName, databaseName: databaseName)
        self.installation = installation
        self.confinement = confinement
    }

    /// Boots the tenant, with all of its lines and with fewer, until it is clear which are to blame; leaves everything
    /// as it was.
    ///
    /// - Parameter isCancelled: asked before each boot.
    /// - Throws: `runningAsRoot`, `confinementUnavailable`; `notACluster`, `otherMajorVersion`, `otherBuild`;
    ///   `clusterInUse` when the tenant's postmaster runs, `underRepair`; `bootTakesLong`; `cancelled`; `spawnFailed`,
    ///   `fileSystem`.
    public func examine(isCancelled: @escaping () -> Bool) throws(EmbedError) -> Diagnosis {
        let store = try ClusterStore(
            visiting: baseDirectory, installation: installation, confinement: confinement)
        defer { store.runtimeDirectory.remove() }
        let cluster = try store.openCluster(tenant)
        try lock(cluster)
        let note = try RepairNote(directoryName: tenant.directoryName, baseDirectory: baseDirectory)
        try note.write(runtimeDirectory: store.runtimeDirectory.path)
        defer { note.remove() }
        if FileSystem.status(ofPath: "\(tenant.path)/\(TemplateCluster.defaultsFile)") == nil {
            try store.writeDefaults(cluster)
        }
        var search = try Search(store: store, tenant: tenant, cluster: cluster, isCancelled: isCancelled)
        let result: Result<Diagnosis, EmbedError>
        do throws(EmbedError) {
            result = .success(try search.run())
        } catch {
            result = .failure(error)
        }
        try search.restore()
        return try result.get()
    }

    /// Makes comments of the lines to blame. Each file is replaced as a whole.
    ///
    /// - Throws: `clusterInUse`, `underRepair`, `configurationChanged`, `fileSystem`.
    public func apply(_ remedy: Remedy) throws(EmbedError) {
        let cluster = try FileSystem.openDirectory(tenant.path)
        try lock(cluster)
        try refuseLivingPostmaster(cluster)
        for file in remedy.files where try ConfigurationFile(file.name, in: cluster) != file {
            throw .configurationChanged(path: "\(tenant.path)/\(file.name)")
        }
        for file in remedy.files where remedy.leftOut.contains(where: { $0.file == file.name }) {
            try ConfigurationFile.settle(
                file.name, file.content(without: remedy.leftOut, remark: Self.remark), in: cluster)
        }
    }

    /// A boot that takes longer than one waits for the lock is one that PostgreSQL has begun.
    private func lock(_ cluster: borrowing Descriptor) throws(EmbedError) {
        do throws(EmbedError) {
            try RepairLock.take(cluster, path: tenant.path)
        } catch {
            try refuseLivingPostmaster(cluster)
            throw error
        }
    }

    private func refuseLivingPostmaster(_ cluster: borrowing Descriptor) throws(EmbedError) {
        let identity = try FileSystem.status(of: cluster, path: tenant.path)
        let survivors = Survivors(path: tenant.path, identity: identity, mark: "")
        if let processID = try survivors.livingPostmaster(cluster) {
            throw .clusterInUse(path: tenant.path, processID: processID)
        }
    }

    private static let remark = "commented out by routerd repair, because PostgreSQL did not start with it"

    // MARK: Searching

    private struct Search: ~Copyable {
        let store: ClusterStore
        let tenant: ClusterStore.Residence
        let cluster: Descriptor
        let isCancelled: () -> Bool
        let files: [ConfigurationFile]
        /// Without which it boots, as far as is known.
        var leftOut: Set<ConfigurationFile.Line> = []
        var findings: [Finding] = []
        /// Names of files of which a variant stands in the original's place.
        var replaced: Set<String> = []

        init(
            store: ClusterStore, tenant: ClusterStore.Residence, cluster: consuming Descriptor,
            isCancelled: @escaping () -> Bool
        ) throws(EmbedError) {
            // Before anything is read: what a repair that was killed left replaced.
            try ConfigurationFile.restore(in: cluster)
            var files: [ConfigurationFile] = []
            for name in ConfigurationFile.names {
                if let file = try ConfigurationFile(name, in: cluster) { files.append(file) }
            }
            self.store = store
            self.tenant = tenant
            self.cluster = cluster
            self.isCancelled = isCancelled
            self.files = files
        }

        func restore() throws(EmbedError) { try ConfigurationFile.restore(in: cluster) }

        mutating func run() throws(EmbedError) -> Diagnosis {
            var boot = try boot(without: leftOut)
            // The mistakes that PostgreSQL names when it reads the files; it names all, unless one hides another.
            while !boot.isReady {
                let named = mistakes(namedBy: boot)
                guard !named.isEmpty else { break }
                findings += named
                leftOut.formUnion(named.map(\.source))
                boot = try self.boot(without: leftOut)
            }
            if boot.isReady { return diagnosis }

            // What it does not name is found by boots: none of the lines, then as many as it boots with.
            // From the last, because a line that a later one overrides does no harm while that one is there.
            let suspects = Array(files.flatMap(\.lines).filter { !leftOut.contains($0) }.reversed())
            let bare = try self.boot(without: leftOut.union(suspects))
            guard bare.isReady else { return .otherCause(said: bare.said.suffix(Self.shownLines)) }
            let complaint = boot.reason
            leftOut.formUnion(suspects)
            try narrow(suspects[...], complaint)
            return diagnosis
        }

        /// Of `group` it is known that it does not boot with all of it.
        private mutating func narrow(
            _ group: ArraySlice<ConfigurationFile.Line>, _ complaint: String
        ) throws(EmbedError) {
            guard group.count > 1 else {
                for line in group { findings.append(finding(line, complaint)) }
                return
            }
            let middle = group.startIndex + group.count / 2
            for half in [group[..<middle], group[middle...]] {
                let attempt = leftOut.subtracting(half)
                let boot = try boot(without: attempt)
                if boot.isReady { leftOut = attempt } else { try narrow(half, boot.reason) }
            }
        }

        private var diagnosis: Diagnosis {
            guard !findings.isEmpty else { return .healthy }
            let ordered = findings.sorted { left, right in
                let places = [left, right].map { ConfigurationFile.names.firstIndex(of: $0.source.file) ?? 0 }
                return (places[0], left.line) < (places[1], right.line)
            }
            return .lines(ordered, Remedy(files: files, leftOut: leftOut))
        }

        private static let shownLines = 10

        /// The files themselves are replaced, because PostgreSQL reads one of them from nowhere else.
        private mutating func boot(without left: Set<ConfigurationFile.Line>) throws(EmbedError) -> TrialBoot {
            if isCancelled() { throw .cancelled }
            for file in files {
                let variant = file.content(without: left, remark: "left out by routerd repair, for a moment")
                guard variant != file.content || replaced.contains(file.name) else { continue }
                replaced.insert(file.name)
                try file.replace(with: variant, in: cluster)
            }
            return try store.tryBoot(tenant, cluster)
        }

        // MARK: What PostgreSQL names

        private func mistakes(namedBy boot: TrialBoot) -> [Finding] {
            guard boot.namesMistakes else { return [] }
            var named: [Finding] = []
            for message in boot.said where message.hasPrefix("LOG:") {
                guard let line = line(namedBy: message), !leftOut.contains(line),
                    !named.contains(where: { $0.source == line })
                else { continue }
                named.append(finding(line, message))
            }
            return named
        }

        /// By its file and number (`in file "…" line 3`), or else by what it sets (`parameter "work_mem"`), of which the
        /// last line is the one that PostgreSQL took.
        private func line(namedBy message: String) -> ConfigurationFile.Line? {
            let quoted = message.split(separator: "\"", omittingEmptySubsequences: false)
            let lines = files.flatMap(\.lines)
            for (before, word) in zip(quoted, quoted.dropFirst()) where before.hasSuffix(" in file ") {
                let number = message.split(separator: "\" line ").last.flatMap { Int($0.prefix(while: \.isNumber)) }
                return lines.first {
                    ["\(tenant.path)/\($0.file)", $0.file].contains(String(word)) && $0.number == number
                }
            }
            for (before, word) in zip(quoted, quoted.dropFirst()) where before.hasSuffix("parameter ") {
                return lines.last { $0.setting == word.lowercased() && !leftOut.contains($0) }
            }
            return nil
        }

        private func finding(_ line: ConfigurationFile.Line, _ message: String) -> Finding {
            let words = message.drop { $0 != ":" }.dropFirst().drop { $0 == " " }
            return Finding(
                file: "\(tenant.path)/\(line.file)", line: line.number, text: line.text, setting: line.setting,
                message: words.isEmpty ? message : String(words), source: line)
        }
    }
}
