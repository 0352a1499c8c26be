import Glibc

/// Where a socket is bound or connected.
public enum SocketAddress: Sendable, Hashable {
    /// The address in host byte order (127.0.0.1 is 0x7F000001).
    case ipv4(address: UInt32, port: UInt16)
    /// The address's two halves in host byte order (::1 is 0, 1); the scope is 0 except for link-local addresses.
    case ipv6(high: UInt64, low: UInt64, scope: UInt32, port: UInt16)
    /// A path in the file system, at most 107 bytes.
    case unix(path: String)
}

/// Why a host has no address.
public enum ResolutionError: Error, Equatable, Sendable {
    /// `getaddrinfo(3)` knows no such host; its sentence.
    case unknownHost(String, reason: String)
}

extension SocketAddress {
    /// The addresses of a host: a numeric address, `localhost`, or a name that the system resolves (which may block).
    ///
    /// - Parameter host: `127.0.0.1`, `::1` (brackets allowed), `fe80::1%eth0`, `localhost`, `db.example`.
    public static func resolve(host: String, port: UInt16) throws(ResolutionError) -> [SocketAddress] {
        fatalError("not yet")
    }

    /// Where a socket is bound: tells the port that the kernel chose for port 0.
    public static func local(of socket: borrowing Descriptor) -> SocketAddress? {
        fatalError("not yet")
    }

    /// Whether only this machine reaches the address.
    public var isLoopback: Bool {
        fatalError("not yet")
    }

    /// The port; nil for a path.
    public var port: UInt16? {
        fatalError("not yet")
    }
}
