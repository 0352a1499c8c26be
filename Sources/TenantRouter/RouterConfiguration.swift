public import Logging
import PostgresEmbed
import Reactor

/// Everything a router can be told. Each member is one row of the options table in `README.md`, where the flag and the
/// environment variable of the same meaning stand; the executable knows no other way in.
public struct RouterConfiguration: Sendable {
    /// The TCP port to listen on, 1…65535; 0 lets the kernel choose a free one, which `MultiTenantRouter.port` tells.
    public var port: UInt16
    /// The address to listen on: a numeric IPv4 or IPv6 address, or `localhost` for both loopback addresses.
    public var host: String
    /// Where the tenants' data directories stand, one below this for each; made if it is absent.
    public var baseDirectory: String
    /// Whether connecting to an unknown name creates the tenant; otherwise the client gets `3D000`.
    public var autoProvision: Bool
    /// How many instances may run at once, those being made or started included.
    public var maxInstances: Int
    /// How many sessions one instance serves at once; more wait in its queue. One connection more is kept for the
    /// router's own statements.
    public var maxConnections: Int
    /// How many clusters are kept ready for new names, within `maxInstances`; `nil` keeps one for every thirty of those,
    /// three at most.
    public var spares: Int?
    /// How many clients the whole router holds at once; `nil` takes what the descriptor limit allows.
    public var maxClients: Int?
    /// How long a client waits for an instance before it gets `53300`.
    public var queueTimeout: Duration
    /// How long an instance stays up without a session before it hibernates; zero keeps it up for good.
    public var idleTimeout: Duration
    /// How long a client may take to send a whole startup packet: PostgreSQL's `authentication_timeout`.
    public var startupTimeout: Duration
    /// Whether the kernel confines each instance to its own directory.
    public var confinement: Confinement
    /// Settings of PostgreSQL for all tenants, each of which may override them with `ALTER SYSTEM`. Source: PostgreSQL
    /// manual, chapter 20.
    public var settings: [PostgresSetting]
    /// Where data is kept, and how safely.
    public var storage: Storage
    /// Whether a confined tenant may connect out over TCP from inside its instance: a subscription, dblink, a foreign
    /// data wrapper. Then it reaches this router too, and by it every other tenant: nobody is asked for a password.
    public var tenantNetwork: Bool
    /// Whether the backend of a session that ended idle is reset and given to the next client with the same startup
    /// packet.
    public var reusesBackends: Bool
    /// Which kernel interface moves the bytes.
    public var io: IOEngine
    /// How many threads serve sessions, each with clients of its own.
    public var workers: Int
    /// A directory to make a Unix socket `.s.PGSQL.<port>` in, beside the TCP port.
    public var socketDirectory: String?
    /// Where metrics and the status page are served by HTTP, `127.0.0.1:9187`; loopback addresses only, and port 0 lets
    /// the kernel choose one, which `MultiTenantRouter.httpAddress` tells. `nil` serves none.
    public var http: String?
    /// The directory with PostgreSQL's programs; `nil` takes the newest version found.
    public var postgresBinDirectory: String?
    /// Whether an address that is not loopback is accepted although nobody is asked for a password.
    public var allowRemoteWithoutAuthentication: Bool
    /// Whether every message of every session is printed to `logger`, one line each, at the level info. Passwords never
    /// are.
    public var inspect: Bool
    /// Whether the lines of an inspection, whoever asked for it, show parameters, rows and COPY data as well as their
    /// sizes.
    public var inspectValues: Bool
    /// Signals that stop the router: the first orderly, the second in a hurry. The caller has blocked them in every
    /// thread (sigprocmask(2)); a program that handles its own signals leaves this empty and calls `stop()`.
    public var stopSignals: [Int32]
    /// Where log lines go. One line an event worth knowing, none per query.
    public var logger: Logger

    /// Every value has the default that the options table gives.
    public init(
        port: UInt16 = 5432,
        host: String = "127.0.0.1",
        baseDirectory: String = "./data",
        autoProvision: Bool = true,
        maxInstances: Int = 100,
        maxConnections: Int = 40,
        spares: Int? = nil,
        maxClients: Int? = nil,
        queueTimeout: Duration = .seconds(30),
        idleTimeout: Duration = .seconds(300),
        startupTimeout: Duration = .seconds(60),
        confinement: Confinement = .auto,
        settings: [PostgresSetting] = [],
        storage: Storage = .directory,
        tenantNetwork: Bool = false,
        reusesBackends: Bool = true,
        io: IOEngine = .auto,
        workers: Int = 1,
        socketDirectory: String? = nil,
        http: String? = nil,
        postgresBinDirectory: String? = nil,
        allowRemoteWithoutAuthentication: Bool = false,
        inspect: Bool = false,
        inspectValues: Bool = false,
        stopSignals: [Int32] = [],
        logger: Logger = Logger(label: "routerd")
    ) {
        self.port = port
        self.host = host
        self.baseDirectory = baseDirectory
        self.autoProvision = autoProvision
        self.maxInstances = maxInstances
        self.maxConnections = maxConnections
        self.spares = spares
        self.maxClients = maxClients
        self.queueTimeout = queueTimeout
        self.idleTimeout = idleTimeout
        self.startupTimeout = startupTimeout
        self.confinement = confinement
        self.settings = settings
        self.storage = storage
        self.tenantNetwork = tenantNetwork
        self.reusesBackends = reusesBackends
        self.io = io
        self.workers = workers
        self.socketDirectory = socketDirectory
        self.http = http
        self.postgresBinDirectory = postgresBinDirectory
        self.allowRemoteWithoutAuthentication = allowRemoteWithoutAuthentication
        self.inspect = inspect
        self.inspectValues = inspectValues
        self.stopSignals = stopSignals
        self.logger = logger
    }

