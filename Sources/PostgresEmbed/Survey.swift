import CConfine
import Glibc
import Reactor

/// What this machine has for clusters: asked, not changed.
public enum Survey {
    /// Every PostgreSQL that would be considered, the one that would be taken first.
    public static func installations(binDirectory: String?) -> [PostgresInstallation] {
        guard let first = try? PostgresInstallation.find(binDirectory: binDirectory) else { return [] }
        guard binDirectory == nil else { return [first] }
        return [first] + PostgresInstallation.all().filter { $0 != first }
    }

    /// The ABI version of the kernel's Landlock; nil where it has none.
    public static var landlockABI: Int? {
        let abi = confine_landlock_abi()
        return abi > 0 ? Int(abi) : nil
    }

    /// Whether the kernel filters system calls (seccomp).
    public static var filtersCalls: Bool { confine_calls_available() == 0 }

    /// Bytes of memory that this process and its children may use: the machine's, or the control group's.
    public static var memoryBytes: Int { Machine.current().memoryBytes }

    /// Where a server's sockets would stand.
    public static var runtimePlace: String? { RuntimeDirectory.parents().first }

    /// The major version of each cluster in a base directory, by the directory's name. Reads one small file of each.
    public static func versions(in baseDirectory: String) -> [String: String] {
        guard let base = try? FileSystem.openDirectory(baseDirectory),
            let names = try? FileSystem.entries(of: base, path: baseDirectory)
        else { return [:] }
        var versions: [String: String] = [:]
        for name in names where !name.hasPrefix(".") {
            guard let cluster = try? FileSystem.openDirectory(name, in: base),
                let content = try? FileSystem.contents(of: "PG_VERSION", in: cluster)
            else { continue }
            versions[name] = String(decoding: content.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        }
        return versions
    }

    /// The type of the file system that a path lies on; nil where nothing is there. Source: statfs(2).
    public static func fileSystemType(of path: String) -> UInt32? {
        let type = unsafe files_system_type(path)
        return type < 0 ? nil : UInt32(truncatingIfNeeded: type)
    }

    /// Whether PostgreSQL takes these settings, which asks it.
    ///
    /// - Throws: `settingPinned`, `settingRefused`.
    public static func check(
        _ options: ClusterStoreOptions, with installation: PostgresInstallation
    ) throws(EmbedError) {
        let settings = Settings(options: options, majorVersion: installation.majorVersion, machine: .current())
        try settings.check(with: installation)
    }
}
