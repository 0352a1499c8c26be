import CConfine
import Glibc
import Reactor

/// The programs of one installed PostgreSQL.
public struct PostgresInstallation: Sendable, Equatable {
    /// Absolute path of the directory that holds `postgres` and `initdb`, links resolved.
    public let binDirectory: String
    /// The full version, such as `15.18`.
    public let version: String
    /// The part before the first full stop: clusters of different major versions cannot be exchanged.
    public let majorVersion: Int
    /// Whether `postgres` sends `READY=1` to `NOTIFY_SOCKET` (it is linked with libsystemd); otherwise readiness is
    /// read from `postmaster.pid`.
    public let announcesReadiness: Bool

    /// Finds PostgreSQL: in `binDirectory` if one is given, else the newest of the usual places and `PATH`.
    ///
    /// - Throws: ``EmbedError/postgresNotFound(lookedIn:)``, ``EmbedError/postgresUnusable(path:reason:)``.
    public static func find(binDirectory: String?) throws(EmbedError) -> PostgresInstallation {
        if let binDirectory {
            guard holdsPrograms(binDirectory) else { throw .postgresNotFound(lookedIn: [binDirectory]) }
            return try examine(binDirectory)
        }
        let usual = usualDirectories()
        let (installations, firstFailure) = examineAll(usual.directories)
        // The first of the newest: the usual places come before PATH.
        if let newest = installations.reversed().max(by: { $0.isOlder(than: $1) }) { return newest }
        throw firstFailure ?? .postgresNotFound(lookedIn: usual.description)
    }

    /// All of the usual places and `PATH`, each once.
    static func all() -> [PostgresInstallation] {
        var found: [PostgresInstallation] = []
        for installation in examineAll(usualDirectories().directories).installations
        where !found.contains(installation) {
            found.append(installation)
        }
        return found
    }

    private static func examineAll(
        _ directories: [String]
    ) -> (installations: [PostgresInstallation], firstFailure: EmbedError?) {
        var installations: [PostgresInstallation] = []
        var firstFailure: EmbedError?
        for directory in directories where holdsPrograms(directory) {
            do throws(EmbedError) {
                installations.append(try examine(directory))
            } catch {
                firstFailure = firstFailure ?? error
            }
        }
        return (installations, firstFailure)
    }

    var postgres: String { binDirectory + "/postgres" }
    var initdb: String { binDirectory + "/initdb" }

    // MARK: Where to look

    /// The directories to examine, and how to say where that was.
    private static func usualDirectories() -> (directories: [String], description: [String]) {
        let numbered = [("/usr/lib/postgresql", "", "/bin"), ("/usr", "pgsql-", "/bin")]
        var directories: [String] = []
        for (parent, prefix, suffix) in numbered {
            directories += listing(parent).filter { $0.hasPrefix(prefix) }.sorted().reversed()
                .filter { Int($0.dropFirst(prefix.count)) != nil }.map { "\(parent)/\($0)\(suffix)" }
        }
        directories.append("/usr/local/pgsql/bin")
        let path = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? ""
        let searched = path.split(separator: ":").map(String.init).filter { $0.hasPrefix("/") }
        let description = ["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "PATH (\(path))"]
        return (directories + searched, description)
    }

    private static func holdsPrograms(_ directory: String) -> Bool {
        unsafe access(directory + "/postgres", X_OK) == 0 && access(directory + "/initdb", X_OK) == 0
    }

    private static func listing(_ path: String) -> [String] {
        guard let directory = try? FileSystem.openDirectory(path) else { return [] }
        return (try? FileSystem.entries(of: directory, path: path)) ?? []
    }

    // MARK: What is there

    private static func examine(_ directory: String) throws(EmbedError) -> PostgresInstallation {
        guard let resolved = unsafe realpath(directory + "/postgres", nil) else {
            throw .postgresUnusable(path: directory + "/postgres", reason: "\(Errno.last)")
        }
        defer { unsafe free(resolved) }
        let program = unsafe String(cString: resolved)
        // A link in PATH may lead to one program and not the other; both are taken from where postgres really is.
        let binDirectory = String(program[..<(program.lastIndex(of: "/") ?? program.startIndex)])
        guard holdsPrograms(binDirectory) else { throw .postgresNotFound(lookedIn: [binDirectory]) }
        let (status, output) = try Program(path: program, arguments: ["-V"]).run()
        guard status == 0, let version = version(in: output), let major = Int(version.prefix { $0.isNumber }) else {
            throw .postgresUnusable(path: program, reason: "postgres -V says: \(output.isEmpty ? "nothing" : output)")
        }
        return PostgresInstallation(
            binDirectory: binDirectory, version: version, majorVersion: major,
            announcesReadiness: try isLinkedWithSystemd(program))
    }

    /// `postgres (PostgreSQL) 15.18 (Debian …)` → `15.18`; also `16beta1`.
    static func version(in output: String) -> String? {
        let words = output.split { $0 == " " || $0 == "\n" }
        guard words.count >= 3, words[1] == "(PostgreSQL)", words[2].first?.isNumber == true else { return nil }
        return String(words[2])
    }

    /// The name of the library stands in the program's dynamic section wherever it is linked with it.
    private static func isLinkedWithSystemd(_ program: String) throws(EmbedError) -> Bool {
        let file = try FileSystem.open(program, O_RDONLY)
        let size = try FileSystem.status(of: file, path: program).size
        guard size > 0, let start = unsafe mmap(nil, size, PROT_READ, MAP_PRIVATE, file.number, 0),
            unsafe start != MAP_FAILED
        else { return false }
        defer { unsafe _ = munmap(start, size) }
        let name = Array("libsystemd.so".utf8)
        return unsafe name.withUnsafeBytes { unsafe files_find(start, size, $0.baseAddress, $0.count) != nil }
    }

    private func isOlder(than other: PostgresInstallation) -> Bool {
        let numbers = { (version: String) in version.split { !$0.isNumber }.compactMap { Int($0) } }
        return numbers(version).lexicographicallyPrecedes(numbers(other.version))
    }
}