    /// Far below PostgreSQL's own bound of 262143, and far above what one machine serves.
    private static let mostConnections = 10_000
    /// Five processes each: more than any kernel has process ids for.
    private static let mostInstances = 500_000

    /// More would make the start of the router a burst of its own.
    private static let mostSpares = 100

    /// Three are claimed in the time that one takes to be made; where few instances may run, none of their places is
    /// taken.
    var effectiveSpares: Int { autoProvision ? spares ?? min(maxInstances / 30, 3) : 0 }

    /// Looks whether a router could start with these values, without touching anything: each value for itself, whether
    /// there is a PostgreSQL, and whether the kernel has the engine.
    ///
    /// - Throws: ``RouterError`` of the kind `configuration` that names the first impossible value, or of the kind
    ///   `environment` for what the machine lacks.
    public func check() throws(RouterError) {
        try validate()
        do throws(EmbedError) {
            _ = try PostgresInstallation.find(binDirectory: postgresBinDirectory)
        } catch {
            throw RouterError(error)
        }
        do throws(ReactorError) {
            _ = try Reactor(engine: io.engine)
        } catch {
            throw RouterError(error)
        }
    }

    /// - Throws: ``RouterError`` of the kind `configuration` that names the first value that cannot be served with.
    func validate() throws(RouterError) {
        let counts = [
            ("--max-instances (ROUTERD_MAX_INSTANCES)", maxInstances),
            ("--max-connections (ROUTERD_MAX_CONNECTIONS)", maxConnections),
            ("--max-clients (ROUTERD_MAX_CLIENTS)", maxClients ?? 1),
        ]
        for (name, count) in counts where count < 1 {
            throw RouterError(.configuration, "\(name) is \(count), and must be at least 1")
        }
        guard maxConnections <= Self.mostConnections, maxInstances <= Self.mostInstances else {
            throw RouterError(
                .configuration,
                "--max-connections must be at most \(Self.mostConnections), and --max-instances at most \(Self.mostInstances)"
            )
        }
        if let spares, !(0...Self.mostSpares).contains(spares) {
            throw RouterError(
                .configuration, "--spares (ROUTERD_SPARES) is \(spares), and must be between 0 and \(Self.mostSpares)")
        }
        guard (1...Limits.workers).contains(workers) else {
            throw RouterError(
                .configuration,
                "--workers (ROUTERD_WORKERS) is \(workers), and must be between 1 and \(Limits.workers)")
        }
        guard queueTimeout > .zero else {
            throw RouterError(
                .configuration, "--queue-timeout is 0, and must be more: a new database takes a moment to make")
        }
        guard startupTimeout > .zero else {
            throw RouterError(.configuration, "--startup-timeout is 0, and must be more: no client could ever connect")
        }
        if let http, HTTPPlace(http) == nil { throw .notAnHTTPPlace(http) }
        let texts = [
            ("--dir", baseDirectory), ("--host", host), ("--socket-dir", socketDirectory ?? "-"),
            ("--postgres-bin", postgresBinDirectory ?? "-"),
        ]
        for (name, text) in texts where text.isEmpty { throw RouterError(.configuration, "\(name) is empty") }
    }
}

/// A setting of PostgreSQL by its name, such as `work_mem`, with its value as a configuration file has it.
public struct PostgresSetting: Sendable, Equatable {
    /// Letters, digits and underscores, with a full stop where it is an extension's.
    public var name: String
    /// Without quotes: `16MB`.
    public var value: String

    /// A setting by that name.
    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// Where tenants' data is kept.
public enum Storage: Sendable {
    /// In the base directory, with PostgreSQL's full durability.
    case directory
    /// In memory, in a fresh directory that is gone when the router has stopped. Nothing survives it: for tests.
    case memory
    /// The same, on the disk where memory has little room.
    case temporary
}

/// How much confinement is asked for. Where instances are not confined their users are not superusers.
public enum Confinement: String, Sendable, CaseIterable {
    /// Where the kernel can, with a line in the log.
    case auto
    /// Or the router does not start.
    case require
    /// Not at all.
    case off

    var embed: PostgresEmbed.Confinement {
        switch self {
        case .auto: .auto
        case .require: .require
        case .off: .off
        }
    }
}

/// Which kernel interface moves the bytes. Clients see no difference.
public enum IOEngine: String, Sendable, CaseIterable {
    /// The one that measures better, io_uring; epoll where the kernel refuses it.
    case auto
    /// `epoll(7)`.
    case epoll
    /// `io_uring(7)`, Linux 6.1 or newer; where the kernel refuses it the router does not start.
    case ioUring = "io_uring"

    var engine: EngineKind {
        switch self {
        case .auto: .auto
        case .epoll: .epoll
        case .ioUring: .ioUring
        }
    }
}
