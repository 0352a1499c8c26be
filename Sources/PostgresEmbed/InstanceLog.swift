/// The file that a postmaster's output goes to, bounded from outside.
public struct InstanceLog: Sendable {
    /// Absolute path, for messages.
    public let path: String

    /// Keeps the file below its bound: past 4 MB the last 256 KB move to `.log.1` and the file starts anew. One `stat`
    /// otherwise. Called about once a second while the instance runs.
    public func trim() { fatalError("written next") }

    /// The last line, without the prefix of time and process; nil when there is none.
    public func lastLine() -> String? { fatalError("written next") }
}
