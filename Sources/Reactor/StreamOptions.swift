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
