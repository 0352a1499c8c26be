import Glibc
import Reactor

/// The journal of a cluster that is becoming a tenant's: a file inside the cluster until the database bears its name.
///
/// ```
/// clone: staged with the file → renamed into place → booted → database renamed, roles made (SQL) → file removed
/// spare: booted ─┬→ file written → renamed into place ─┬→ clients enter, file removed
///                ╰→ database renamed, roles made (SQL) ╯
/// ```
/// A power cut between any two steps leaves the file, and the next boot goes on from there: every step may be repeated.
/// A spare without the file is nobody's, whatever its database is called: no client has been in it.
public struct Claim: Sendable, Equatable {
    /// The name that the database shall bear.
    public let databaseName: String
    /// The name that it was made with.
    public let oldName: String

    /// The directory that the cluster shall have; nil in a file of a server that did not write it down.
    let directoryName: String?

    static let fileName = "routerd.claim"
    private static let format = "routerd claim 2"
    /// Without the directory's name.
    private static let earlierFormat = "routerd claim 1"

    /// The file's content: a format line, then the names, each ended by a zero byte, which no name contains.
    var content: [UInt8] {
        [Self.format, oldName, databaseName, directoryName ?? ""].flatMap { Array($0.utf8) + [0] }
    }

    /// What makes a spare the tenant's of these names.
    public init(ofSpareFor databaseName: String, directoryName: String) {
        self.init(databaseName: databaseName, oldName: RouterSQL.claimableDatabase, directoryName: directoryName)
    }

    init(databaseName: String, oldName: String, directoryName: String) {
        self.databaseName = databaseName
        self.oldName = oldName
        self.directoryName = directoryName
    }

    /// Nil for anything but a whole claim: a file that was cut short is one whose cluster was never renamed into place.
    init?(_ content: [UInt8]) {
        let parts = content.split(separator: 0, omittingEmptySubsequences: false)
        let names = parts.dropFirst().dropLast().compactMap { String(validating: $0, as: UTF8.self) }
        guard names.count == parts.count - 2, parts.last?.isEmpty == true else { return nil }
        if names.count == 3, parts[0].elementsEqual(Self.format.utf8) {
            self.directoryName = names[2]
        } else if names.count == 2, parts[0].elementsEqual(Self.earlierFormat.utf8) {
            self.directoryName = nil
        } else {
            return nil
        }
        self.oldName = names[0]
        self.databaseName = names[1]
    }

    /// Whether a tenant's directory may be called so: one path component that is not hidden.
    static func isDirectoryName(_ name: String) -> Bool {
        !name.isEmpty && !name.hasPrefix(".") && !name.utf8.contains(UInt8(ascii: "/"))
    }
}
