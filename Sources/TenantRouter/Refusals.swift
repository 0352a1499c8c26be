import PostgresEmbed
import TenantPool
import WireProtocol

/// What a client is sent in place of a session, and what the log says of it.
struct Rejection {
    /// Whole messages; may be empty where the client would not understand any.
    let bytes: [UInt8]
    let reason: String
    let sqlState: SQLState

    init(_ error: ErrorMessage) {
        bytes = error.errorResponse()
        reason = error.message
        sqlState = error.sqlState
    }

    init(_ violation: StartupViolation) {
        bytes = violation.response
        reason = violation.error.message
        sqlState = violation.error.sqlState
    }
}

// Every error of the router's own: SQLSTATE, message, the limit or cause, and what to do about it.
extension ErrorMessage {
    static func tooManyClients(limit: Int) -> ErrorMessage {
        ErrorMessage(
            .tooManyConnections, "sorry, too many clients already",
            detail: "The router holds \(limit) clients, which is its limit.",
            hint: "Start routerd with a higher --max-clients, or raise the descriptor limit (ulimit -n).")
    }

    static func badName(_ error: TenantNameError) -> ErrorMessage {
        let hint: String? =
            switch error {
            case .tooLong, .empty, .containsZero, .notUTF8: "A database name has 1 to 63 bytes of UTF-8."
            case .reserved: "The name is kept for the router's console; choose another one."
            case .notConnectable: nil
            }
        return ErrorMessage(SQLState(error.sqlState) ?? .invalidParameterValue, error.message, hint: hint)
    }

    static let replicationWithoutTenant = ErrorMessage(
        .protocolViolation, "a physical replication connection names no database",
        detail: "routerd picks the tenant by the database's name.",
        hint: "Name the tenant with options=-c routerd.tenant=NAME, for example PGOPTIONS='-c routerd.tenant=alice'.")

    static func reservedRole(_ user: String) -> ErrorMessage {
        ErrorMessage(
            .invalidAuthorization, "role \"\(user)\" is reserved",
            detail: "It is the router's own role in every tenant.", hint: "Connect as any other user.")
    }

    /// The tenant's superusers may have changed the router's own role, which is theirs too.
    static func roleNotCreated(_ user: String, because error: ErrorMessage) -> ErrorMessage {
        ErrorMessage(
            .invalidAuthorization, "role \"\(user)\" does not exist, and the router cannot create it",
            detail: "The router connects to template1 as the role routerd. It was told: \(error.message).",
            hint: "Connect as a user that exists, and undo what was done to the role routerd (it must be called so, "
                + "and be LOGIN and SUPERUSER without settings of its own) or to the database template1.")
    }

    /// What the pool's refusal means to a client of `tenant`.
    ///
    /// - Parameters:
    ///   - limits: the numbers to name.
    ///   - failure: what went wrong with the tenant's last start.
    static func refusal(_ refusal: PoolRefusal, tenant: TenantName, limits: PoolLimits, failure: ErrorMessage?)
        -> ErrorMessage
    {
        switch refusal {
        case .doesNotExist:
            ErrorMessage(
                .invalidCatalogName, "database \"\(tenant)\" does not exist",
                hint: "Start routerd with --auto-provision to create databases when somebody connects to them.")
        case .queueTimeout(let limit): queueTimeout(limit, limits)
        case .queueFull:
            ErrorMessage(
                .tooManyConnections, "too many clients wait for database \"\(tenant)\"",
                detail: "\(limits.maxWaitersPerTenant) clients wait for it, which is the limit.",
                hint: "Try again later, or start routerd with a higher --max-connections.")
        case .startFailed:
            failure?.asFatal
                ?? ErrorMessage(
                    .cannotConnectNow, "database \"\(tenant)\" cannot be started",
                    hint: "The router's log says why; it is tried again when somebody connects a little later.")
        case .shuttingDown: .shuttingDown
        }
    }

    private static func queueTimeout(_ limit: PoolLimit, _ limits: PoolLimits) -> ErrorMessage {
        let waited = "waited \(limits.queueTimeout.inSeconds) s"
        return switch limit {
        case .instances:
            ErrorMessage(
                .tooManyConnections, "sorry, too many databases are in use",
                detail:
                    "All \(limits.maxInstances) instances have sessions; the client \(waited) for one to become idle.",
                hint: "Close idle sessions, or start routerd with a higher --max-instances or --queue-timeout.")
        case .connections:
            ErrorMessage(
                .tooManyConnections, "sorry, too many clients already",
                detail:
                    "The database serves \(limits.maxConnections) sessions at once; the client \(waited) for one to end.",
                hint: "Close idle sessions, or start routerd with a higher --max-connections or --queue-timeout.")
        case .starts:
            ErrorMessage(
                .tooManyConnections, "too many databases are being started",
                detail: "\(limits.maxBooting) start at once; the client \(waited) for its turn.",
                hint: "Try again, or start routerd with a higher --queue-timeout.")
        case .startup:
            ErrorMessage(
                .cannotConnectNow, "the database system is starting up",
                detail: "The client \(waited) for it.",
                hint: "Try again: recovery after a crash may take long. The router's log has its progress.")
        }
    }

