import PostgresEmbed
import Reactor
import Testing

@testable import TenantRouter

@Suite struct RouterConfigurationTests {
    /// The options table's column of defaults.
    @Test func defaultsAreTheTables() {
        let configuration = RouterConfiguration()
        #expect(configuration.port == 5432 && configuration.host == "127.0.0.1")
        #expect(configuration.baseDirectory == "./data" && configuration.autoProvision)
        #expect(configuration.maxInstances == 100 && configuration.maxConnections == 40)
        #expect(configuration.maxClients == nil)
        #expect(configuration.queueTimeout == .seconds(30) && configuration.idleTimeout == .seconds(300))
        #expect(configuration.socketDirectory == nil && configuration.postgresBinDirectory == nil)
        #expect(configuration.http == nil)
        #expect(!configuration.allowRemoteWithoutAuthentication && configuration.stopSignals.isEmpty)
    }

    @Test func whatCanBeServedIsValid() throws {
        try RouterConfiguration().validate()
        try RouterConfiguration(maxInstances: 1, maxConnections: 1, maxClients: 1, idleTimeout: .zero).validate()
        try RouterConfiguration(maxConnections: 10_000, queueTimeout: .milliseconds(1)).validate()
    }

    @Test(arguments: [
        (RouterConfiguration(maxInstances: 0), "--max-instances"),
        (RouterConfiguration(maxInstances: -1), "--max-instances"),
        // Multiplied by the descriptors of an instance it would overflow, and a trap is no answer to a bad flag.
        (RouterConfiguration(maxInstances: .max), "--max-instances"),
        (RouterConfiguration(maxConnections: 0), "--max-connections"),
        (RouterConfiguration(maxConnections: 10_001), "--max-connections"),
        (RouterConfiguration(maxClients: 0), "--max-clients"),
        (RouterConfiguration(queueTimeout: .zero), "--queue-timeout"),
        (RouterConfiguration(queueTimeout: .seconds(-1)), "--queue-timeout"),
        (RouterConfiguration(baseDirectory: ""), "--dir"),
        (RouterConfiguration(http: "9187"), "--http"),
    ])
    func whatCannotNamesItsFlag(_ configuration: RouterConfiguration, _ flag: String) throws {
        let error = try #require(throws: RouterError.self) { try configuration.validate() }
        #expect(error.kind == .configuration && error.isUsage)
        #expect(error.description.contains(flag) && !error.description.contains("\n"))
    }

    @Test func errorsKnowWhoseDoingTheyAre() {
        #expect(RouterError(.configuration, "").isUsage)
        #expect(!RouterError(.listener, "").isUsage && !RouterError(.environment, "").isUsage)
    }

    @Test func theWorldsErrorsBecomeOneLine() {
        let error = RouterError(EmbedError.postgresNotFound(lookedIn: ["/usr/lib/postgresql"]))
        #expect(error.kind == .environment)
        #expect(error.description.contains("/usr/lib/postgresql") && error.description.contains("--postgres-bin"))
        #expect(!error.description.contains("\n"))
    }
}
