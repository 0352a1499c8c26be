import Testing

@testable import TenantRouter

@Suite struct RowTests {
    private let row = Row(
        columns: ["id", "price", "isOpen", "name", "id", "nothing"],
        values: ["42", "2.5", "t", "é", "43", nil])

    @Test func valuesAreReadAsWhatIsAskedFor() throws {
        #expect(try row.decode("id") == 42)
        #expect(try row.decode("price", as: Double.self) == 2.5)
        #expect(try row.decode("isOpen", as: Bool.self))
        #expect(try row.decode("name", as: String.self) == "é")
        #expect(try row.decode("id", as: String.self) == "42")
        #expect(row["name"] == "é")
    }

    @Test func aNullIsNoValue() throws {
        #expect(row["nothing"] == nil)
        #expect(try row.decodeIfPresent("nothing", as: Int.self) == nil)
        #expect(try row.decodeIfPresent("id", as: Int.self) == 42)
        #expect(throws: RowError.isNull(column: "nothing")) { try row.decode("nothing", as: Int.self) }
    }

    @Test func whatDoesNotFitIsNamed() {
        #expect(row["else"] == nil)
        #expect(throws: RowError.noColumn("else", columns: row.columns)) { try row.decode("else", as: Int.self) }
        #expect(throws: RowError.unreadable(column: "name", value: "é", type: "Int")) {
            try row.decode("name", as: Int.self)
        }
        #expect(throws: RowError.self) { try row.decodeIfPresent("price", as: Bool.self) }
    }

    @Test func numbersAsPostgreSQLWritesThem() {
        #expect(Double(postgresText: "NaN")?.isNaN == true)
        #expect(Double(postgresText: "-Infinity") == -.infinity)
        #expect(Double(postgresText: "1e+300") == 1e300)
        #expect(Int(postgresText: "-9223372036854775808") == .min)
        #expect(Int(postgresText: "9223372036854775808") == nil && Int(postgresText: "1.0") == nil)
        #expect(Bool(postgresText: "false") == false && Bool(postgresText: "yes") == nil)
    }
}
