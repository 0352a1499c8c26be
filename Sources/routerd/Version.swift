import TenantRouter

/// The program's own version.
enum Version {
    static let current = RouterVersion.current
}
