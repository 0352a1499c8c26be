import CConfine
import Glibc
import Reactor

/// Template clusters that servers in memory share with those that come after them: `initdb` takes most of a second, a
/// copy hundredths of one. What is here is this user's alone, may be removed at any time, and never missed: whatever
/// fails, the template is made anew.
struct TemplateCache: Sendable {
    private let path: String

    /// In `$XDG_CACHE_HOME`, else in `.cache` of the user's home; nil where neither is the user's own.
    static func ofUser() -> TemplateCache? {
        let variable = unsafe getenv("XDG_CACHE_HOME").map { unsafe String(cString: $0) }
        // $HOME may be that of the user who started the program, and who it was.
        let home = unsafe getpwuid(geteuid()).map { unsafe String(cString: $0.pointee.pw_dir) }
        for (parent, isMade) in [(variable, false), (home.map { $0 + "/.cache" }, true)] {
            guard let parent, parent.hasPrefix("/") else { continue }
            if isMade, let home, isOwn(home) { _ = try? FileSystem.makeDirectory(parent) }
            guard isOwn(parent), (try? FileSystem.makeDirectory(parent + "/routerd")) != nil,
                isOwn(parent + "/routerd")
            else { continue }
            return TemplateCache(path: parent + "/routerd")
        }
        return nil
    }

    /// Copies the template of this name into the empty directory `target`; false where there is none.
    func fetch(_ name: String, to target: borrowing Descriptor) -> Bool {
        guard let cache = try? FileSystem.openDirectory(path),
            let template = try? FileSystem.openDirectory(name, in: cache)
        else { return false }
        guard Self.isWhole(template) else {
            // In the place of a whole one, which is kept next.
            try? Removal.remove(name, in: cache)
            return false
        }
        return (try? TreeCopy(durability: .none).copy(template, to: target, path: name)) != nil
    }

    /// Keeps a copy of a template, whole or not at all: made aside, on the disk, renamed.
    func keep(_ template: borrowing Descriptor, as name: String) {
        guard let cache = try? FileSystem.openDirectory(path) else { return }
        let staged = "." + Random.name()
        do throws(EmbedError) {
            try FileSystem.makeDirectory(staged, in: cache)
            let target = try FileSystem.openDirectory(staged, in: cache)
            try TreeCopy(durability: .full).copy(template, to: target, path: name)
            try Durability.full.syncFileSystem(of: target, path: path)
            // Somebody else may have been faster.
            guard unsafe files_rename_new(cache.number, staged, cache.number, name) == 0 else {
                return try Removal.remove(staged, in: cache)
            }
        } catch {
            try? Removal.remove(staged, in: cache)
        }
    }

    /// What somebody has begun to remove is not.
    private static func isWhole(_ template: borrowing Descriptor) -> Bool {
        guard let global = try? FileSystem.openDirectory("global", in: template),
            let content = try? FileSystem.contents(of: "pg_control", in: global),
            let version = try? FileSystem.contents(of: "PG_VERSION", in: template)
        else { return false }
        return ControlFile(content) != nil && !version.isEmpty
    }

    /// A directory of this user's that nobody else can write to.
    private static func isOwn(_ path: String) -> Bool {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return false }
        return status.st_mode & S_IFMT == S_IFDIR && status.st_uid == geteuid() && status.st_mode & 0o022 == 0
    }
}
