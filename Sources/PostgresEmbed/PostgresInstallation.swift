/// The programs of one installed PostgreSQL.
public struct PostgresInstallation: Sendable, Equatable {
    /// Absolute path of the directory that holds `postgres` and `initdb`.
    public let binDirectory: String
    /// The full version, such as `15.18`.
    public let version: String
    /// The part before the first full stop: clusters of different major versions cannot be exchanged.
    public let majorVersion: Int
    /// Whether `postgres` sends `READY=1` to `NOTIFY_SOCKET` (it is linked with libsystemd); otherwise readiness is read
    /// from `postmaster.pid`.
    public let announcesReadiness: Bool

    /// Finds PostgreSQL: in `binDirectory` if one is given, else the newest of the usual places and `PATH`.
    ///
    /// - Throws: ``EmbedError/postgresNotFound(lookedIn:)``, ``EmbedError/postgresUnusable(path:reason:)``.
    public static func find(binDirectory: String?) throws(EmbedError) -> PostgresInstallation { fatalError("written next") }
}
