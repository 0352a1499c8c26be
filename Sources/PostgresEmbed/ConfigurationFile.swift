import Glibc
import Reactor

/// A configuration file of a cluster, as lines. Bytes, because a tenant may write any. Source: PostgreSQL manual,
/// section 20.1.2.
struct ConfigurationFile: Equatable, Sendable {
    /// What `ALTER SYSTEM` writes; read after the other one, so that its lines win.
    static let automatic = "postgresql.auto.conf"
    /// In the order in which PostgreSQL reads them.
    static let names = ["postgresql.conf", automatic]
    /// More than anybody writes, and less than would hurt.
    private static let sizeLimit = 4 << 20

    let name: String
    let content: [UInt8]

    init(name: String, content: [UInt8]) {
        self.name = name
        self.content = content
    }

    /// Nil when there is none.
    init?(_ name: String, in cluster: borrowing Descriptor) throws(EmbedError) {
        guard let content = try FileSystem.contents(of: name, in: cluster, limit: Self.sizeLimit) else { return nil }
        guard content.count < Self.sizeLimit else {
            throw .fileSystem(operation: "read", path: name, Errno(code: EFBIG))
        }
        self.init(name: name, content: content)
    }

    /// One line that says something, right or wrong.
    struct Line: Hashable, Sendable {
        let file: String
        /// From 1, as PostgreSQL counts.
        let number: Int
        let text: String
        /// What it sets, in small letters: its first word.
        let setting: String
    }

    /// Every line but blank ones, comments, and the one that brings the router's defaults.
    var lines: [Line] {
        content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
            .compactMap { index, bytes in
                let text = String(decoding: bytes, as: UTF8.self).trimmingBlanks()
                let setting = text.prefix { !"= \t'".contains($0) }.lowercased()
                let isDefaults = setting == "include" && text.contains(TemplateCluster.defaultsFile)
                guard !text.isEmpty, !text.hasPrefix("#"), !isDefaults else { return nil }
                return Line(file: name, number: index + 1, text: text, setting: setting)
            }
    }

    /// The content with some lines made comments that begin with a `remark`; every line keeps its number.
    func content(without left: Set<Line>, remark: String) -> [UInt8] {
        let numbers = Set(left.lazy.filter { $0.file == name }.map(\.number))
        guard !numbers.isEmpty else { return content }
        let parts = content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
            .map { index, bytes in
                numbers.contains(index + 1) ? Array("# \(remark): ".utf8) + bytes : Array(bytes)
            }
        return Array(parts.joined(separator: [UInt8(ascii: "\n")]))
    }
}

extension ConfigurationFile {
    // While a boot is tried without some lines, the original keeps a second name: a repair that is killed loses nothing.

    private var keptName: String { Self.keptName(name) }
    private static func keptName(_ name: String) -> String { name + ".before-repair" }

    /// Puts a variant in the original's place.
    func replace(with variant: [UInt8], in cluster: borrowing Descriptor) throws(EmbedError) {
        guard unsafe linkat(cluster.number, name, cluster.number, keptName, 0) == 0 || errno == EEXIST else {
            throw .fileSystem(operation: "link", path: name, .last)
        }
        try FileSystem.replace(name, in: cluster, with: variant)
    }

    /// Gives the originals their names back, where they have lost them.
    static func restore(in cluster: borrowing Descriptor) throws(EmbedError) {
        for name in names {
            let kept = keptName(name)
            guard unsafe renameat(cluster.number, kept, cluster.number, name) == 0 || errno == ENOENT else {
                throw .fileSystem(operation: "rename", path: kept, .last)
            }
            // Two names of one file are left alone by rename(2).
            try FileSystem.unlinkIfPresent(kept, in: cluster)
        }
    }

    /// The variant is the file from now on, after a power cut too.
    static func settle(_ name: String, _ content: [UInt8], in cluster: borrowing Descriptor) throws(EmbedError) {
        let temporary = name + ".repaired"
        try FileSystem.replace(temporary, in: cluster, with: content)
        try Durability.full.sync(try FileSystem.open(temporary, in: cluster, O_RDONLY | O_NOFOLLOW), path: temporary)
        guard unsafe renameat(cluster.number, temporary, cluster.number, name) == 0 else {
            throw .fileSystem(operation: "rename", path: temporary, .last)
        }
        try Durability.full.sync(cluster, path: name)
    }
}

extension String {
    fileprivate func trimmingBlanks() -> String {
        let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r" }
        return String(drop(while: isBlank).reversed().drop(while: isBlank).reversed())
    }
}
