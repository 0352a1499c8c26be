import Logging

/// One row of the options table: everything that is to be said about an option, once. Flags, environment variables,
/// keys of the configuration file, `SHOW CONFIG` and what a reload does are made of it.
public struct RouterOption: Sendable {
    /// When another value takes effect.
    public enum Change: String, Sendable, CaseIterable {
        /// With ``MultiTenantRouter/reload(_:)``.
        case atOnce = "at once"
        /// With the same, for instances that boot later.
        case nextBoot = "next boot"
        /// When the program is started again.
        case restart
    }

    /// The key of a configuration file; `--` before it makes it a flag: `max-instances`.
    public let name: String
    /// What it decides, for people; without a full stop.
    public let summary: String
    /// What stands for a value in the help; empty for a switch.
    public let placeholder: String
    /// The value where none is given, as one would write it or in words.
    public let fallback: String
    /// When another value takes effect.
    public let change: Change
    /// The value as one would write it.
    let text: @Sendable (RouterConfiguration) -> String
    /// Takes the value over from another configuration.
    let copy: @Sendable (RouterConfiguration, inout RouterConfiguration) -> Void

    /// The environment variable of the same meaning.
    public var variable: String {
        "ROUTERD_" + String(name.uppercased().map { $0 == "-" ? "_" : $0 })
    }

    /// The value that a configuration has for it, as one would write it.
    public func value(in configuration: RouterConfiguration) -> String { text(configuration) }

    /// A row for an option that is no router's: the program's own.
    public init(_ name: String, _ summary: String, placeholder: String, fallback: String) {
        self.name = name
        self.summary = summary
        self.placeholder = placeholder
        self.fallback = fallback
        change = .restart
        text = { _ in fallback }
        copy = { _, _ in }
    }

    private init<Value>(
        _ name: String, _ summary: String, _ member: any WritableKeyPath<RouterConfiguration, Value> & Sendable,
        placeholder: String, fallback: String? = nil, _ change: Change,
        text: @escaping @Sendable (RouterConfiguration) -> String
    ) {
        self.name = name
        self.summary = summary
        self.placeholder = placeholder
        self.change = change
        self.text = text
        self.fallback = fallback ?? text(RouterConfiguration())
        copy = { source, target in target[keyPath: member] = source[keyPath: member] }
    }
}

// MARK: - The rows

extension RouterOption {
    /// In the order of the table in `README.md`.
    public static let all: [RouterOption] = [
        port, host, dir, autoProvision, maxInstances, maxConnections, spares, maxClients, queueTimeout, idleTimeout,
        startupTimeout, confine, set, memory, tenantNetwork, reuseBackends, io, workers, socketDir, http,
        postgresBin, logLevel, inspect,
        inspectValues, allowRemoteWithoutAuthentication,
    ]

    /// ``RouterConfiguration/port``.
    public static let port = RouterOption("port", "TCP port", \.port, placeholder: "number", .restart) { "\($0.port)" }

    /// ``RouterConfiguration/host``.
    public static let host = RouterOption(
        "host", "Address to listen on, or localhost for both loopbacks", \.host, placeholder: "address", .restart
    ) { $0.host }

    /// ``RouterConfiguration/baseDirectory``.
    public static let dir = RouterOption(
        "dir", "Where the tenants' data directories stand", \.baseDirectory, placeholder: "path", .restart
    ) { $0.baseDirectory }

    /// ``RouterConfiguration/autoProvision``.
    public static let autoProvision = RouterOption(
        "auto-provision", "Create a tenant when somebody connects to a new name", \.autoProvision, placeholder: "",
        .atOnce
    ) { Self.word($0.autoProvision) }

    /// ``RouterConfiguration/maxInstances``.
    public static let maxInstances = RouterOption(
        "max-instances", "Instances that may run at once", \.maxInstances, placeholder: "count", .atOnce
    ) { "\($0.maxInstances)" }

    /// ``RouterConfiguration/maxConnections``.
    public static let maxConnections = RouterOption(
        "max-connections", "Sessions that one instance serves at once", \.maxConnections, placeholder: "count",
        .nextBoot
    ) { "\($0.maxConnections)" }

    /// ``RouterConfiguration/spares``.
    public static let spares = RouterOption(
        "spares", "Databases kept ready for new names", \.spares, placeholder: "count",
        fallback: "one for every 30 instances, at most 3", .atOnce
    ) { "\($0.effectiveSpares)" }

    /// ``RouterConfiguration/maxClients``.
    public static let maxClients = RouterOption(
        "max-clients", "Clients of the whole router", \.maxClients, placeholder: "count",
        fallback: clientsByDescriptors, .atOnce
    ) { $0.maxClients.map { "\($0)" } ?? clientsByDescriptors }

    /// ``RouterConfiguration/queueTimeout``.
    public static let queueTimeout = RouterOption(
        "queue-timeout", "How long a client waits for an instance", \.queueTimeout, placeholder: "time", .atOnce
    ) { $0.queueTimeout.asWritten }

    /// ``RouterConfiguration/idleTimeout``.
    public static let idleTimeout = RouterOption(
        "idle-timeout", "Hibernate an instance nobody has used for so long; 0 = never", \.idleTimeout,
        placeholder: "time", .atOnce
    ) { $0.idleTimeout.asWritten }

