import Foundation
import Glibc

/// The run's own directory: clusters, sockets, configurations, output. The path is short, because a Unix socket's is
/// limited to 107 bytes (unix(7)).
final class WorkDirectory {
    let path: String
    /// Whose rights PostgreSQL and PgBouncer run with: what they use is given to them.
    let owner: Account
    private var outputs = 0

    /// Creates it in `parent`, an existing directory that everybody may enter.
    init(in parent: String, owner: Account) throws(Failure) {
        path = "\(parent)/routerd-benchmarks-\(getpid())"
        guard path.utf8.count <= 70 else { throw .system("\(path) is too long for a socket's path.") }
        self.owner = owner
        try Self.create(path, mode: 0o755, owner: .own)
        try Self.create("\(path)/output", mode: 0o700, owner: .own)
    }

    /// Creates a directory that belongs to the owner.
    func subdirectory(_ name: String) throws(Failure) -> String {
        try Self.create("\(path)/\(name)", mode: 0o700, owner: owner)
        return "\(path)/\(name)"
    }

    /// Creates `count` directories in the subdirectory `name` that look like tenants' to whoever only looks at their
    /// names and their first file, and belong to the owner like those.
    func fillWithLookalikes(_ name: String, count: Int) throws(Failure) {
        var user = geteuid()
        var group = getegid()
        if case .named(let owner) = owner {
            guard let entry = unsafe getpwnam(owner) else { throw .system("There is no user \(owner).") }
            user = unsafe entry.pointee.pw_uid
            group = unsafe entry.pointee.pw_gid
        }
        for index in 0..<count {
            let tenant = "\(path)/\(name)/lookalike-\(index)"
            guard unsafe mkdir(tenant, 0o700) == 0, unsafe chown(tenant, user, group) == 0,
                FileManager.default.createFile(atPath: "\(tenant)/PG_VERSION", contents: Data("15\n".utf8)),
                unsafe chown("\(tenant)/PG_VERSION", user, group) == 0
            else { throw .system("Cannot create \(tenant): error \(errno)") }
            if index.isMultiple(of: 1_000) { try Interruption.check() }
        }
    }

    /// Writes a file that everybody can read.
    func write(_ text: String, to name: String) throws(Failure) -> String {
        let file = "\(path)/\(name)"
        do {
            try text.write(toFile: file, atomically: false, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
        } catch {
            throw .system("Cannot write \(file): \(error)")
        }
        return file
    }

    func newOutputPath(_ name: String) -> String {
        outputs += 1
        return "\(path)/output/\(outputs)-\(name)"
    }

    func remove() {
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            FileHandle.standardError.write(Data("Cannot remove \(path): \(error)\n".utf8))
        }
    }

    private static func create(_ path: String, mode: Int, owner: Account) throws(Failure) {
        var attributes: [FileAttributeKey: Any] = [.posixPermissions: mode]
        if case .named(let user) = owner { attributes[.ownerAccountName] = user }
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            try FileManager.default.setAttributes(attributes, ofItemAtPath: path)
        } catch {
            throw .system("Cannot create \(path): \(error)")
        }
    }
}
