import CEpoll
import Glibc

/// How the kernel looks after a TCP connection, `tcp(7)`. On a Unix socket nothing of it applies.
public struct StreamOptions: Sendable, Equatable {
    /// When the kernel asks a silent peer whether it is still there.
    public struct Keepalive: Sendable, Equatable {
        /// Silence before the first question, whole seconds, `TCP_KEEPIDLE`.
        public var idle: Duration
        /// Time between questions, whole seconds, `TCP_KEEPINTVL`.
        public var interval: Duration
        /// Unanswered questions before the connection is given up, `TCP_KEEPCNT`.
        public var count: Int

        /// All three.
        public init(idle: Duration, interval: Duration, count: Int) {
            self.idle = idle
            self.interval = interval
            self.count = count
        }
    }

    /// Whether small segments leave at once, `TCP_NODELAY`.
    public var noDelay: Bool
    /// Nil leaves the kernel's default (off).
    public var keepalive: Keepalive?
    /// How long sent data may stay unacknowledged before the connection is given up, whole milliseconds,
    /// `TCP_USER_TIMEOUT`. Nil leaves the kernel's default (about 15 minutes).
    public var userTimeout: Duration?

    /// All of them.
    public init(noDelay: Bool = true, keepalive: Keepalive? = nil, userTimeout: Duration? = nil) {
        self.noDelay = noDelay
        self.keepalive = keepalive
        self.userTimeout = userTimeout
    }
}

/// Who sits at the other end of a Unix socket, at the time it connected, `unix(7)` `SO_PEERCRED`.
public struct PeerCredentials: Sendable, Equatable {
    /// The process.
    public let processID: Int32
    /// Its effective user.
    public let userID: UInt32
    /// Its effective group.
    public let groupID: UInt32
}

extension StreamOptions {
    /// Sets what TCP understands. TCP_NODELAY goes first: a socket that refuses it is no TCP socket.
    func apply(to number: CInt) {
        guard set(number, CInt(IPPROTO_TCP), TCP_NODELAY, noDelay ? 1 : 0) else { return }
        if let keepalive {
            _ = set(number, SOL_SOCKET, SO_KEEPALIVE, 1)
            _ = set(number, CInt(IPPROTO_TCP), TCP_KEEPIDLE, keepalive.idle.components.seconds)
            _ = set(number, CInt(IPPROTO_TCP), TCP_KEEPINTVL, keepalive.interval.components.seconds)
            _ = set(number, CInt(IPPROTO_TCP), TCP_KEEPCNT, Int64(keepalive.count))
        }
        if let userTimeout {
            _ = set(number, CInt(IPPROTO_TCP), TCP_USER_TIMEOUT, userTimeout.nanosecondsRoundedUp / 1_000_000)
        }
    }

    private func set(_ number: CInt, _ level: CInt, _ option: CInt, _ value: Int64) -> Bool {
        var value = CInt(clamping: value)
        return unsafe setsockopt(number, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) == 0
    }
}

extension PeerCredentials {
    init?(ofNumber number: CInt) {
        var process: Int32 = 0
        var user: UInt32 = 0
        var group: UInt32 = 0
        guard unsafe ce_peer_credentials(number, &process, &user, &group) == 0 else { return nil }
        // A TCP socket has the option too, and nobody behind it.
        guard process > 0 else { return nil }
        processID = process
        userID = user
        groupID = group
    }
}
