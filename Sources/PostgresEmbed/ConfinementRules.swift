import CConfine
import Glibc
import Reactor

/// What a confined instance may reach: its own directory, its own sockets, and PostgreSQL's files; everything else that
/// Landlock governs is denied. A filter of system calls denies what Landlock does not govern: connecting to the Unix
/// sockets of others, and the limits and priorities of other processes. Sources: landlock(7), seccomp(2).
struct ConfinementRules: Sendable {
    let abi: CInt
    /// The system calls that are left to an instance.
    let calls: confine_calls
    private let network: TenantNetwork
    /// The same for all instances; only what exists.
    private let common: [Grant]

    struct Grant: Sendable {
        let path: String
        let access: confine_access.RawValue
    }

    private static let read = CONFINE_READ.rawValue
    private static let execute = CONFINE_EXECUTE.rawValue
    private static let write = CONFINE_WRITE.rawValue
    private static let tree = CONFINE_TREE.rawValue
    private static let sockets = CONFINE_SOCKETS.rawValue

    init(abi: CInt, installation: PostgresInstallation, network: TenantNetwork, readable: [String]) {
        self.abi = abi
        self.network = network
        self.calls = Self.calls(network: network, majorVersion: installation.majorVersion)
        var grants = [
            // The program and its loader: the only two that may be executed, as far as Landlock knows. A shell is not
            // among them, so neither COPY … PROGRAM nor an archive_command runs anything.
            Grant(path: installation.postgres, access: Self.read | Self.execute),
            // Where Debian puts the part of PostgreSQL that machines of all kinds share.
            Grant(path: "/usr/share/postgresql/\(installation.majorVersion)", access: Self.read),
            // Dictionaries that Debian links to from there.
            Grant(path: "/var/cache/postgresql/dicts", access: Self.read),
            // Time zones and message catalogs.
            Grant(path: "/usr/share/zoneinfo", access: Self.read),
            Grant(path: "/usr/share/locale", access: Self.read),
            Grant(path: "/etc/localtime", access: Self.read),
            // The loader's cache, and the names that libc and OpenSSL look at when they start.
            Grant(path: "/etc/ld.so.cache", access: Self.read),
            Grant(path: "/etc/nsswitch.conf", access: Self.read),
            Grant(path: "/etc/passwd", access: Self.read),
            Grant(path: "/etc/group", access: Self.read),
            Grant(path: "/etc/ssl/openssl.cnf", access: Self.read),
            Grant(path: "/dev/null", access: Self.read | Self.write),
            Grant(path: "/dev/urandom", access: Self.read),
        ]
        if let loader = Self.interpreter(of: installation.postgres) {
            grants.append(Grant(path: loader, access: Self.read | Self.execute))
        }
        // Where PostgreSQL is installed: its libraries, catalogs and extensions.
        let prefix = installation.binDirectory.split(separator: "/").dropLast()
        if !prefix.isEmpty { grants.append(Grant(path: "/" + prefix.joined(separator: "/"), access: Self.read)) }
        let libraries = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
        grants += libraries.map { Grant(path: $0, access: Self.read) }
        if network == .allowed {
            let names = [
                "/etc/hosts", "/etc/resolv.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/ssl/certs",
            ]
            grants += names.map { Grant(path: $0, access: Self.read) }
        }
        grants += readable.map { Grant(path: $0, access: Self.read) }
        self.common = grants.filter { FileSystem.status(ofPath: $0.path) != nil }
    }

    /// The ruleset of one instance. The directories are granted by what they are, not by name: a rename changes
    /// nothing.
    func ruleset(
        dataDirectory: borrowing Descriptor, socketDirectory: borrowing Descriptor
    ) throws(EmbedError) -> Descriptor {
        let networkRights = network == .denied ? CONFINE_NETWORK_DENIED : CONFINE_NETWORK_CONNECTS
        let number = confine_ruleset_create(abi, networkRights)
        guard number >= 0 else { throw .confinementUnavailable(reason: "Landlock ruleset: \(Errno.last)") }
        let ruleset = Descriptor(owning: number)
        for grant in common {
            let path = try FileSystem.open(grant.path, files_o_path)
            try allow(grant.access, below: path, named: grant.path, in: ruleset)
        }
        try allow(Self.read | Self.write | Self.tree, below: dataDirectory, named: "data directory", in: ruleset)
        try allow(Self.read | Self.write | Self.sockets, below: socketDirectory, named: "socket directory", in: ruleset)
        return ruleset
    }

    /// Before PostgreSQL 15 statistics go through a UDP socket that its processes connect to.
    private static func calls(network: TenantNetwork, majorVersion: Int) -> confine_calls {
        switch network {
        case .denied: majorVersion >= 15 ? CONFINE_CALLS_LOCAL : CONFINE_CALLS_NETWORK
        case .allowed: CONFINE_CALLS_NETWORK
        }
    }

    private func allow(
        _ access: confine_access.RawValue, below path: borrowing Descriptor, named name: String,
        in ruleset: borrowing Descriptor
    ) throws(EmbedError) {
        guard confine_ruleset_allow(ruleset.number, abi, path.number, access) == 0 else {
            throw .confinementUnavailable(reason: "Landlock rule for \(name): \(Errno.last)")
        }
    }

    /// The dynamic loader that the program names (ELF, PT_INTERP); nil for a static program or another format.
    private static func interpreter(of program: String) -> String? {
        guard let file = try? FileSystem.open(program, O_RDONLY),
            let head = try? FileSystem.read(file, path: program, limit: 4096),
            head.count == 4096, head.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2])
        else { return nil }
        func number(_ offset: Int, _ size: Int) -> Int {
            (0..<size).reduce(0) { $0 | Int(head[offset + $1]) << (8 * $1) }
        }
        let (table, entrySize, entries) = (number(32, 4), number(54, 2), number(56, 2))
        for entry in 0..<entries {
            let start = table + entry * entrySize
            guard start >= 0, start + 40 <= head.count else { return nil }
            guard number(start, 4) == 3 else { continue }
            let (offset, size) = (number(start + 8, 4), number(start + 32, 4))
            guard offset + size <= head.count else { return nil }
            return String(decoding: head[offset..<offset + size].prefix { $0 != 0 }, as: UTF8.self)
        }
        return nil
    }
}
