import CConfine
import Glibc
import Reactor
import Synchronization

/// The clusters of all tenants under one base directory, of which this process is the only server.
///
/// ```
/// <base>/<tenant>/           a cluster, whole or absent
/// <base>/.routerd/lock       held by the server; its process id and runtime directory
///                 template/  what clones are copied from
///                 staging/   clones and templates in the making
///                 spares/    booted clones that nobody owns yet, and their logs
///                 trash/     what is to be removed
///                 logs/      one file for each tenant
///                 pg_hba.conf, pg_ident.conf
/// ```
/// Every method but ``spawn(_:)`` blocks on the file system and belongs on a worker thread; different tenants may be
/// prepared at the same time, one tenant only by one thread at a time.
public final class ClusterStore: Sendable {
    /// The PostgreSQL that its instances run.
    public let installation: PostgresInstallation
    /// What the kernel confines instances with.
    public let confinement: ConfinementState
    /// The absolute path of the base directory.
    public let baseDirectory: String

    /// What an earlier server left that cannot be settled without a human: a sentence each, for the log.
    public let findings: [String]

    let durability: Durability
    private let options: ClusterStoreOptions
    /// For instances that boot from now on.
    private let settings: Mutex<Settings>
    private let rules: ConfinementRules?
    private let template: TemplateCluster
    let runtimeDirectory: RuntimeDirectory
    /// Where the files are that decide who may enter an instance.
    private let accessDirectory: String
    private let lock: Mutex<Descriptor?>

    /// What a tenant's roles may do: superusers where the kernel confines them.
    public var privileges: TenantPrivileges {
        switch confinement {
        case .landlock: .superuser
        case .off: installation.majorVersion >= 16 ? .owner : .ownerWithoutRoles
        }
    }

    /// Opens the base directory: makes it if absent, takes its lock, makes a fresh runtime directory, finishes claims
    /// that an earlier server began, and puts aside for ``sweep(isStopping:)`` what it left half-made. Quick.
    ///
    /// - Throws: `runningAsRoot`, `directoryUnusable`, `directoryInUse`, `confinementUnavailable`; `settingPinned`,
    ///   `settingRefused`.
    public init(installation: PostgresInstallation, options: ClusterStoreOptions) throws(EmbedError) {
        guard geteuid() != 0 else { throw .runningAsRoot }
        self.installation = installation
        self.options = options
        self.durability = options.durability
        let settings = Settings(
            options: options, majorVersion: installation.majorVersion, machine: .current())
        try settings.check(with: installation)
        self.settings = Mutex(settings)
        self.baseDirectory = try Self.makeBaseDirectory(options.baseDirectory)
        let privateDirectory = baseDirectory + "/.routerd"
        for directory in ["", "/template", "/staging", "/spares", "/trash", "/logs"] {
            try FileSystem.makeDirectory(privateDirectory + directory)
        }
        let lock = try ServerLock.take(privateDirectory + "/lock", for: baseDirectory)
        if let leftover = lock.earlierRuntimeDirectory { RuntimeDirectory.removeLeftover(leftover) }
        self.findings = try Leftovers(baseDirectory: baseDirectory, durability: durability).settle()

        self.accessDirectory = privateDirectory
        let readable = try Self.writeAccessFiles(privateDirectory, method: "trust")
        self.template = TemplateCluster(
            installation: installation, privateDirectory: privateDirectory, durability: durability)
        (self.confinement, self.rules) = try Self.confinement(options, installation, readable: readable)

        // Last: whatever fails above leaves no directory behind.
        self.runtimeDirectory = try RuntimeDirectory()
        try lock.record(runtimeDirectory: runtimeDirectory.path)
        self.lock = Mutex(lock.release())
    }

