import CConfine
import Glibc
import Reactor
import Testing

@testable import PostgresEmbed

@Suite("Dropping and sweeping", .serialized)
struct TrashTests {
    @Test("a dropped tenant is gone at once, its logs too, and its name is free; no link is followed")
    func dropping() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            let canary = workshop.directory + "/canary"
            try FileSystem.makeDirectory(canary)
            try FileSystem.makeDirectory(canary + "/nest")
            #expect(try !store.drop(directoryName: "absent"))
            let path = store.baseDirectory + "/tenant"
            do {
                let instance = try workshop.boot("tenant")
                try instance.expect("CREATE TABLE t ()", gives: "")
                instance.stop()
            }
            let logs = try FileSystem.openDirectory(store.baseDirectory + "/.routerd/logs")
            try FileSystem.replace("tenant.log.1", in: logs, with: [1])
            for link in ["/link", "/base/link", "/pg_tblspc/1"] {
                let made = unsafe symlink(canary, path + link)
                #expect(made == 0)
            }
            #expect(try store.drop(directoryName: "tenant"))
            #expect(try !store.drop(directoryName: "tenant"))
            #expect(FileSystem.status(ofPath: path) == nil)
            #expect(try workshop.names(in: ".routerd/logs").isEmpty)
            let instance = try workshop.boot("tenant")
            try instance.expect("SELECT to_regclass('t') IS NULL", gives: "t")
            store.sweep { false }
            #expect(try workshop.names(in: ".routerd/trash").isEmpty)
            #expect(FileSystem.status(ofPath: canary + "/nest") != nil)
            try instance.expect("SELECT 1", gives: "1")
        }
    }

    @Test("a tenant that has removed what tells a cluster is still listed, and can still be dropped")
    func spoiledCluster() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            try workshop.boot("tenant").stop()
            let cluster = try FileSystem.openDirectory(store.baseDirectory + "/tenant")
            for name in ["PG_VERSION", TemplateCluster.defaultsFile] {
                try FileSystem.unlinkIfPresent(name, in: cluster)
            }
            #expect(try store.directoryNames() == ["tenant"], "listed")
            #expect(try store.drop(directoryName: "tenant"), "dropped")
            #expect(try store.directoryNames().isEmpty, "gone")
        }
    }

    @Test("what is no cluster is not dropped, and of a linked one only the link goes")
    func foreignDirectories() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let store = workshop.store
            let base = try FileSystem.openDirectory(store.baseDirectory)
            try FileSystem.makeDirectory("photos", in: base)
            try FileSystem.replace("file", in: base, with: [])
            let dangling = unsafe symlink("/nowhere", store.baseDirectory + "/dangling")
            #expect(dangling == 0)
            for name in ["photos", "file", "dangling"] {
                do throws(EmbedError) {
                    _ = try store.drop(directoryName: name)
                    Issue.record("\(name) was dropped")
                } catch {
                    if case .notACluster = error { continue }
                    Issue.record("\(name): \(error.message)")
                }
            }
            #expect(try workshop.names(in: "").filter { !$0.hasPrefix(".") } == ["dangling", "file", "photos"])

            let elsewhere = workshop.directory + "/elsewhere"
            try FileSystem.makeDirectory(elsewhere)
            try FileSystem.replace("PG_VERSION", in: try FileSystem.openDirectory(elsewhere), with: [])
            let linked = unsafe symlink(elsewhere, store.baseDirectory + "/linked")
            #expect(linked == 0)
            #expect(try store.drop(directoryName: "linked"))
            store.sweep { false }
            #expect(FileSystem.status(ofPath: elsewhere + "/PG_VERSION") != nil)
        }
    }

    @Test("a sweep that is stopped, or killed with the router, is finished by the next")
    func interruptedSweep() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            for name in ["one", "two"] {
                _ = try workshop.store.prepare(directoryName: name, databaseName: name, mayCreate: true)
                #expect(try workshop.store.drop(directoryName: name))
            }
            for steps in [0, 1, 200, 900] {
                var left = steps
                workshop.store.sweep {
                    left -= 1
                    return left < 0
                }
                #expect(try !workshop.names(in: ".routerd/trash").isEmpty)
            }
            try workshop.reopen()
            workshop.store.sweep { false }
            #expect(try workshop.names(in: ".routerd/trash").isEmpty)
        }
    }

    /// A spare of an earlier server whose postmaster did not go down with it: removed under its feet, it would write on
    /// into files without names, and its sockets would never go.
    @Test("a leftover spare's postmaster is ended before its directory is removed; this run's spares are left alone")
    func leftoverSpares() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop()
            let orphan = try workshop.bootSpare()
            try workshop.reopen()
            let instance = try workshop.bootSpare()
            workshop.store.sweep { false }
            #expect(try workshop.names(in: ".routerd/trash").isEmpty)
            orphan.awaitEnd()
            try instance.claim("tenant")
            try instance.expect("SELECT current_database()", gives: "tenant")
        }
    }

    @Test("without durability nothing of ours or PostgreSQL's waits for a disk, and everything else works")
    func inMemory() async {
        await #expect(processExitsWith: .success) {
            let workshop = try Workshop {
                $0.durability = .none
                $0.settings = [("work_mem", "5MB"), ("custom.value", "it's"), ("statement_timeout", "7s")]
            }
            let instance = try workshop.bootSpare()
            try instance.claim("tenant")
            for (name, value) in [
                ("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off"), ("work_mem", "5MB"),
                ("custom.value", "it's"), ("statement_timeout", "7s"),
            ] {
                try instance.expect("SHOW \(name)", gives: value)
            }
        }
    }
}
