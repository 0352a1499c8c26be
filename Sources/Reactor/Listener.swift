import Glibc

/// Makes bound sockets. The reactor's `accept` and `adopt` take it from there.
public enum Listener {
    /// Connections that wait to be accepted; the kernel cuts it to `net.core.somaxconn`, 4096 by default.
    public static let backlog: CInt = 4096

    /// A socket that listens for streams.
    ///
    /// On TCP addresses with `SO_REUSEADDR`, on IPv6 with `IPV6_V6ONLY`. On a path a socket file that nobody answers at
    /// is replaced; anything else that is there stays.
    /// - Parameter mode: the mode bits of the socket file.
    public static func stream(
        on address: SocketAddress, mode: UInt32 = 0o777
    ) throws(ListenError) -> Descriptor {
        let socket = try open(address, CInt(SOCK_STREAM.rawValue))
        if address.family != AF_UNIX { try set(socket.number, SOL_SOCKET, SO_REUSEADDR, address) }
        if address.family == AF_INET6 { try set(socket.number, CInt(IPPROTO_IPV6), IPV6_V6ONLY, address) }
        if let errno = bind(socket.number, address) {
            guard errno.code == EADDRINUSE, case .unix(let path) = address else {
                throw refusal(address, "bind", errno)
            }
            try removeStaleSocket(path, address)
            if let errno = bind(socket.number, address) { throw refusal(address, "bind", errno) }
        }
        try setMode(address, mode)
        guard listen(socket.number, backlog) == 0 else { throw refusal(address, "listen", .last) }
        return socket
    }

    /// Makes a socket that somebody else bound and listens on fit for the reactor: close-on-exec, not blocking.
    ///
    /// - Parameter number: an inherited descriptor, whatever it may be; it is not owned, nor closed.
    /// - Returns: where it listens; nil for anything but a listening stream socket.
    public static func adopt(_ number: CInt) -> SocketAddress? {
        guard option(SO_TYPE, of: number) == CInt(SOCK_STREAM.rawValue), option(SO_ACCEPTCONN, of: number) == 1
        else { return nil }
        let flags = fcntl(number, F_GETFL)
        guard flags >= 0, fcntl(number, F_SETFL, flags | O_NONBLOCK) == 0, fcntl(number, F_SETFD, FD_CLOEXEC) == 0
        else { return nil }
        return SocketAddress.local(ofNumber: number)
    }

    /// A datagram socket bound to a path that does not exist yet, as `sd_notify(3)` wants it.
    public static func datagram(
        on address: SocketAddress, mode: UInt32 = 0o700
    ) throws(ListenError) -> Descriptor {
        let socket = try open(address, CInt(SOCK_DGRAM.rawValue))
        if let errno = bind(socket.number, address) { throw refusal(address, "bind", errno) }
        try setMode(address, mode)
        return socket
    }
}

/// Why a socket could not be bound. All of these are the world's: the user reads them.
public enum ListenError: Error, Equatable, Sendable {
    /// Somebody else listens there.
    case addressInUse(SocketAddress)
    /// Ports below 1024, or a directory that the user may not write.
    case permissionDenied(SocketAddress)
    /// No interface has this address, or the kernel lacks the family.
    case addressNotAvailable(SocketAddress)
    /// The path is longer than 107 bytes, or its directory does not exist.
    case unusablePath(SocketAddress)
    /// Something that is no socket lies at the path.
    case pathTaken(SocketAddress)
    /// Anything else, by call.
    case system(SocketAddress, call: String, Errno)
}

extension ListenError: CustomStringConvertible {
    /// One line for a user.
    public var description: String {
        switch self {
        case .addressInUse(let address): "\(address) is in use by another program"
        case .permissionDenied(let address): "no permission to listen on \(address)"
        case .addressNotAvailable(let address): "this machine has no address \(address.host)"
        case .unusablePath(let address):
            "\(address) is no usable socket path: "
                + "its directory must exist and it may have \(SocketAddress.longestPath) bytes"
        case .pathTaken(let address): "\(address) exists and is no socket"
        case .system(let address, let call, let errno): "cannot listen on \(address): \(call): \(errno)"
        }
    }
}

// MARK: - Steps

extension Listener {
    private static func open(_ address: SocketAddress, _ type: CInt) throws(ListenError) -> Descriptor {
        guard address.isUsable else { throw .unusablePath(address) }
        let flags = CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        let number = socket(address.family, type | flags, 0)
        guard number >= 0 else { throw refusal(address, "socket", .last) }
        return Descriptor(owning: number)
    }

    private static func bind(_ number: CInt, _ address: SocketAddress) -> Errno? {
        unsafe address.withRaw { raw, length in unsafe Glibc.bind(number, raw, length) == 0 ? nil : .last }
    }

    private static func set(
        _ number: CInt, _ level: CInt, _ option: CInt, _ address: SocketAddress
    ) throws(ListenError) {
        var on: CInt = 1
        guard unsafe setsockopt(number, level, option, &on, socklen_t(MemoryLayout<CInt>.size)) == 0 else {
            throw refusal(address, "setsockopt", .last)
        }
    }

    private static func option(_ name: CInt, of number: CInt) -> CInt? {
        var value: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        return unsafe getsockopt(number, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
    }

    /// Before `listen`: nobody gets in through the mode that `bind` left.
    private static func setMode(_ address: SocketAddress, _ mode: UInt32) throws(ListenError) {
        guard case .unix(let path) = address else { return }
        guard unsafe chmod(path, mode) == 0 else { throw refusal(address, "chmod", .last) }
    }

    /// A socket file outlives its listener. A refused connection proves that nobody is behind it; a full backlog
    /// (EAGAIN) that somebody is.
    private static func removeStaleSocket(_ path: String, _ address: SocketAddress) throws(ListenError) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw .pathTaken(address) }
        let probe = try open(address, CInt(SOCK_STREAM.rawValue))
        switch address.connect(probe.number) {
        case .connected, .inProgress, .backlogFull: throw .addressInUse(address)
        case .failed(let errno):
            guard errno.code == ECONNREFUSED else { throw .addressInUse(address) }
        }
        guard unsafe unlink(path) == 0 || errno == ENOENT else { throw refusal(address, "unlink", .last) }
    }

    private static func refusal(_ address: SocketAddress, _ call: String, _ errno: Errno) -> ListenError {
        switch errno.code {
        case EADDRINUSE: .addressInUse(address)
        case EACCES, EPERM, EROFS: .permissionDenied(address)
        case EADDRNOTAVAIL, EAFNOSUPPORT: .addressNotAvailable(address)
        case ENOENT, ENOTDIR, ENAMETOOLONG: .unusablePath(address)
        default: .system(address, call: call, errno)
        }
    }
}
