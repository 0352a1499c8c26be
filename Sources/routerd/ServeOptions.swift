public import ArgumentParser
import Glibc
import Logging
public import TenantRouter

/// What a router can be told on the command line: a flag for each row of the options table.
struct ServeOptions: ParsableArguments {
    @Option(.config) var config: String?
    @Option(.port) var port: UInt16?
    @Option(.host) var host: String?
    @Option(.dir) var dir: String?
    @Flag(.autoProvision) var autoProvision: Bool?
    @Option(.maxInstances) var maxInstances: Int?
    @Option(.maxConnections) var maxConnections: Int?
    @Option(.spares) var spares: Int?
    @Option(.maxClients) var maxClients: Int?
    @Option(.queueTimeout) var queueTimeout: Span?
    @Option(.idleTimeout) var idleTimeout: Span?
    @Option(.startupTimeout) var startupTimeout: Span?
    @Option(.confine) var confine: Confinement?
    @Option(.set) var set: [PostgresSetting] = []
    @Flag(.memory) var memory: Bool?
    @Flag(.tenantNetwork) var tenantNetwork: Bool?
    @Option(.reuseBackends) var reuseBackends: Switch?
    @Option(.io) var io: IOEngine?
    @Option(.workers) var workers: Int?
    @Option(.socketDir) var socketDir: String?
    @Option(.http) var http: String?
    @Option(.postgresBin) var postgresBin: String?
    @Option(.runAs) var runAs: String?
    @Option(.logLevel) var logLevel: LogLevel?
    @Option(.logFormat) var logFormat: LogFormat?
    @Flag(.inspect) var inspect: Bool?
    @Flag(.inspectValues) var inspectValues: Bool?
    @Flag(.allowRemoteWithoutAuthentication) var allowRemoteWithoutAuthentication: Bool?
}

extension RouterOption {
    static let config = RouterOption(
        "config", "Read options from this TOML file; flags and variables win", placeholder: "file", fallback: "none")
    static let runAs = RouterOption(
        "run-as", "User to become when started by root", placeholder: "user", fallback: "postgres")
    static let logFormat = RouterOption("log-format", "text or json", placeholder: "format", fallback: "text")

    /// All that `serve` takes, the program's own included, in the order of the table in `README.md`.
    static let served: [RouterOption] = {
        var rows = all
        let level = rows.firstIndex { $0.name == logLevel.name } ?? rows.endIndex
        rows.insert(runAs, at: level)
        rows.insert(logFormat, at: level + 2)
        return [config] + rows
    }()

    fileprivate var help: ArgumentHelp {
        ArgumentHelp("\(summary) (default: \(fallback)).", valueName: placeholder.isEmpty ? name : placeholder)
    }
}

extension Option {
    init<Wrapped: ExpressibleByArgument>(_ row: RouterOption) where Value == Wrapped? {
        self.init(name: .customLong(row.name), help: row.help)
    }

    init<Element: ExpressibleByArgument>(wrappedValue: [Element], _ row: RouterOption) where Value == [Element] {
        self.init(wrappedValue: wrappedValue, name: .customLong(row.name), help: row.help)
    }
}

extension Flag where Value == Bool? {
    init(_ row: RouterOption) {
        self.init(name: .customLong(row.name), inversion: .prefixedNo, help: row.help)
    }
}

// MARK: - What they come to

/// What a router is told in the end, and by whom.
struct ToldOptions {
    var router: RouterConfiguration
    let logFormat: LogFormat
    /// The user to become, where the program was started by root.
    let runAs: String
    /// Where each value comes from, by the option's name; those of `set` by the setting's name behind `set.`.
    let origins: [String: OptionOrigin]
    /// The configuration file that was read.
    let file: String?

    /// The value as one would write it.
    func value(of row: RouterOption) -> String {
        switch row.name {
        case RouterOption.config.name: file ?? row.fallback
        case RouterOption.runAs.name: runAs
        case RouterOption.logFormat.name: logFormat.rawValue
        default: row.value(in: router)
        }
    }

    func origin(of row: RouterOption) -> OptionOrigin { origins[row.name] ?? .fallback }

    /// Whether somebody on the command line asked for it.
    func isFlag(_ row: RouterOption) -> Bool { origin(of: row) == .flag(row.name) }
}

extension ServeOptions {
    /// Flags over variables over the file over the defaults. Reads the file.
    func told() throws(Failure) -> ToldOptions {
        var sources = try OptionSources(config: config)
        let defaults = RouterConfiguration()
        let format = try sources.value(.logFormat, logFormat) ?? .text
        let level = try sources.value(.logLevel, logLevel) ?? .info
        let runAs = try sources.value(.runAs, runAs) ?? RouterOption.runAs.fallback
        let router = RouterConfiguration(
            port: try sources.value(.port, port) ?? defaults.port,
            host: try sources.value(.host, host) ?? defaults.host,
            baseDirectory: try sources.value(.dir, dir) ?? defaults.baseDirectory,
            autoProvision: try sources.isOn(.autoProvision, autoProvision) ?? defaults.autoProvision,
            maxInstances: try sources.value(.maxInstances, maxInstances) ?? defaults.maxInstances,
            maxConnections: try sources.value(.maxConnections, maxConnections) ?? defaults.maxConnections,
            spares: try sources.value(.spares, spares),
            maxClients: try sources.value(.maxClients, maxClients),
            queueTimeout: try sources.value(.queueTimeout, queueTimeout)?.duration ?? defaults.queueTimeout,
            idleTimeout: try sources.value(.idleTimeout, idleTimeout)?.duration ?? defaults.idleTimeout,
            startupTimeout: try sources.value(.startupTimeout, startupTimeout)?.duration ?? defaults.startupTimeout,
            confinement: try sources.value(.confine, confine) ?? defaults.confinement,
            settings: try sources.settings(set),
            storage: try sources.isOn(.memory, memory) ?? false ? .memory : .directory,
            tenantNetwork: try sources.isOn(.tenantNetwork, tenantNetwork) ?? defaults.tenantNetwork,
            reusesBackends: try sources.value(.reuseBackends, reuseBackends)?.isOn ?? defaults.reusesBackends,
            io: try sources.value(.io, io) ?? defaults.io,
            workers: try sources.value(.workers, workers) ?? defaults.workers,
            socketDirectory: try sources.value(.socketDir, socketDir),
            http: try sources.value(.http, http),
            postgresBinDirectory: try sources.value(.postgresBin, postgresBin),
            allowRemoteWithoutAuthentication: try sources.isOn(
                .allowRemoteWithoutAuthentication, allowRemoteWithoutAuthentication)
                ?? defaults.allowRemoteWithoutAuthentication,
            inspect: try sources.isOn(.inspect, inspect) ?? defaults.inspect,
            inspectValues: try sources.isOn(.inspectValues, inspectValues) ?? defaults.inspectValues,
            logger: .lines(level: level, format: format))
        return ToldOptions(
            router: router, logFormat: format, runAs: runAs, origins: sources.origins, file: sources.file?.path)
    }
}

extension LogLevel: OptionValue {}
extension LogFormat: OptionValue {}
extension Confinement: OptionValue {}
extension IOEngine: OptionValue {}

extension PostgresSetting: ExpressibleByArgument {
    /// `name=value`; the value may be empty, and contain what it likes.
    public init?(argument: String) {
        guard let sign = argument.firstIndex(of: "="), sign != argument.startIndex else { return nil }
        self.init(name: String(argument[..<sign]), value: String(argument[argument.index(after: sign)...]))
    }
}
