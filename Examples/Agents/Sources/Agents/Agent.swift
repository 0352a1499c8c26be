import TenantRouter

/// Somebody with a database of its own.
struct Agent {
    let name: String
    let seed: Int

    /// Works while its instance is held, and says what it found.
    func work(in pool: InstancePool) async throws -> String {
        // While the lease is held, no other agent's instance takes this one's place. A driver would connect to
        // `lease.connectionString`; for a few statements this will do.
        let lease = try await pool.acquire(name, timeout: .seconds(60))
        defer { lease.release() }
        try await lease.instance.query("CREATE TABLE IF NOT EXISTS thoughts (number bigint PRIMARY KEY, square bigint)")
        try await lease.instance.query(
            """
            INSERT INTO thoughts SELECT n, n * n FROM generate_series(1, \(seed)) AS n
            ON CONFLICT DO NOTHING
            """)
        let row = try await lease.instance.query(
            "SELECT current_database() AS place, count(*) AS count, sum(square)::bigint AS sum FROM thoughts")[0]
        let (count, sum) = (try row.decode("count", as: Int.self), try row.decode("sum", as: Int.self))
        return "\(row["place"] ?? "nobody") thought \(count) times, which makes \(sum)"
    }
}
