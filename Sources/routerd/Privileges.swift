import Glibc

/// PostgreSQL refuses to run as root, so a program started by root becomes another user for good.
///
/// setuid(2): as root it sets the real, the effective and the saved user id, so there is no way back.
enum Privileges {
    struct User {
        let name: String
        let userID: uid_t
        let groupID: gid_t
    }

    static var isRoot: Bool { geteuid() == 0 }

    /// The user to become.
    static func user(named name: String) throws(Failure) -> User {
        guard let entry = unsafe getpwnam(name) else {
            throw .failed(
                "the user \"\(name)\" does not exist, and PostgreSQL refuses to run as root: "
                    + "install Debian's postgresql-common, which brings the user postgres, or name one with --run-as")
        }
        let user = unsafe User(name: name, userID: entry.pointee.pw_uid, groupID: entry.pointee.pw_gid)
        guard user.userID != 0 else {
            throw .usage("--run-as \(name) is root, and PostgreSQL refuses to run as root: name an ordinary user")
        }
        return user
    }

    /// The user that a server of this base directory has become: whose its private directory is.
    static func user(serving path: String) throws(Failure) -> User {
        var status = stat()
        guard unsafe stat(path + "/.routerd", &status) == 0 else {
            throw .failed("no routerd has ever served \(path): there is no \(path)/.routerd (\(reason(errno)))")
        }
        guard status.st_uid != 0, let entry = unsafe getpwuid(status.st_uid) else {
            throw .failed(
                "\(path)/.routerd belongs to user \(status.st_uid), as which PostgreSQL cannot run; "
                    + "start routerd repair as the user that serves the directory")
        }
        return unsafe User(
            name: String(cString: entry.pointee.pw_name), userID: entry.pointee.pw_uid, groupID: entry.pointee.pw_gid)
    }

    /// Gives up root for `user`, groups included.
    static func become(_ user: User) throws(Failure) {
        guard unsafe initgroups(user.name, user.groupID) == 0, setgid(user.groupID) == 0, setuid(user.userID) == 0
        else {
            throw .failed("cannot become the user \"\(user.name)\": \(reason(errno))")
        }
        guard setuid(0) != 0 else { throw .failed("became \"\(user.name)\" but could still return to root; giving up") }
    }

    /// Makes the base directory where it is absent and gives away only what it made, never what it found: the directory
    /// is opened without following a link, so that it is the one that was made.
    static func prepareBaseDirectory(_ path: String, for user: User) throws(Failure) {
        let path = withoutTrailingSlashes(path)
        if let slash = path.lastIndex(of: "/"), slash > path.startIndex { try makeDirectories(String(path[..<slash])) }
        guard unsafe mkdir(path, 0o700) == 0 else {
            guard errno == EEXIST else { throw .failed("cannot make the directory \(path): \(reason(errno))") }
            return
        }
        let directory = unsafe open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        defer { close(directory) }
        guard directory >= 0, fchown(directory, user.userID, user.groupID) == 0 else {
            throw .failed("cannot give the directory \(path) to \"\(user.name)\": \(reason(errno))")
        }
    }

    private static func withoutTrailingSlashes(_ path: String) -> String {
        let kept = path.reversed().drop { $0 == "/" }.reversed()
        return kept.isEmpty ? path : String(kept)
    }

    private static func makeDirectories(_ path: String) throws(Failure) {
        var made = ""
        for part in path.split(separator: "/", omittingEmptySubsequences: true) {
            made += (made.isEmpty && !path.hasPrefix("/") ? "" : "/") + part
            guard unsafe mkdir(made, 0o755) == 0 || errno == EEXIST else {
                throw .failed("cannot make the directory \(made): \(reason(errno))")
            }
        }
    }

    /// Whether the present user can use the base directory; complains about the first directory that stands in the way.
    static func checkAccess(to path: String, as name: String) throws(Failure) {
        let isAbsolute = path.hasPrefix("/")
        var walked = isAbsolute ? "/" : "."
        for part in path.split(separator: "/", omittingEmptySubsequences: true) {
            guard unsafe access(walked, X_OK) == 0 else {
                throw .failed(
                    "the user \"\(name)\" cannot enter \(walked), which is on the way to \(path): \(reason(errno)); "
                        + "choose another --dir or --run-as, or let it in with chmod o+x \(walked)")
            }
            walked += (walked.hasSuffix("/") ? "" : "/") + part
        }
        guard unsafe access(path, R_OK | W_OK | X_OK) == 0 else {
            if errno == ENOENT { return }
            throw .failed(
                "the user \"\(name)\" cannot write to \(path): \(reason(errno)); "
                    + "give it away with chown \(name) \(path), or choose another --dir or --run-as")
        }
    }

    static func reason(_ code: CInt) -> String { unsafe String(cString: strerror(code)) }
}
