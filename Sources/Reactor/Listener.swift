import Glibc

/// Makes bound sockets. The reactor's `accept` takes it from there.
public enum Listener {
    /// A socket that listens for streams.
    ///
    /// On TCP addresses with `SO_REUSEADDR`, on IPv6 with `IPV6_V6ONLY`. On a path a socket file that nobody answers at
    /// is replaced; anything else that is there stays.
    /// - Parameter mode: the mode bits of the socket file.
    public static func stream(
        on address: SocketAddress, mode: UInt32 = 0o777
    ) throws(ListenError) -> Descriptor {
        fatalError("not yet")
    }

    /// A datagram socket bound to a path that does not exist yet, as `sd_notify(3)` wants it.
    public static func datagram(
        on address: SocketAddress, mode: UInt32 = 0o700
    ) throws(ListenError) -> Descriptor {
        fatalError("not yet")
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
