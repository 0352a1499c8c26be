public import ArgumentParser
import Glibc
public import TenantRouter

/// `routerd serve`: the router in the foreground.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve in the foreground until SIGINT or SIGTERM; a second signal hurries.",
        aliases: ["start-router"])

    @Option(help: ArgumentHelp("TCP port (default: 5432).", valueName: "number"))
    var port: UInt16?

    @Option(
        help: ArgumentHelp(
            "Address to listen on, or localhost for both loopbacks (default: 127.0.0.1).", valueName: "address"))
    var host: String?

    @Option(help: ArgumentHelp("Where the tenants' data directories stand (default: ./data).", valueName: "path"))
    var dir: String?

    @Flag(inversion: .prefixedNo, help: "Create a tenant when somebody connects to a new name (default: on).")
    var autoProvision: Bool?

    @Option(help: ArgumentHelp("Instances that may run at once (default: 100).", valueName: "count"))
    var maxInstances: Int?

    @Option(help: ArgumentHelp("Sessions that one instance serves at once (default: 40).", valueName: "count"))
    var maxConnections: Int?

    @Option(
        help: ArgumentHelp("Databases kept ready for new names (default: 3 with 100 instances).", valueName: "count"))
    var spares: Int?

    @Option(
        help: ArgumentHelp(
            "Clients of the whole router (default: what the descriptor limit allows).", valueName: "count"))
    var maxClients: Int?

    @Option(help: ArgumentHelp("How long a client waits for an instance (default: 30s).", valueName: "time"))
    var queueTimeout: Span?

    @Option(
        help: ArgumentHelp(
            "Hibernate an instance nobody has used for so long; 0 = never (default: 5m).", valueName: "time"))
    var idleTimeout: Span?

    @Option(help: ArgumentHelp("Make a Unix socket .s.PGSQL.<port> in this directory too.", valueName: "path"))
    var socketDir: String?

    @Option(help: ArgumentHelp("How long a client may take to say what it wants (default: 60s).", valueName: "time"))
    var startupTimeout: Span?

    @Option(help: "Confine each tenant to its own directory: auto, require or off (default: auto).")
    var confine: Confinement?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp(
            "A setting of PostgreSQL for all tenants; may be repeated.", valueName: "name=value"))
    var settings: [PostgresSetting] = []

    @Flag(help: "Keep everything in memory and nothing afterwards: fast, for tests. Not with --dir.")
    var memory = false

    @Flag(help: "Let confined tenants connect out over TCP, as subscriptions do (default: off).")
    var tenantNetwork = false

    @Option(help: "What moves the bytes: auto, epoll or io_uring (default: auto).")
    var io: IOEngine?

    @Option(help: ArgumentHelp("Directory with PostgreSQL's programs (default: the newest found).", valueName: "path"))
    var postgresBin: String?

    @Option(help: ArgumentHelp("User to become when started by root (default: postgres).", valueName: "user"))
    var runAs: String?

    @Option(help: "error, warn, info or debug (default: info).")
    var logLevel: LogLevel?

    @Option(help: "text or json (default: text).")
    var logFormat: LogFormat?

    @Flag(help: "Print a line for each message of every session to the log, without values (default: off).")
    var inspect = false

    @Flag(help: "Where messages are printed, print parameters, rows and COPY data too; never passwords.")
    var inspectValues = false

    @Flag(help: "Listen on an address that is not loopback although nobody is asked for a password.")
    var allowRemoteWithoutAuthentication = false

    func run() throws {
        let manager = ServiceManager.fromEnvironment()
        let passed = try PassedSockets.take()
        let format = try Environment.value(logFormat, "ROUTERD_LOG_FORMAT", default: .text)
        let configuration = try configuration(format: format)
        do {
            try configuration.check()
            Self.prepareProcess()
            let listeners = try listeners(configuration, passed: passed)
            try becomeUser(for: configuration)
            if passed.isEmpty { try listeners.bindSocket(configuration) }
            try Waiting.wait {
                let router = try await MultiTenantRouter.start(configuration, listeners: listeners) { step in
                    configuration.logger.info("\(step)")
                    manager?.tell("STATUS=\(step)")
                }
                Self.announce(router, format: format)
                await manager?.accompany(router)
                await router.untilStopped()
            }
        } catch let error as RouterError {
            manager?.tell("STATUS=\(error.description)")
            throw error.isUsage ? Failure.usage(error.description) : Failure.failed(error.description)
        }
    }

    private func configuration(format: LogFormat) throws -> RouterConfiguration {
        let level = try Environment.value(logLevel, "ROUTERD_LOG_LEVEL", default: .info)
        let provision = try Environment.value(
            autoProvision.map { $0 ? Switch.on : .off }, "ROUTERD_AUTO_PROVISION", default: .on)
        let storage = try storage()
        let allowRemote = try Environment.value(
            allowRemoteWithoutAuthentication ? Switch.on : nil, "ROUTERD_ALLOW_REMOTE_WITHOUT_AUTHENTICATION",
            default: .off)
        return RouterConfiguration(
            port: try Environment.value(port, "ROUTERD_PORT", default: 5432),
            host: try Environment.value(host, "ROUTERD_HOST", default: "127.0.0.1"),
            baseDirectory: try Environment.value(dir, "ROUTERD_DIR", default: "./data"),
            autoProvision: provision.isOn,
            maxInstances: try Environment.value(maxInstances, "ROUTERD_MAX_INSTANCES", default: 100),
            maxConnections: try Environment.value(maxConnections, "ROUTERD_MAX_CONNECTIONS", default: 40),
            spares: try Environment.value(spares, "ROUTERD_SPARES"),
            maxClients: try Environment.value(maxClients, "ROUTERD_MAX_CLIENTS"),
            queueTimeout: try Environment.value(queueTimeout, "ROUTERD_QUEUE_TIMEOUT", default: .seconds(30)).duration,
            idleTimeout: try Environment.value(idleTimeout, "ROUTERD_IDLE_TIMEOUT", default: .seconds(300)).duration,
            startupTimeout: try Environment.value(startupTimeout, "ROUTERD_STARTUP_TIMEOUT", default: .seconds(60))
                .duration,
            confinement: try Environment.value(confine, "ROUTERD_CONFINE", default: .auto),
            settings: try Environment.list("ROUTERD_SET") + settings,
            storage: storage,
            tenantNetwork: try Environment.value(
                tenantNetwork ? .on : nil, "ROUTERD_TENANT_NETWORK", default: Switch.off
            )
            .isOn,
            io: try Environment.value(io, "ROUTERD_IO", default: .auto),
            socketDirectory: try Environment.value(socketDir, "ROUTERD_SOCKET_DIR"),
            postgresBinDirectory: try Environment.value(postgresBin, "ROUTERD_POSTGRES_BIN"),
            allowRemoteWithoutAuthentication: allowRemote.isOn,
            inspect: try Environment.value(inspect ? .on : nil, "ROUTERD_INSPECT", default: Switch.off).isOn,
            inspectValues: try Environment.value(
                inspectValues ? .on : nil, "ROUTERD_INSPECT_VALUES", default: Switch.off
            )
            .isOn,
            stopSignals: Self.stopSignals,
            logger: .lines(level: level, format: format))
    }

    /// Bound by whoever started the program, or by itself.
    private func listeners(_ configuration: RouterConfiguration, passed: [CInt]) throws -> RouterListeners {
        guard !passed.isEmpty else { return try .bind(configuration) }
        if port != nil || host != nil || socketDir != nil {
            configuration.logger.warning(
                "--port, --host and --socket-dir have no effect: the sockets to listen on were passed (LISTEN_FDS)")
        }
        return try .adopt(passed, for: configuration)
    }

    private func storage() throws -> Storage {
        guard try Environment.value(memory ? Switch.on : nil, "ROUTERD_MEMORY", default: .off).isOn else {
            return .directory
        }
        if dir != nil {
            throw Failure.usage("--memory keeps nothing in a directory, and --dir names one: choose either")
        }
        return .memory
    }

    /// Signals are blocked before the first thread starts, so that every thread inherits it; descriptors are raised to
    /// what the system allows, because each session takes two.
    static func prepareProcess() {
        keepStandardDescriptors()
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in stopSignals { unsafe sigaddset(&set, signal) }
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        _ = signal(SIGPIPE, SIG_IGN)
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// Whoever started the program with a standard stream closed must not find a listener in its place.
    private static func keepStandardDescriptors() {
        while true {
            let number = unsafe open("/dev/null", O_RDWR)
            guard number >= 0 else { return }
            guard number <= STDERR_FILENO else {
                close(number)
                return
            }
        }
    }

    /// A closed terminal stops it as orderly as the others, unless nohup(1) has said that it should not.
    private static var stopSignals: [Int32] {
        var hangup = sigaction()
        guard unsafe sigaction(SIGHUP, nil, &hangup) == 0 else { return [SIGTERM, SIGINT] }
        // SIG_IGN is a pointer that points to nothing: 1.
        let isIgnored = unsafe unsafeBitCast(hangup.__sigaction_handler.sa_handler, to: Int.self) == 1
        return isIgnored ? [SIGTERM, SIGINT] : [SIGTERM, SIGINT, SIGHUP]
    }

    /// The ports are bound by now, so root is needed no longer.
    private func becomeUser(for configuration: RouterConfiguration) throws {
        guard Privileges.isRoot else {
            if runAs != nil { configuration.logger.warning("--run-as has no effect: routerd was not started by root") }
            return
        }
        let user = try Privileges.user(named: try Environment.value(runAs, "ROUTERD_RUN_AS", default: "postgres"))
        guard configuration.storage == .directory else { return try Privileges.become(user) }
        try Privileges.prepareBaseDirectory(configuration.baseDirectory, for: user)
        try Privileges.become(user)
        try Privileges.checkAccess(to: configuration.baseDirectory, as: user.name)
    }

    /// The ready line: on standard output, whatever the log level, because scripts wait for it.
    private static func announce(_ router: borrowing MultiTenantRouter, format: LogFormat) {
        let example = "postgresql://\(router.exampleHost):\(router.port)/mydb"
        switch format {
        case .text:
            Console.say(
                "routerd is ready on \(router.address) (PostgreSQL \(router.postgresVersion)); try: psql \(example)")
        case .json:
            Console.say(
                #"{"ready":true,"address":"\#(router.address)","port":\#(router.port),"#
                    + #""postgresVersion":"\#(router.postgresVersion)","example":"\#(example)"}"#)
        }
    }
}

extension LogLevel: ExpressibleByArgument {}
extension LogFormat: ExpressibleByArgument {}
extension Confinement: ExpressibleByArgument {}

extension PostgresSetting: ExpressibleByArgument {
    /// `name=value`; the value may be empty, and contain what it likes.
    public init?(argument: String) {
        guard let sign = argument.firstIndex(of: "="), sign != argument.startIndex else { return nil }
        self.init(name: String(argument[..<sign]), value: String(argument[argument.index(after: sign)...]))
    }
}
extension IOEngine: ExpressibleByArgument {}
