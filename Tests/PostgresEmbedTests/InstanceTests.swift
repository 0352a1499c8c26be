import Glibc
import Testing

@testable import PostgresEmbed

@Suite("A tenant's instance", .serialized)
struct InstanceTests {
    @Test("a new tenant is cloned, booted, claimed, and keeps its rows over a restart")
    func firstBoot() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            do {
                let instance = try workshop.boot("user123")
                #expect(instance.cluster.created)
                #expect(try instance.query("SELECT current_database(), current_user") == "user123|alice")
                #expect(try instance.query("SELECT datname FROM pg_database ORDER BY 1") == "template0\ntemplate1\nuser123")
                #expect(try instance.query("CREATE TABLE t AS SELECT 42 AS n") == "")
                instance.stop()
            }
            let instance = try workshop.boot("user123", mayCreate: false)
            #expect(!instance.cluster.created)
            #expect(instance.cluster.claim == nil)
            #expect(try instance.query("SELECT n FROM t") == "42")
        }
    }
}