    /// What a client that waits is told.
    static func waiting(for limit: PoolLimit, tenant: TenantName, limits: PoolLimits) -> ErrorMessage {
        let message =
            switch limit {
            case .instances: "waiting for another database to become idle"
            case .connections: "waiting for a session of database \"\(tenant)\" to end"
            case .starts: "waiting for other databases to start"
            case .startup: "waiting for database \"\(tenant)\" to start"
            }
        let detail: String? =
            switch limit {
            case .instances: "All \(limits.maxInstances) instances have sessions (--max-instances)."
            case .connections: "It serves \(limits.maxConnections) sessions at once (--max-connections)."
            case .starts: "\(limits.maxBooting) start at once."
            case .startup: nil
            }
        return ErrorMessage(
            severity: .notice, .successfulCompletion, message, detail: detail,
            hint: "A client waits \(limits.queueTimeout.inSeconds) s at most (--queue-timeout).")
    }

    static let shuttingDown = ErrorMessage(
        .cannotConnectNow, "the database system is shutting down", detail: "routerd is being stopped.",
        hint: "Connect again when it has been started.")

    static func notAnswering(after wait: Duration) -> ErrorMessage {
        ErrorMessage(
            .cannotConnectNow, "the database does not answer",
            detail: "Its instance runs, but did not open a session within \(wait.inSeconds) s.",
            hint: "Try again; the instance's log in .routerd/logs tells what it is doing.")
    }

    static func bootFailed(_ tenant: String, lastLine: String?, log: String, baseDirectory: String) -> ErrorMessage {
        let repair = "routerd repair \(tenant.shellWord) --dir \(baseDirectory.shellWord)"
        return ErrorMessage(
            .cannotConnectNow, "database \"\(tenant)\" cannot be started",
            detail: lastLine.map { "The last line of its log: \($0)" },
            hint: "If a setting stops it, this finds and removes it: \(repair)\n"
                + "Its log tells more: tail \(log.shellWord)")
    }

    static func instanceStopped(_ tenant: String) -> ErrorMessage {
        ErrorMessage(
            .adminShutdown, "terminating connection because the instance of database \"\(tenant)\" has stopped",
            hint: "Connect again: it is started when somebody connects.")
    }

    static func backendViolation(_ what: String) -> ErrorMessage {
        ErrorMessage(
            .internalError, "the instance's answer makes no sense", detail: "\(what).",
            hint: "This is a fault of routerd or of the instance; the router's log has the session.")
    }

    static func outOfDescriptors(_ reason: String) -> ErrorMessage {
        ErrorMessage(
            .tooManyConnections, "the router cannot open another connection", detail: "\(reason).",
            hint: "Raise the descriptor limit (ulimit -n), or lower --max-clients.")
    }

    /// An answer of PostgreSQL's that cannot be read; its bytes go to the client all the same.
    static let unreadable = ErrorMessage(.internalError, "unreadable error message")

    /// The same, at the end of a connection.
    private var asFatal: ErrorMessage {
        var message = self
        message.severity = .fatal
        return message
    }

    init(_ error: EmbedError) {
        self.init(
            SQLState(error.sqlState) ?? .internalError, error.message, detail: error.detail, hint: error.hint)
    }

    static func createdDatabase(_ tenant: TenantName) -> ErrorMessage {
        ErrorMessage(severity: .notice, .successfulCompletion, "created new database \"\(tenant)\"")
    }
}

extension SQLState {
    /// `00000` successful_completion: what notices carry.
    static let successfulCompletion = SQLState("00000") ?? .internalError
}

extension String {
    /// As a shell takes it for one word. Source: POSIX, Shell Command Language, section 2.2.
    var shellWord: String {
        let isPlain =
            !isEmpty
            && utf8.allSatisfy { byte in
                (byte | 0x20) >= UInt8(ascii: "a") && (byte | 0x20) <= UInt8(ascii: "z")
                    || "0123456789_-./@%+=:,".utf8.contains(byte)
            }
        return isPlain
            ? self : "'" + split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}

extension Duration {
    /// Whole milliseconds, for log lines.
    var inMilliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }

    /// Whole seconds, rounded up, for messages.
    var inSeconds: Int64 { components.seconds + (components.attoseconds > 0 ? 1 : 0) }
}