    /// For a look at one tenant beside whoever serves the base directory: takes no lock, sweeps nothing, changes nothing
    /// but in a runtime directory of its own, and lets nobody into the instances that it boots.
    ///
    /// - Throws: `runningAsRoot`, `directoryUnusable`, `confinementUnavailable`.
    init(visiting baseDirectory: String, installation: PostgresInstallation, confinement: Confinement)
        throws(EmbedError)
    {
        guard geteuid() != 0 else { throw .runningAsRoot }
        let options = ClusterStoreOptions(baseDirectory: baseDirectory, confinement: confinement)
        self.installation = installation
        self.options = options
        self.settings = Mutex(
            Settings(options: options, majorVersion: installation.majorVersion, machine: .current()))
        self.baseDirectory = try Self.absolute(baseDirectory)
        self.durability = .full
        self.findings = []
        self.template = TemplateCluster(
            installation: installation, privateDirectory: self.baseDirectory + "/.routerd", durability: .full)
        let runtimeDirectory = try RuntimeDirectory()
        do throws(EmbedError) {
            let readable = try Self.writeAccessFiles(runtimeDirectory.path, method: "reject")
            (self.confinement, self.rules) = try Self.confinement(options, installation, readable: readable)
        } catch {
            runtimeDirectory.remove()
            throw error
        }
        self.accessDirectory = runtimeDirectory.path
        self.runtimeDirectory = runtimeDirectory
        self.lock = Mutex(nil)
    }

    /// Makes the template cluster unless it is there: `initdb`, once for each version and set of settings.
    public func ensureTemplate(progress: (String) -> Void) throws(EmbedError) {
        try template.ensure(progress: progress)
    }

    /// Other sizes and settings for instances that boot from now on.
    public func change(_ sizes: ClusterSizes) { settings.withLock { $0 = settings(for: sizes) } }

    /// Whether PostgreSQL takes these settings; asks it, 20 ms for each.
    ///
    /// - Throws: `settingPinned`, `settingRefused`.
    public func check(_ sizes: ClusterSizes) throws(EmbedError) {
        try settings(for: sizes).check(with: installation)
    }

    private func settings(for sizes: ClusterSizes) -> Settings {
        var options = options
        options.sizes = sizes
        return Settings(options: options, majorVersion: installation.majorVersion, machine: .current())
    }

    private var currentSettings: Settings { settings.withLock(\.self) }

    /// A fresh directory for a socket of the server's own: mode 0700, its path short, gone with the store.
    public func makeSocketDirectory() throws(EmbedError) -> String { try runtimeDirectory.makeSubdirectory() }

    /// Removes the runtime directory and gives up the lock. Idempotent.
    public func close() {
        guard let lock = lock.withLock({ $0.take() }) else { return }
        runtimeDirectory.remove()
        _ = consume lock
    }

    /// Directory names of all tenants, in no order. Reads the base directory; wakes nothing.
    public func directoryNames() throws(EmbedError) -> [String] {
        let directory = try FileSystem.openDirectory(baseDirectory)
        return try FileSystem.entries(of: directory, path: baseDirectory).filter { holds(directoryName: $0) }
    }

    /// Whether a tenant's directory has that name.
    public func holds(directoryName name: String) -> Bool {
        !name.hasPrefix(".") && Self.isCluster("\(baseDirectory)/\(name)")
    }

    /// Whether this is a cluster, whole or spoiled, and none of somebody's other directories. A tenant can remove files
    /// of its own by SQL, the two that tell at once among them, but no directories.
    static func isCluster(_ path: String) -> Bool {
        func status(of name: String) -> FileSystem.Status? { FileSystem.status(ofPath: "\(path)/\(name)") }
        return status(of: "PG_VERSION") != nil || status(of: TemplateCluster.defaultsFile) != nil
            || ["base", "global"].allSatisfy { status(of: $0)?.kind == .directory }
    }
}

// MARK: Opening

extension ClusterStore {
    /// The absolute path, with every directory of it made that was missing.
    private static func makeBaseDirectory(_ path: String) throws(EmbedError) -> String {
        do throws(EmbedError) {
            try makeDirectories(path)
        } catch .fileSystem(_, let failedPath, let errno) {
            throw .directoryUnusable(path: failedPath, errno)
        }
        return try absolute(path)
    }

    /// The absolute path of a directory that this user can use.
    static func absolute(_ path: String) throws(EmbedError) -> String {
        guard let resolved = unsafe realpath(path, nil) else { throw .directoryUnusable(path: path, .last) }
        defer { unsafe free(resolved) }
        let absolute = unsafe String(cString: resolved)
        guard unsafe access(absolute, R_OK | W_OK | X_OK) == 0 else {
            throw .directoryUnusable(path: absolute, .last)
        }
        return absolute
    }

