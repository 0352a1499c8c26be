import TenantPool
import Testing
import WireProtocol

@testable import TenantRouter

/// Which tenant a startup packet means, or why none.
@Suite struct TenantChoiceTests {
    private static func packet(
        user: String = "ann", database: String = "", _ parameters: [(name: String, value: String)] = []
    ) throws -> StartupPacket {
        var reader = StartupReader()
        reader.append(Frontend.startupMessage(user: user, database: database, parameters: parameters))
        guard case .packet(.startup(let packet)) = reader.next() else { throw NotAPacket() }
        return packet
    }

    private struct NotAPacket: Error {}

    @Test func theDatabaseIsTheTenant() throws {
        #expect(try TenantName(chosenBy: Self.packet(database: "shop")).string == "shop")
    }

    @Test func withoutADatabaseItIsTheUser() throws {
        #expect(try TenantName(chosenBy: Self.packet(user: "ann")).string == "ann")
    }

    @Test(arguments: [
        (String(repeating: "x", count: 64), SQLState.invalidParameterValue),
        ("template0", .objectNotInPrerequisiteState),
        ("routerd", .reservedName), ("pgbouncer", .reservedName),
    ])
    func badNamesAreRefusedByTheirCode(_ name: String, _ state: SQLState) throws {
        let packet = try Self.packet(database: name)
        let error = try #require(throws: ErrorMessage.self) { _ = try TenantName(chosenBy: packet) }
        #expect(error.sqlState == state)
    }

    /// libpq says `replication` for the database of a physical connection, which nobody means.
    @Test(arguments: ["true", "TRUE", "t", "on", "yes", "y", "1"])
    func aPhysicalReplicationConnectionNamesItsTenantInItsOptions(_ value: String) throws {
        let bare = try Self.packet(database: "replication", [("replication", value)])
        let error = try #require(throws: ErrorMessage.self) { _ = try TenantName(chosenBy: bare) }
        #expect(error == .replicationWithoutTenant)
        let named = try Self.packet(
            database: "replication", [("replication", value), ("options", "-c routerd.tenant=shop")])
        #expect(try TenantName(chosenBy: named).string == "shop")
    }

    @Test(arguments: ["false", "off", "no", "0", "database", ""])
    func anyOtherConnectionIsOneWithADatabase(_ value: String) throws {
        let packet = try Self.packet(
            database: "shop", [("replication", value), ("options", "-c routerd.tenant=other")])
        #expect(try TenantName(chosenBy: packet).string == "shop")
    }

    @Test(
        arguments: [
            ("-c routerd.tenant=shop", "shop"), ("-crouterd.tenant=shop", "shop"), ("--routerd.tenant=shop", "shop"),
            ("  -c   routerd.tenant=shop  ", "shop"), ("-c work_mem=1MB -c routerd.tenant=shop -c a=b", "shop"),
            ("-c routerd.tenant=one --routerd.tenant=two", "two"), (#"-c routerd.tenant=my\ shop"#, "my shop"),
            (#"-c routerd.tenant=a\\b"#, #"a\b"#), ("-c routerd.tenant=a=b", "a=b"), ("-c routerd.tenant=", ""),
            ("", nil), ("-c", nil), ("-c routerd.tenants=shop", nil), ("routerd.tenant=shop", nil),
            ("-c work_mem=routerd.tenant=shop", nil), ("\\", nil),
        ] as [(String, String?)])
    func optionsAreReadAsPostgreSQLDoes(_ options: String, _ tenant: String?) throws {
        #expect(try Self.packet([("options", options)]).option("routerd.tenant") == tenant)
    }

    @Test func aBadNameInTheOptionsIsRefusedToo() throws {
        let packet = try Self.packet([("replication", "on"), ("options", "-c routerd.tenant=")])
        let error = try #require(throws: ErrorMessage.self) { _ = try TenantName(chosenBy: packet) }
        #expect(error.sqlState == .invalidParameterValue)
    }
}
