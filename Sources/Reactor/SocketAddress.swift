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

// MARK: - Making

extension SocketAddress {
    /// The addresses of a host: a numeric address, `localhost`, or a name that the system resolves (which may block).
    ///
    /// - Parameter host: `127.0.0.1`, `::1` (brackets allowed), `fe80::1%eth0`, `localhost`, `db.example`.
    public static func resolve(host: String, port: UInt16) throws(ResolutionError) -> [SocketAddress] {
        // Also where no hosts file says so.
        if host == "localhost" {
            return [.ipv4(address: 0x7F00_0001, port: port), .ipv6(high: 0, low: 1, scope: 0, port: port)]
        }
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        let name = isBracketed ? String(host.dropFirst().dropLast()) : host
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = unsafe getaddrinfo(name, nil, &hints, &list)
        guard result == 0 else {
            throw .unknownHost(host, reason: unsafe String(cString: gai_strerror(result)))
        }
        defer { unsafe freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var entry = unsafe list
        while let found = unsafe entry {
            if let raw = unsafe found.pointee.ai_addr,
                let address = unsafe SocketAddress(raw, length: found.pointee.ai_addrlen)
            {
                let withPort = address.replacingPort(with: port)
                if !addresses.contains(withPort) { addresses.append(withPort) }
            }
            unsafe entry = found.pointee.ai_next
        }
        guard !addresses.isEmpty else { throw .unknownHost(host, reason: "it has no IP address") }
        return addresses
    }

    /// Where a socket is bound: tells the port that the kernel chose for port 0.
    public static func local(of socket: borrowing Descriptor) -> SocketAddress? {
        local(ofNumber: socket.number)
    }

    static func local(ofNumber number: CInt) -> SocketAddress? {
        unsafe read { address, length in unsafe getsockname(number, address, length) }
    }

    static func peer(ofNumber number: CInt) -> SocketAddress? {
        unsafe read { address, length in unsafe getpeername(number, address, length) }
    }

    private static func read(
        _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> CInt
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return unsafe withUnsafeMutablePointer(to: &storage) { storage in
            unsafe storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard unsafe call(address, &length) == 0 else { return nil }
                return unsafe SocketAddress(address, length: length)
            }
        }
    }

    private init?(_ raw: UnsafePointer<sockaddr>, length: socklen_t) {
        let bytes = unsafe UnsafeRawPointer(raw)
        switch CInt(unsafe raw.pointee.sa_family) {
        case AF_INET:
            let address = unsafe bytes.loadUnaligned(as: sockaddr_in.self)
            self = .ipv4(address: UInt32(bigEndian: address.sin_addr.s_addr), port: UInt16(bigEndian: address.sin_port))
        case AF_INET6:
            let address = unsafe bytes.loadUnaligned(as: sockaddr_in6.self)
            let offset = MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr) ?? 8
            let high = unsafe UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            let low = unsafe UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
            let port = UInt16(bigEndian: address.sin6_port)
            self = .ipv6(high: high, low: low, scope: address.sin6_scope_id, port: port)
        case AF_UNIX:
            let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
            let path = unsafe UnsafeRawBufferPointer(start: bytes + start, count: max(0, Int(length) - start))
            // The client of a Unix socket is bound nowhere: an empty path.
            self = unsafe .unix(path: String(decoding: path.prefix { $0 != 0 }, as: UTF8.self))
        default: return nil
        }
    }

    private func replacingPort(with port: UInt16) -> SocketAddress {
        switch self {
        case .ipv4(let address, _): .ipv4(address: address, port: port)
        case .ipv6(let high, let low, let scope, _): .ipv6(high: high, low: low, scope: scope, port: port)
        case .unix: self
        }
    }
}

// MARK: - Queries

extension SocketAddress {
    /// The longest path of a socket in bytes, `unix(7)`.
    public static let longestPath = 107

