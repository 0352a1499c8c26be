// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "Agents",
    dependencies: [.package(name: "routerd", path: "../..")],
    targets: [
        .executableTarget(name: "Agents", dependencies: [.product(name: "TenantRouter", package: "routerd")])
    ]
)
