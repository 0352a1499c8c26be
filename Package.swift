// swift-tools-version: 6.2
import PackageDescription

// Every Swift target: Swift 6 language mode (the tools version's default) and strict memory safety.
let careful: [SwiftSetting] = [
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "routerd",
    products: [
        .library(name: "TenantRouter", targets: ["TenantRouter"]),
        .executable(name: "routerd", targets: ["routerd"]),
        .executable(name: "Benchmarks", targets: ["Benchmarks"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // Kernel interfaces that Glibc's Swift module hides: one function per call, no logic.
        // liburing is linked statically: the program asks for no library that a server may lack.
        .target(name: "CEpoll", linkerSettings: [.linkedLibrary(":liburing.a")]),
        // What must happen between fork and exec.
        .target(name: "CConfine"),
        // Descriptors, buffers, deadlines, completions.
        .target(name: "Reactor", dependencies: ["CEpoll"], swiftSettings: careful),
        // Bytes ↔ messages, without I/O.
        .target(name: "WireProtocol", swiftSettings: careful),
        // Which instance may run, wait, hibernate: a pure state machine.
        .target(name: "TenantPool", swiftSettings: careful),
        // Finding PostgreSQL, cloning clusters, running postmasters.
        .target(
            name: "PostgresEmbed", dependencies: ["Reactor", "CConfine", "WireProtocol"],
            swiftSettings: careful),
        // The composition: sessions, relay, pool, postmasters; the public library.
        .target(
            name: "TenantRouter",
            dependencies: [
                "Reactor", "TenantPool", "WireProtocol", "PostgresEmbed",
                .product(name: "Logging", package: "swift-log"),
            ],
            // In the program itself, so that one file stays one file.
            resources: [.embedInCode("Resources/status.html")], swiftSettings: careful),
        // Flags, environment, signals, exit codes.
        .executableTarget(
            name: "routerd",
            dependencies: [
                "TenantRouter",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "TOMLKit", package: "TOMLKit"),
            ], swiftSettings: careful),
        // The program as a black box, beside its peers.
        .executableTarget(
            name: "Benchmarks",
            dependencies: [
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            // Compiled by the benchmark itself, as a program of its own.
            path: "Benchmarks", exclude: ["Peers/forwarder.c"], swiftSettings: careful),
        // The example's own package is Examples/Agents; here it is compiled with everything else, for its test.
        .executableTarget(
            name: "AgentsExample", dependencies: ["TenantRouter"], path: "Examples/Agents/Sources/Agents",
            swiftSettings: careful),
        // What several test targets share.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: careful),
        .testTarget(name: "ReactorTests", dependencies: ["Reactor"], swiftSettings: careful),
        .testTarget(
            name: "WireProtocolTests", dependencies: ["WireProtocol", "TestSupport"], exclude: ["Corpus"],
            swiftSettings: careful),
        .testTarget(name: "TenantPoolTests", dependencies: ["TenantPool", "TestSupport"], swiftSettings: careful),
        .testTarget(name: "PostgresEmbedTests", dependencies: ["PostgresEmbed"], swiftSettings: careful),
        .testTarget(
            name: "TenantRouterTests", dependencies: ["TenantRouter", "TestSupport"], swiftSettings: careful),
        .testTarget(name: "ArchitectureTests", swiftSettings: careful),
    ]
)

// `make docs` alone needs it: whoever depends on this package is spared the download.
if Context.environment["ROUTERD_DOCS"] != nil {
    package.dependencies.append(.package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"))
}

// `make gate` alone needs it, and only as a release.
if Context.environment["ROUTERD_HOT_PATH"] != nil {
    package.targets.append(
        .executableTarget(
            name: "HotPath", dependencies: ["TenantRouter"], path: "Tests/HotPath",
            swiftSettings: careful + [.treatAllWarnings(as: .error)]))
}

// `scripts/threads.sh` alone wants so little: the thread sanitizer takes a build of its own, and all of it takes minutes.
if Context.environment["ROUTERD_THREADS"] != nil {
    let few = ["CEpoll", "Reactor", "ReactorTests"]
    package.targets.removeAll { !few.contains($0.name) }
    (package.products, package.dependencies) = ([], [])
}
