import Glibc
import Reactor
import Testing

@testable import PostgresEmbed

/// What a tenant's configuration file says, line by line, and what becomes of it without some of them.
@Suite struct ConfigurationFileTests {
    private static let text = """
        include 'routerd.conf'  # routerd's defaults; settings below override them
        # a comment

          Work_Mem='4MB'  # indented, without blanks
        shared_preload_libraries  'nonsense'
        include_if_exists 'more.conf'
        = 3\r
        work_mem = 5MB
        """
    private static let file = ConfigurationFile(name: "postgresql.conf", content: Array(text.utf8))

    @Test func linesThatSaySomething() {
        let lines = Self.file.lines
        #expect(lines.map(\.number) == [4, 5, 6, 7, 8])
        #expect(lines.map(\.setting) == ["work_mem", "shared_preload_libraries", "include_if_exists", "", "work_mem"])
        #expect(lines[3].text == "= 3")
    }

    /// PostgreSQL names lines by number, so a line that is left out must not move the others.
    @Test func whatIsLeftOutBecomesAComment() {
        let left = Set(Self.file.lines.filter { $0.number == 5 || $0.number == 8 })
        let content = Self.file.content(without: left, remark: "left out")
        let variant = ConfigurationFile(name: "postgresql.conf", content: content)
        #expect(variant.lines.map(\.number) == [4, 6, 7])
        #expect(String(decoding: content, as: UTF8.self).hasSuffix("# left out: work_mem = 5MB"))
        #expect(Self.file.content(without: [], remark: "left out") == Self.file.content)
    }

    /// A line of another file with the same number stays.
    @Test func linesBelongToTheirFile() {
        let other = ConfigurationFile(name: ConfigurationFile.automatic, content: Self.file.content)
        #expect(Self.file.content(without: Set(other.lines), remark: "left out") == Self.file.content)
    }

    /// Bytes that are no UTF-8 stay what they are.
    @Test func anyBytes() {
        let content: [UInt8] = [0x61, 0x20, 0xff, 0x0a, 0x62, 0x20, 0x31, 0x0a]
        let file = ConfigurationFile(name: "postgresql.conf", content: content)
        let second = Set(file.lines.filter { $0.setting == "b" })
        #expect(file.content(without: second, remark: "r").starts(with: [0x61, 0x20, 0xff, 0x0a]))
    }

    /// Killed between any two steps, the next to come finds the original.
    @Test func originalsAreRestored() throws {
        var template = Array("/tmp/routerd-test-XXXXXX".utf8CString)
        try #require(unsafe mkdtemp(&template) != nil)
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { RuntimeDirectory.remove(path) }
        let directory = try FileSystem.openDirectory(path)
        try FileSystem.replace(Self.file.name, in: directory, with: Self.file.content)

        // Before anything was replaced, after the second name was made, after one variant and after two.
        try ConfigurationFile.restore(in: directory)
        let kept = Self.file.name + ".before-repair"
        #expect(unsafe linkat(directory.number, Self.file.name, directory.number, kept, 0) == 0)
        try ConfigurationFile.restore(in: directory)
        #expect(try FileSystem.entries(of: directory, path: path) == [Self.file.name])
        for variants in 1...2 {
            for variant in 1...variants { try Self.file.replace(with: [UInt8(variant)], in: directory) }
            try ConfigurationFile.restore(in: directory)
            #expect(try FileSystem.contents(of: Self.file.name, in: directory) == Self.file.content)
            #expect(try FileSystem.entries(of: directory, path: path) == [Self.file.name])
        }
    }

    /// What PostgreSQL has found in the files is told from what it met later.
    @Test func mistakesThatPostgreSQLNames() {
        let read = TrialBoot(
            said: [
                "LOG:  unrecognized configuration parameter \"x\" in file \"/d/postgresql.auto.conf\" line 3",
                "FATAL:  configuration file \"/d/postgresql.auto.conf\" contains errors",
            ], isReady: false)
        #expect(read.namesMistakes && read.reason.hasSuffix("contains errors"))
        let met = TrialBoot(
            said: ["FATAL:  could not access file \"y\"", "LOG:  database system is shut down"], isReady: false)
        #expect(!met.namesMistakes && met.reason == "FATAL:  could not access file \"y\"")
        #expect(TrialBoot(said: [], isReady: false).reason == "it ended without a word")
    }
}