    /// Whether only this machine reaches the address: 127.0.0.0/8, ::1, those IPv4 addresses mapped into IPv6, a path.
    public var isLoopback: Bool {
        switch self {
        case .ipv4(let address, _): address >> 24 == 127
        case .ipv6(0, 1, _, _): true
        case .ipv6(let high, let low, _, _): high == 0 && low >> 24 == 0xFFFF_7F
        case .unix: true
        }
    }

    /// The port; nil for a path.
    public var port: UInt16? {
        switch self {
        case .ipv4(_, let port): port
        case .ipv6(_, _, _, let port): port
        case .unix: nil
        }
    }

    var family: CInt {
        switch self {
        case .ipv4: AF_INET
        case .ipv6: AF_INET6
        case .unix: AF_UNIX
        }
    }

    /// Whether the kernel's structure can express it.
    var isUsable: Bool {
        switch self {
        case .ipv4, .ipv6: true
        case .unix(let path): !path.isEmpty && path.utf8.count <= Self.longestPath && !path.utf8.contains(0)
        }
    }

    /// Calls the body with the kernel's structure.
    func withRaw<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        switch self {
        case .ipv4(let address, let port):
            var raw = sockaddr_in()
            raw.sin_family = sa_family_t(AF_INET)
            raw.sin_port = port.bigEndian
            raw.sin_addr.s_addr = address.bigEndian
            return unsafe Self.lend(&raw, MemoryLayout<sockaddr_in>.size, body)
        case .ipv6(let high, let low, let scope, let port):
            var raw = sockaddr_in6()
            raw.sin6_family = sa_family_t(AF_INET6)
            raw.sin6_port = port.bigEndian
            raw.sin6_scope_id = scope
            unsafe withUnsafeMutableBytes(of: &raw.sin6_addr) { bytes in
                unsafe bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
                unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            return unsafe Self.lend(&raw, MemoryLayout<sockaddr_in6>.size, body)
        case .unix(let path):
            precondition(isUsable, "a path of more than 107 bytes")
            var raw = sockaddr_un()
            raw.sun_family = sa_family_t(AF_UNIX)
            unsafe withUnsafeMutableBytes(of: &raw.sun_path) { bytes in unsafe bytes.copyBytes(from: path.utf8) }
            let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
            return unsafe Self.lend(&raw, start + path.utf8.count + 1, body)
        }
    }

    private static func lend<Raw, Result>(
        _ raw: inout Raw, _ length: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        unsafe withUnsafePointer(to: &raw) { raw in
            unsafe raw.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe body(address, socklen_t(length))
            }
        }
    }
}

// MARK: - Connecting

/// What one attempt to connect came to.
enum ConnectAttempt: BitwiseCopyable {
    case connected
    case inProgress
    /// A Unix socket whose listener has no room: nothing to wait for, only to try again.
    case backlogFull
    case failed(Errno)
}

extension SocketAddress {
    /// One `connect(2)` on a non-blocking socket.
    func connect(_ number: CInt) -> ConnectAttempt {
        if unsafe withRaw({ address, length in unsafe Glibc.connect(number, address, length) }) == 0 {
            return .connected
        }
        switch errno {
        case EINPROGRESS, EINTR: return .inProgress
        case EAGAIN where family == AF_UNIX: return .backlogFull
        default: return .failed(.last)
        }
    }
}

// MARK: - For logs

extension SocketAddress: CustomStringConvertible {
    /// `127.0.0.1:5432`, `[::1]:5432`, `/run/x/.s.PGSQL.5432`.
    public var description: String {
        switch self {
        case .ipv4(_, let port): "\(host):\(port)"
        case .ipv6(_, _, _, let port): "[\(host)]:\(port)"
        case .unix(let path): path.isEmpty ? "(unnamed socket)" : path
        }
    }

    /// The address without its port, `getnameinfo(3)`; the path of a Unix socket.
    public var host: String {
        if case .unix(let path) = self { return path }
        return unsafe withRaw { address, length in
            unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { text in
                guard let base = text.baseAddress else { return "?" }
                let result = unsafe getnameinfo(address, length, base, 128, nil, 0, NI_NUMERICHOST)
                return result == 0 ? unsafe String(cString: base) : "?"
            }
        }
    }
}