    private static func makeDirectories(_ path: String) throws(EmbedError) {
        if FileSystem.status(ofPath: path)?.kind == .directory { return }
        let parent = path.split(separator: "/", omittingEmptySubsequences: true).dropLast().joined(separator: "/")
        if !parent.isEmpty { try makeDirectories(path.hasPrefix("/") ? "/" + parent : parent) }
        if try !FileSystem.makeDirectory(path), FileSystem.status(ofPath: path)?.kind != .directory {
            throw .directoryUnusable(path: path, Errno(code: ENOTDIR))
        }
    }

    /// The files that decide who may enter an instance: whoever the router lets through, or nobody.
    private static func writeAccessFiles(
        _ privateDirectory: String, method: String
    ) throws(EmbedError) -> [String] {
        let directory = try FileSystem.openDirectory(privateDirectory)
        let rules = "local all all \(method)\nlocal replication all \(method)\n"
        try FileSystem.replace("pg_hba.conf", in: directory, with: Array(rules.utf8))
        try FileSystem.replace("pg_ident.conf", in: directory, with: [])
        return ["\(privateDirectory)/pg_hba.conf", "\(privateDirectory)/pg_ident.conf"]
    }

    private static func confinement(
        _ options: ClusterStoreOptions, _ installation: PostgresInstallation, readable: [String]
    ) throws(EmbedError) -> (ConfinementState, ConfinementRules?) {
        let abi = options.confinement == .off ? 0 : confine_landlock_abi()
        let failure = Errno.last
        // Truncating a file is governed from ABI 3 on; before, any file that the user may write could be emptied.
        let filtersCalls = confine_calls_available() == 0
        if abi >= 3 && filtersCalls {
            let rules = ConfinementRules(
                abi: abi, installation: installation, network: options.tenantNetwork, readable: readable)
            return (.landlock(abi: Int(abi)), rules)
        }
        let reason =
            switch abi {
            case ..<0: "this kernel has no Landlock (\(failure))"
            case 3...: "this kernel has no filters of system calls (seccomp)"
            default: "this kernel's Landlock ABI \(abi) is too old"
            }
        switch options.confinement {
        case .off: return (.off(reason: "asked for by --confine off"), nil)
        case .auto: return (.off(reason: reason), nil)
        case .require: throw .confinementUnavailable(reason: reason)
        }
    }
}

// MARK: Preparing

extension ClusterStore.Residence {
    /// A tenant's.
    init(baseDirectory: String, directoryName: String, databaseName: String) {
        let path = "\(baseDirectory)/\(directoryName)"
        self.init(
            directoryName: directoryName, databaseName: databaseName, path: path, dataDirectory: path,
            clusterName: directoryName, log: InstanceLog(path: "\(baseDirectory)/.routerd/logs/\(directoryName).log"))
    }
}

extension ClusterStore {
    /// Where a cluster is, and what its postmaster is told about that.
    struct Residence: Sendable {
        let directoryName: String
        let databaseName: String
        let path: String
        /// The postmaster's own path to it.
        let dataDirectory: String
        /// What `ps` shows.
        let clusterName: String
        let log: InstanceLog
    }

    func residence(directoryName: String, databaseName: String) -> Residence {
        precondition(
            Claim.isDirectoryName(directoryName), "a tenant's directory is one plain path component")
        return Residence(baseDirectory: baseDirectory, directoryName: directoryName, databaseName: databaseName)
    }

    /// Brings a tenant's directory to the point where a postmaster can be spawned in it.
    ///
    /// - Parameters:
    ///   - directoryName: one path component that does not begin with a full stop.
    ///   - databaseName: what clients call it.
    ///   - mayCreate: whether an absent directory is cloned from the template.
    /// - Throws: `absent`; `notACluster`, `otherMajorVersion` and `otherBuild` (the directory is not touched); `clusterInUse`,
    ///   `survivorRemains`; `fileSystem`.
    public func prepare(
        directoryName: String, databaseName: String, mayCreate: Bool
    ) throws(EmbedError) -> PreparedCluster {
        let tenant = residence(directoryName: directoryName, databaseName: databaseName)
        var created = false
        // By the name itself: a link that leads nowhere is no free name.
        if try FileSystem.status(of: directoryName, in: try FileSystem.openDirectory(baseDirectory)) == nil {
            guard mayCreate else { throw .absent(databaseName: databaseName) }
            try clone(to: tenant)
            created = true
        }
        return try prepare(tenant, created: created)
    }

