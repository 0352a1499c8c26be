import Glibc
import Reactor

/// The journal of a cluster that is becoming a tenant's: a file inside the cluster until the database bears its name.
///
/// ```
/// staged with the file → renamed into place → booted → database renamed, roles made (SQL) → file removed
/// ```
/// A power cut between any two steps leaves the file, and the next boot goes on from there: every step may be repeated.
public struct Claim: Sendable, Equatable {
    /// The name that the database shall bear.
    public let databaseName: String
    /// The name that it was made with.
    public let oldName: String

    static let fileName = "routerd.claim"
    private static let format = "routerd claim 1"

    /// The file's content: a format line, then both names, each ended by a zero byte, which no name contains.
    var content: [UInt8] {
        Array(Self.format.utf8) + [0] + Array(oldName.utf8) + [0] + Array(databaseName.utf8) + [0]
    }

    init(databaseName: String, oldName: String) {
        self.databaseName = databaseName
        self.oldName = oldName
    }

    /// Nil for anything but a whole claim: a file that was cut short is one whose cluster was never renamed into place.
    init?(_ content: [UInt8]) {
        let parts = content.split(separator: 0, omittingEmptySubsequences: false)
        guard parts.count == 4, parts[3].isEmpty, parts[0].elementsEqual(Self.format.utf8),
            let oldName = String(validating: parts[1], as: UTF8.self),
            let databaseName = String(validating: parts[2], as: UTF8.self)
        else { return nil }
        self.init(databaseName: databaseName, oldName: oldName)
    }
}
