/// An option as `SHOW CONFIG` has it: the name of its flag, its value and its default.
struct RouterOption {
    let name: String
    let fallback: String
    /// From the configuration, and the number of clients that came of it.
    let value: (RouterConfiguration, Int) -> String

    private init(_ name: String, _ value: @escaping (RouterConfiguration) -> String, default fallback: String? = nil) {
        self.name = name
        self.value = { configuration, _ in value(configuration) }
        self.fallback = fallback ?? value(RouterConfiguration())
    }

    private init(maxClients name: String) {
        self.name = name
        value = { "\($1)" }
        fallback = "by descriptor limit"
    }

    /// In the order of the options table.
    static var all: [RouterOption] {
        [
            RouterOption("port", { "\($0.port)" }),
            RouterOption("host", { $0.host }),
            RouterOption("dir", { $0.baseDirectory }),
            RouterOption("auto_provision", { $0.autoProvision ? "on" : "off" }),
            RouterOption("max_instances", { "\($0.maxInstances)" }),
            RouterOption("max_connections", { "\($0.maxConnections)" }),
            RouterOption("spares", { "\($0.effectiveSpares)" }),
            RouterOption(maxClients: "max_clients"),
            RouterOption("queue_timeout", { Self.span($0.queueTimeout) }),
            RouterOption("idle_timeout", { Self.span($0.idleTimeout) }),
            RouterOption("startup_timeout", { Self.span($0.startupTimeout) }),
            RouterOption("confine", { $0.confinement.rawValue }),
            RouterOption("tenant_network", { $0.tenantNetwork ? "on" : "off" }),
            RouterOption("set", { $0.settings.map { "\($0.name)=\($0.value)" }.joined(separator: ";") }),
            RouterOption("memory", { $0.storage == .memory ? "on" : "off" }),
            RouterOption("io", { $0.io.rawValue }),
            RouterOption("socket_dir", { $0.socketDirectory ?? "" }),
            RouterOption("postgres_bin", { $0.postgresBinDirectory ?? "" }, default: "newest found"),
            RouterOption("log_level", { "\($0.logger.logLevel)" }, default: "info"),
            RouterOption("inspect", { $0.inspect ? "on" : "off" }),
            RouterOption("inspect_values", { $0.inspectValues ? "on" : "off" }),
            RouterOption(
                "allow_remote_without_authentication", { $0.allowRemoteWithoutAuthentication ? "on" : "off" }),
        ]
    }

    /// As the flags take it.
    private static func span(_ duration: Duration) -> String {
        let milliseconds = duration.inMilliseconds
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}
