import TenantRouter

/// Agents that each have a PostgreSQL of their own to think in: nobody sees, blocks or breaks what another one does.
///
///     swift run Agents ./agents
@main struct Agents {
    static func main() async throws {
        let directory = CommandLine.arguments.dropFirst().first ?? "./agents"
        try await think(in: directory)
        try await show(directory)
    }

    /// In this program: no port, no server to start.
    private static func think(in directory: String) async throws {
        var configuration = RouterConfiguration(baseDirectory: directory, maxInstances: 3, idleTimeout: .seconds(60))
        configuration.logger.logLevel = .error
        let pool = try await InstancePool.open(configuration) { print($0) }

        // More agents than instances may run at once: they take turns.
        let names = ["ada", "grace", "barbara", "frances", "jean"]
        try await withThrowingTaskGroup { group in
            for (number, name) in names.enumerated() {
                group.addTask { try await Agent(name: name, seed: number + 2).work(in: pool) }
            }
            for try await line in group { print(line) }
        }

        // A mistake of one agent is its own.
        do {
            try await pool.instance(named: "ada").query("SELECT * FROM thoughts_of_grace")
        } catch {
            print("ada is told: \(error)")
        }
        let databases = await pool.databases() ?? []
        print("databases: \(databases.map(\.dbName).joined(separator: " "))")
        try await pool.drop("jean")
        await pool.close()
    }

    /// For other programs: the same directory behind a port.
    private static func show(_ directory: String) async throws {
        var configuration = RouterConfiguration(port: 0, baseDirectory: directory, autoProvision: false)
        configuration.logger.logLevel = .error
        let router = try await MultiTenantRouter.start(configuration)
        print("psql postgresql://localhost:\(router.port)/ada would connect")
        if let stats = await router.stats() {
            print("\(stats.pool.totalInstances) of \(stats.pool.maxInstances) instances run")
        }
        for database in await router.databases() ?? [] { print("\(database.dbName) is \(database.state)") }
        await router.stop()
    }
}
