import TestSupport
import Testing

@testable import TenantPool

@Suite struct TenantNameTests {
    /// A database name walked out of the base directory.
    @Test(arguments: [
        ("shop", "shop"), ("a-b_C9", "a-b_C9"), (".", "%2E"), ("..", "%2E%2E"), ("../../x", "%2E%2E%2F%2E%2E%2Fx"),
        ("/etc", "%2Fetc"), ("%2E", "%252E"), ("a b", "a%20b"), ("é", "%C3%A9"), ("\"'\\", "%22%27%5C"),
        ("\n\u{7f}", "%0A%7F"), ("postgres", "postgres"), ("template1", "template1"), (".routerd", "%2Erouterd"),
        ("Template0", "Template0"),
    ])
    func directoriesStayBelowTheBase(name: String, directory: String) throws {
        let tenant = try TenantName(name)
        #expect(tenant.directoryName == directory)
        #expect(TenantName(directoryName: directory) == tenant)
        #expect(tenant.string == name && "\(tenant)" == name)
    }

    @Test func noTwoNamesShareADirectory() throws {
        var chance = Chance()
        var owners: [String: TenantName] = [:]
        for _ in 0..<20_000 {
            let scalars = (0..<Int.random(in: 1...4, using: &chance)).map { _ in
                ["a", "A", "%", "2", "E", ".", "/", "é", "e\u{301}", "\u{e9}"].randomElement(using: &chance) ?? "x"
            }
            let name = try TenantName(scalars.joined())
            let owner = owners.updateValue(name, forKey: name.directoryName)
            #expect(owner == nil || owner == name, "seed \(chance.seed)")
            #expect(name.directoryName.utf8.allSatisfy { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ".") })
            #expect(TenantName(directoryName: name.directoryName) == name)
        }
    }

    /// Swift holds them for one string, PostgreSQL for two.
    @Test func equivalentNamesAreTwoTenants() throws {
        let composed = try TenantName("\u{e9}")
        let decomposed = try TenantName("e\u{301}")
        #expect(composed.string == decomposed.string && composed != decomposed)
        #expect(Set([composed, decomposed]).count == 2)
        #expect(composed.directoryName != decomposed.directoryName)
    }

    @Test func lengthsAreCountedInBytes() throws {
        #expect(try TenantName(String(repeating: "x", count: 63)).directoryName.count == 63)
        #expect(try TenantName(String(repeating: "é", count: 31)).directoryName.count == 186)
        #expect(throws: TenantNameError.tooLong(byteCount: 64)) { try TenantName(String(repeating: "x", count: 64)) }
        #expect(throws: TenantNameError.tooLong(byteCount: 64)) { try TenantName(String(repeating: "é", count: 32)) }
    }

    @Test(
        arguments: [
            ([], .empty, "22023"), ([0x61, 0, 0x62], .containsZero, "22023"), ([0xff], .notUTF8, "22023"),
            ([0xc3], .notUTF8, "22023"), ([0xed, 0xa0, 0x80], .notUTF8, "22023"), ([0xc0, 0xaf], .notUTF8, "22023"),
            (Array("template0".utf8), .notConnectable("template0"), "55000"),
            (Array("routerd".utf8), .reserved("routerd"), "42939"),
            (Array("pgbouncer".utf8), .reserved("pgbouncer"), "42939"),
        ] as [([UInt8], TenantNameError, String)])
    func impossibleNamesAreRefused(bytes: [UInt8], error: TenantNameError, code: String) {
        #expect(throws: error) { try TenantName(bytes) }
        #expect(error.sqlState == code)
        #expect(TenantName(directoryName: String(decoding: bytes, as: UTF8.self)) == nil)
    }

    @Test func template0SpeaksAsPostgreSQLDoes() {
        #expect(
            TenantNameError.notConnectable("template0").message
                == "database \"template0\" is not currently accepting connections")
    }

    @Test(arguments: [
        "", ".", "..", ".routerd", "a.b", "a/b", "é", "%", "%2", "%2e", "%41", "%2g", "%C3", "%FF", "%00", "a%",
        String(repeating: "x", count: 64), "%72outerd",
    ])
    func directoriesOfNobody(directory: String) { #expect(TenantName(directoryName: directory) == nil) }
}
