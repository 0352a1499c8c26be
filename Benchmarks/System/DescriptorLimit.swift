import Glibc

/// How many descriptors this program and what it starts may have: thousands of connections need as many.
enum DescriptorLimit {
    /// Raises it as far as an ordinary user may.
    ///
    /// - Returns: what it is now.
    @discardableResult
    static func raise() -> Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return Int(clamping: limit.rlim_max)
    }
}
