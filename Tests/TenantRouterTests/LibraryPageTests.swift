import Foundation
import TenantRouter
import Testing

/// The code of `docs/library.md`, compiled. It runs elsewhere; here it has to be the same, line by line.
private enum LibraryPage {
    static func open() async throws {
        let pool = try await InstancePool.open(baseDirectory: "./databases", maxInstances: 50, autoProvision: true)
        let instance = try await pool.instance(named: "mydb")
        let rows = try await instance.query("SELECT version()")
        print(rows[0]["version"] ?? "")
        await pool.close()
    }

    static func configure(_ directory: String) async throws -> InstancePool {
        var configuration = RouterConfiguration(baseDirectory: directory, maxInstances: 20, idleTimeout: .seconds(60))
        configuration.storage = .memory
        configuration.logger = .lines(level: .warn, format: .json)
        let pool = try await InstancePool.open(configuration) { print($0) }
        return pool
    }

    static func ask(_ instance: PooledInstance) async throws {
        let rows = try await instance.query(
            """
            CREATE TABLE IF NOT EXISTS visits (place text, count bigint, rating float8);
            SELECT place, count, rating FROM visits
            """, timeout: .seconds(5))
        for row in rows {
            let place = row["place"] ?? "nowhere"
            let count = try row.decode("count", as: Int.self)
            let rating = try row.decodeIfPresent("rating", as: Double.self)
            print(place, count, rating ?? 0)
        }
    }

    static func lease(_ pool: InstancePool) async throws {
        let lease = try await pool.acquire("mydb", timeout: .seconds(60))
        defer { lease.release() }
        print(lease.connectionString)
    }

    static func fail(_ pool: InstancePool, _ name: String) async {
        do throws(InstanceError) {
            try await pool.instance(named: name).query("SELECT 1")
        } catch {
            switch error {
            case .refused(let error) where error.sqlState == "3D000": print("there is no such database")
            case .refused(let error): print("\(error.sqlState): \(error.message)")
            case .cancelled: print("somebody changed their mind")
            case .closed: print("the pool is closed")
            }
        }
    }

    static func serve() async throws {
        let router = try await MultiTenantRouter.start(.init(port: 5432, baseDirectory: "./data"))
        print(router.address, router.postgresVersion)
        let stats = await router.stats()
        print(stats?.activeConnections ?? 0, stats?.pool.totalInstances ?? 0)
        for database in await router.databases() ?? [] { print(database.dbName, database.state) }
        await router.stop()
    }
}

@Suite struct LibraryPageTests {
    @Test func itsCodeIsCompiled() throws {
        let repository = URL(filePath: #filePath).appending(path: "../../..").standardizedFileURL
        let page = try String(contentsOf: repository.appending(path: "docs/library.md"), encoding: .utf8)
        let compiled = lines(of: try String(contentsOf: URL(filePath: #filePath), encoding: .utf8)[...])
        let blocks = page.components(separatedBy: "```swift\n").dropFirst().map { lines(of: $0.prefix(upTo: "```")) }
        #expect(blocks.count > 5)
        for block in blocks where block.first != "// Package.swift" {
            let begin = compiled.indices.first { compiled[$0...].starts(with: block) }
            #expect(begin != nil, "\(block.joined(separator: "\n"))")
        }
    }

    private func lines(of text: Substring) -> [String] {
        text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    }
}

extension String {
    fileprivate func prefix(upTo end: String) -> Substring { self[..<(range(of: end)?.lowerBound ?? endIndex)] }
}