    func prepare(_ tenant: Residence, created: Bool) throws(EmbedError) -> PreparedCluster {
        let cluster = try openCluster(tenant)
        let identity = try FileSystem.status(of: cluster, path: tenant.path)
        try RepairLock.share(cluster, path: tenant.path)
        try survivors(of: tenant, identity).clear(cluster)
        try writeDefaults(cluster)
        let claim = try FileSystem.contents(of: Claim.fileName, in: cluster).flatMap { Claim($0) }

        let socketDirectory = try runtimeDirectory.makeSubdirectory()
        do throws(EmbedError) {
            var notifySocket: Descriptor?
            if installation.announcesReadiness {
                notifySocket = try NotifySocket.bind("\(socketDirectory)/\(PreparedCluster.notifyName)")
            }
            let launch = PreparedCluster.Launch(
                output: try tenant.log.open(), ruleset: try ruleset(cluster, socketDirectory: socketDirectory))
            return PreparedCluster(
                residence: tenant, log: tenant.log, claim: claim, created: created, identity: identity,
                socketDirectory: socketDirectory, postmaster: postmaster(of: tenant, socketDirectory: socketDirectory),
                notifySocket: notifySocket, launch: launch, repairLock: cluster)
        } catch {
            RuntimeDirectory.remove(socketDirectory)
            throw error
        }
    }

    /// What the next boot takes for the tenant's defaults.
    func writeDefaults(_ cluster: borrowing Descriptor) throws(EmbedError) {
        try FileSystem.replace(TemplateCluster.defaultsFile, in: cluster, with: Array(currentSettings.defaults().utf8))
    }

    func survivors(of tenant: Residence, _ identity: FileSystem.Status) -> Survivors {
        Survivors(path: tenant.path, identity: identity, mark: mark)
    }

    /// Checks without touching: a directory that is not ours to serve stays as it is.
    func openCluster(_ tenant: Residence) throws(EmbedError) -> Descriptor {
        guard FileSystem.status(ofPath: tenant.path)?.kind == .directory else {
            throw .notACluster(path: tenant.path, reason: "It is not a directory.")
        }
        let cluster = try FileSystem.openDirectory(tenant.path)
        guard let content = try FileSystem.contents(of: "PG_VERSION", in: cluster) else {
            throw .notACluster(path: tenant.path, reason: "It has no file PG_VERSION.")
        }
        let version = String(decoding: content.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        // Before the version: PostgreSQL of that version could not serve it either. PostgreSQL itself says what is wrong
        // with a control file that is absent or damaged.
        let control = try FileSystem.contents(of: "global/pg_control", in: cluster)
        if let control, ControlFile(control)?.isOf32BitBuild == true {
            throw .otherBuild(path: tenant.path, version: version)
        }
        guard version == "\(installation.majorVersion)" else {
            throw .otherMajorVersion(path: tenant.path, found: version, expected: "\(installation.majorVersion)")
        }
        return cluster
    }

    func ruleset(
        _ cluster: borrowing Descriptor, socketDirectory: String
    ) throws(EmbedError) -> Descriptor? {
        guard let rules else { return nil }
        return try rules.ruleset(
            dataDirectory: cluster, socketDirectory: try FileSystem.openDirectory(socketDirectory))
    }

    /// What the arguments of every postmaster of this base directory contain, and no other's.
    var mark: String { "hba_file=\(baseDirectory)/.routerd/pg_hba.conf" }

    func postmaster(of tenant: Residence, socketDirectory: String) -> Program {
        let places = Settings.Places(
            dataDirectory: tenant.dataDirectory, socketDirectory: socketDirectory,
            hostBasedAuthentication: "\(accessDirectory)/pg_hba.conf", identityMap: "\(accessDirectory)/pg_ident.conf")
        var program = Program(
            path: installation.postgres,
            arguments: ["-D", tenant.dataDirectory] + currentSettings.pinned(places, name: tenant.clusterName))
        program.directory = tenant.path
        // The messages' language and nothing of ours: the environment is readable by every function of the tenant.
        program.environment = ["PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"]
        if installation.announcesReadiness {
            program.environment.append("NOTIFY_SOCKET=\(socketDirectory)/\(PreparedCluster.notifyName)")
        }
        // Immediate shutdown, not SIGKILL: the postmaster takes its backends along.
        program.parentDeathSignal = SIGQUIT
        // When memory runs out an instance goes before the router, and its tenant recovers alone.
        program.outOfMemoryScore = 200
        if let rules { program.calls = rules.calls }
        return program
    }
}

// MARK: Cloning

extension ClusterStore {
    /// A tenant's directory is whole or absent: copied aside, given an identity, synced, renamed.
    private func clone(to tenant: Residence) throws(EmbedError) {
        let staging = try FileSystem.openDirectory(baseDirectory + "/.routerd/staging")
        let staged = Random.name()
        do throws(EmbedError) {
            try FileSystem.makeDirectory(staged, in: staging)
            let target = try FileSystem.openDirectory(staged, in: staging)
            let claim = Claim(
                databaseName: tenant.databaseName, oldName: RouterSQL.claimableDatabase,
                directoryName: tenant.directoryName)
            try fill(target, claim: claim)
        } catch {
            abandon(staged, in: staging)
            throw error
        }
        let base = try FileSystem.openDirectory(baseDirectory)
        guard unsafe files_rename_new(staging.number, staged, base.number, tenant.directoryName) == 0 else {
            let failure = Errno.last
            abandon(staged, in: staging)
            throw .fileSystem(operation: "create", path: tenant.path, failure)
        }
        try durability.sync(base, path: baseDirectory)
    }