    /// ``RouterConfiguration/startupTimeout``.
    public static let startupTimeout = RouterOption(
        "startup-timeout", "How long a client may take to say what it wants", \.startupTimeout, placeholder: "time",
        .atOnce
    ) { $0.startupTimeout.asWritten }

    /// ``RouterConfiguration/confinement``.
    public static let confine = RouterOption(
        "confine", "Confine each tenant to its own directory: auto, require or off", \.confinement,
        placeholder: "mode", .restart
    ) { $0.confinement.rawValue }

    /// ``RouterConfiguration/settings``.
    public static let set = RouterOption(
        "set", "A setting of PostgreSQL for all tenants; may be repeated", \.settings, placeholder: "name=value",
        fallback: "none", .nextBoot
    ) { $0.settings.isEmpty ? "none" : $0.settings.map { "\($0.name)=\($0.value)" }.joined(separator: ";") }

    /// ``RouterConfiguration/storage``.
    public static let memory = RouterOption(
        "memory", "Keep everything in memory and nothing afterwards: fast, for tests. Not with --dir", \.storage,
        placeholder: "", .restart
    ) { Self.word($0.storage != .directory) }

    /// ``RouterConfiguration/tenantNetwork``.
    public static let tenantNetwork = RouterOption(
        "tenant-network", "Let confined tenants connect out over TCP, as subscriptions do", \.tenantNetwork,
        placeholder: "", .restart
    ) { Self.word($0.tenantNetwork) }

    /// ``RouterConfiguration/reusesBackends``.
    public static let reuseBackends = RouterOption(
        "reuse-backends", "Give the backend of an ended session to the next client of its kind: on or off",
        \.reusesBackends, placeholder: "switch", .atOnce
    ) { Self.word($0.reusesBackends) }

    /// ``RouterConfiguration/io``.
    public static let io = RouterOption(
        "io", "What moves the bytes: auto, epoll or io_uring", \.io, placeholder: "engine", .restart
    ) { $0.io.rawValue }

    /// ``RouterConfiguration/workers``.
    public static let workers = RouterOption(
        "workers", "Threads that serve sessions", \.workers, placeholder: "count", .restart
    ) { "\($0.workers)" }

    /// ``RouterConfiguration/socketDirectory``.
    public static let socketDir = RouterOption(
        "socket-dir", "Make a Unix socket .s.PGSQL.<port> in this directory too", \.socketDirectory,
        placeholder: "path", .restart
    ) { $0.socketDirectory ?? "none" }

    /// ``RouterConfiguration/http``.
    public static let http = RouterOption(
        "http", "Serve metrics and the status page here by HTTP, on loopback", \.http, placeholder: "host:port",
        .restart
    ) { $0.http ?? "none" }

    /// ``RouterConfiguration/postgresBinDirectory``.
    public static let postgresBin = RouterOption(
        "postgres-bin", "Directory with PostgreSQL's programs", \.postgresBinDirectory, placeholder: "path", .restart
    ) { $0.postgresBinDirectory ?? "newest found" }

    /// ``RouterConfiguration/logger``.
    public static let logLevel = RouterOption(
        "log-level", "error, warn, info or debug", \.logger.logLevel, placeholder: "level", .atOnce
    ) { LogLevel($0.logger.logLevel).rawValue }

    /// ``RouterConfiguration/inspect``.
    public static let inspect = RouterOption(
        "inspect", "Print a line for each message of every session to the log, without values", \.inspect,
        placeholder: "", .restart
    ) { Self.word($0.inspect) }

    /// ``RouterConfiguration/inspectValues``.
    public static let inspectValues = RouterOption(
        "inspect-values", "Where messages are printed, print parameters, rows and COPY data too; never passwords",
        \.inspectValues, placeholder: "", .restart
    ) { Self.word($0.inspectValues) }

    /// ``RouterConfiguration/allowRemoteWithoutAuthentication``.
    public static let allowRemoteWithoutAuthentication = RouterOption(
        "allow-remote-without-authentication",
        "Listen on an address that is not loopback although nobody is asked for a password",
        \.allowRemoteWithoutAuthentication, placeholder: "", .restart
    ) { Self.word($0.allowRemoteWithoutAuthentication) }

    private static let clientsByDescriptors = "what the descriptor limit allows"

    private static func word(_ isOn: Bool) -> String { isOn ? "on" : "off" }
}

extension LogLevel {
    /// The one that writes what the logger writes.
    init(_ level: Logger.Level) {
        self = LogLevel.allCases.last { $0.level >= level } ?? .error
    }
}

extension Duration {
    /// As the flags take it, in the largest unit that it is a multiple of.
    fileprivate var asWritten: String {
        let milliseconds = inMilliseconds
        let units: [(name: String, milliseconds: Int64)] = [("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        for unit in units where milliseconds > 0 && milliseconds % unit.milliseconds == 0 {
            return "\(milliseconds / unit.milliseconds)\(unit.name)"
        }
        return milliseconds == 0 ? "0" : "\(milliseconds)ms"
    }
}
