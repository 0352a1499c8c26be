/// The version of this router.
public enum RouterVersion {
    /// As `routerd --version` says it.
    public static let current = "0.1.0"
}