    /// Makes an empty directory a whole cluster with an identity of its own, on the disk when this returns.
    func fill(_ target: borrowing Descriptor, claim: Claim?) throws(EmbedError) {
        try TreeCopy(durability: durability).copy(
            try FileSystem.openDirectory(template.path), to: target, path: template.path)
        try ClusterIdentity().apply(to: target, path: template.path)
        if let claim { try FileSystem.replace(Claim.fileName, in: target, with: claim.content) }
        try durability.syncFileSystem(of: target, path: template.path)
    }

    /// Ends a claim: the database has its name, the roles exist.
    ///
    /// Not synced: should the file come back after a power cut, the claim is done again without effect.
    public func finishClaim(_ cluster: PreparedCluster) throws(EmbedError) {
        let directory = try FileSystem.openDirectory(cluster.dataDirectory)
        // A tenant that was dropped and made anew meanwhile has a claim of its own.
        guard try FileSystem.status(of: directory, path: cluster.dataDirectory).isSameFile(as: cluster.identity) else {
            return
        }
        try FileSystem.unlinkIfPresent(Claim.fileName, in: directory)
    }
}

// MARK: Running

extension ClusterStore {
    /// Spawns the postmaster. Fast; called on a thread that outlives the instance, because the parent-death signal
    /// follows the thread that spawned. Once for each prepared cluster.
    ///
    /// - Throws: `spawnFailed`.
    public func spawn(_ cluster: PreparedCluster) throws(EmbedError) -> Postmaster {
        guard let launch = cluster.takeLaunch() else { preconditionFailure("a prepared cluster is spawned once") }
        let null = try FileSystem.open("/dev/null", O_RDWR)
        let child = try cluster.postmaster.spawn(input: null, output: launch.output, ruleset: launch.ruleset)
        return Postmaster(child)
    }

    /// After the postmaster has exited: ends what survived it and removes its runtime subdirectory.
    public func retire(_ cluster: PreparedCluster) {
        // The next boot looks again, so a failure here is its to report.
        let survivors = Survivors(path: cluster.dataDirectory, identity: cluster.identity, mark: mark)
        if let directory = try? FileSystem.openDirectory(cluster.dataDirectory),
            (try? survivors.mayRemain(directory)) == true
        {
            try? survivors.endAll()
        }
        RuntimeDirectory.remove(cluster.socketDirectory)
    }
}
