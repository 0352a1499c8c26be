import WireProtocol

/// A database of an ``InstancePool``. Having one holds nothing awake: its instance hibernates when nobody uses it, and
/// whatever needs it wakes it.
public struct PooledInstance: Sendable {
    /// The database's name.
    public let name: String
    /// The pool that it belongs to.
    public let pool: InstancePool

    /// What drivers connect with; see ``InstancePool/connectionString(for:)``.
    public var connectionString: String { pool.connectionString(for: name) }

    /// The most that the rows of one answer may have together, in bytes.
    public static let answerLimit = AdminExchange.answerLimit

    /// Runs a statement, or several as one transaction, and returns the rows of all of them.
    ///
    /// This is a tool for administration and not a driver: it opens a connection for each call, takes no parameters,
    /// reads values as text, and refuses COPY. It connects as the router's own role, a superuser of the instance; where
    /// the users of a database are not trusted, write the statement with qualified names, because its `search_path` is
    /// what they made it. Text that a user chose has no place in it. For everything else there are drivers and
    /// ``connectionString``.
    ///
    /// - Parameters:
    ///   - sql: the statement; several are parted by semicolons.
    ///   - timeout: how long it may take, the wait for its instance included.
    /// - Throws: ``InstanceError``: `refused` with PostgreSQL's own error, with `57014` after the timeout, with `54000`
    ///   where the rows are longer than ``answerLimit``; `cancelled`, `closed`.
    @discardableResult
    public func query(_ sql: String, timeout: Duration = .seconds(60)) async throws(InstanceError) -> [Row] {
        let (tenant, patience) = (try InstancePool.tenant(name), InstancePool.bounded(timeout))
        let (ticket, router) = (Ticket(), pool.router)
        let alarm = Task {
            guard (try? await Task.sleep(for: patience)) != nil else { return }
            router.tell { $0.expire(ticket, after: patience) }
        }
        defer { alarm.cancel() }
        let rows: [AnswerRow] = try await router.ask(
            { router, ticket, reply in
                router.query(sql, in: tenant, patience: patience, for: ticket, reply)
            }, by: ticket)
        return rows.map { Row(columns: $0.columns, values: $0.values) }
    }
}
