import Foundation
import Glibc

/// The source tree this program was built from, and what is built in it.
enum Checkout {
    /// The package's directory.
    static var root: String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .path
    }

    /// The forwarder's source.
    static var forwarderSource: String { "\(root)/Benchmarks/Peers/forwarder.c" }

    /// Builds the release of routerd, with the compiler's output on standard error, beside this program.
    ///
    /// - Returns: the path of the executable.
    static func buildRouterd(_ progress: Progress) throws(Failure) -> String {
        progress.note("Building routerd (release)")
        try swift(["build", "-c", "release", "--static-swift-stdlib", "--product", "routerd"])
        return executableDirectory.appending(path: "routerd").path
    }

    /// Replaces this debug build by the release build of the same program, with the same arguments.
    static func runReleaseInstead() throws(Failure) -> Never {
        FileHandle.standardError.write(Data("This is a debug build: building and running the release.\n".utf8))
        try swift(["build", "-c", "release", "--product", "Benchmarks"])
        let release = executableDirectory.deletingLastPathComponent().appending(path: "release/Benchmarks").path
        let arguments = [release] + CommandLine.arguments.dropFirst()
        var pointers = unsafe arguments.map { unsafe strdup($0) } + [nil]
        unsafe execv(release, &pointers)
        throw .system("Cannot run \(release): error \(errno)")
    }

    private static func swift(_ arguments: [String]) throws(Failure) {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["swift"] + arguments + ["--package-path", root, "--scratch-path", scratchPath]
        // The table alone belongs on standard output.
        process.standardOutput = FileHandle.standardError
        process.standardInput = FileHandle.nullDevice
        do {
            try process.run()
        } catch {
            throw .system("Cannot run swift: \(error)")
        }
        while process.isRunning {
            usleep(20_000)
            do {
                try Interruption.check()
            } catch {
                process.terminate()
                process.waitUntilExit()
                throw error
            }
        }
        guard process.terminationStatus == 0 else { throw .program("swift \(arguments[0]) failed.", output: "") }
    }

    /// `<scratch>/<platform>/<configuration>`.
    private static var executableDirectory: URL {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }

    private static var scratchPath: String {
        executableDirectory.deletingLastPathComponent().deletingLastPathComponent().path
    }
}
