import Foundation
import Testing

/// The import graph that `docs/ARCHITECTURE.md` draws, held against the `import` lines of every source file.
@Suite struct ArchitectureTests {
    @Test(arguments: Module.all)
    func importsOnlyWhatItMayKnow(module: Module) throws {
        for file in try SourceFile.all(in: module.directory) {
            for name in file.imports where !module.mayImport.contains(name) {
                Issue.record("\(file.path) imports \(name), which \(module.name) must never know")
            }
        }
    }

    @Test func everySourceDirectoryHasItsPlaceInTheGraph() throws {
        let found = try FileManager.default.contentsOfDirectory(atPath: repository.appending(path: "Sources").path)
        #expect(Set(found) == Set(Module.all.map(\.name)).subtracting(["Benchmarks"]).union(cTargets))
    }

    @Test(arguments: cTargets.sorted())
    func kernelInterfacesIncludeOnlySystemHeadersAndTheirOwn(target: String) throws {
        for file in try SourceFile.all(in: "Sources/\(target)") {
            for header in file.quotedIncludes {
                let own = repository.appending(path: "Sources/\(target)/include/\(header)")
                #expect(FileManager.default.fileExists(atPath: own.path), "\(file.path) includes \(header)")
            }
        }
    }

    @Test func everyModuleHasSourceFiles() throws {
        // Without this, a directory that moved would make every check above pass by finding nothing.
        for module in Module.all {
            #expect(try !SourceFile.all(in: module.directory).isEmpty, "\(module.directory) holds no source file")
        }
    }
}

@Suite struct SourceFileTests {
    @Test func findsImportsInEverySpelling() {
        let text = """
            import Plain
            public import Published
            @testable import Tested
            @preconcurrency internal import Old
            import struct Whole.Part
                import Indented // and a comment
            // import Commented
            let text = "import Quoted"
            """
        let found = SourceFile(path: "", text: text).imports
        #expect(found == ["Plain", "Published", "Tested", "Old", "Whole", "Indented"])
    }

    @Test func findsIncludesOfFilesBesideTheSource() {
        let text = """
            #include <errno.h>
            #include "Own.h"
            # include "Other.h"
            """
        #expect(SourceFile(path: "", text: text).quotedIncludes == ["Own.h", "Other.h"])
    }
}

/// One module and everything it may import.
struct Module: CustomTestStringConvertible, Sendable {
    let name: String
    let directory: String
    let mayImport: Set<String>

    var testDescription: String { name }

    private init(_ name: String, in directory: String? = nil, _ mayImport: Set<String>) {
        self.name = name
        self.directory = directory ?? "Sources/\(name)"
        self.mayImport = mayImport
    }

    /// `Foundation` stays below `TenantRouter`: it costs start-up time and memory, and its types allocate on paths
    /// that must not. The two state machines import nothing, so that time and chance can only be arguments.
    static let all = [
        Module("WireProtocol", []),
        Module("TenantPool", []),
        Module("Reactor", system.union(["CEpoll"])),
        Module("PostgresEmbed", system.union(["Reactor", "CConfine", "WireProtocol"])),
        Module(
            "TenantRouter",
            system.union([
                "Foundation", "FoundationEssentials", "Reactor", "TenantPool", "WireProtocol", "PostgresEmbed",
                "Logging",
            ])),
        Module(
            "routerd",
            system.union([
                "Foundation", "FoundationEssentials", "TenantRouter", "ArgumentParser", "Logging", "TOMLKit",
            ])),
        Module(
            "Benchmarks", in: "Benchmarks",
            system.union(["Foundation", "FoundationEssentials", "ArgumentParser", "Histogram"])),
    ]

    private static let system: Set = ["Dispatch", "Glibc", "Synchronization"]
}

private let cTargets: Set = ["CEpoll", "CConfine"]

/// A source file and the lines of it that name other modules.
struct SourceFile {
    let path: String
    let text: String

    var imports: [String] {
        lines.compactMap { line in
            line.prefixMatch(
                of:
                    /\s*(?:@\w+\s+)*(?:public |package |internal |fileprivate |private )?import\s+(?:struct |class |enum |protocol |func |var |let |typealias )?(\w+)/
            )
            .map { String($0.1) }
        }
    }

    var quotedIncludes: [String] {
        lines.compactMap { $0.prefixMatch(of: /\s*#\s*include\s*"([^"]+)"/).map { String($0.1) } }
    }

    private var lines: [Substring] { text.split(separator: "\n") }

    static func all(in directory: String) throws -> [SourceFile] {
        let root = repository.appending(path: directory)
        let names = try FileManager.default.subpathsOfDirectory(atPath: root.path)
        return try names.filter { $0.hasSuffix(".swift") || $0.hasSuffix(".c") || $0.hasSuffix(".h") }.map {
            SourceFile(
                path: "\(directory)/\($0)", text: try String(contentsOf: root.appending(path: $0), encoding: .utf8))
        }
    }
}

private let repository = URL(filePath: #filePath).appending(path: "../../..").standardizedFileURL
