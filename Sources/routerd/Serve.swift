import ArgumentParser
import Glibc
import TenantRouter

/// `routerd serve`: the router in the foreground.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve in the foreground until SIGINT or SIGTERM; a second signal hurries.",
        discussion: """
            Flags win over environment variables (--max-instances is ROUTERD_MAX_INSTANCES), those over a configuration
            file (max-instances = 50). With a file, SIGHUP reads it again; without one it stops the server like SIGTERM,
            unless a service manager has started it (NOTIFY_SOCKET).
            """,
        aliases: ["start-router"])

    @OptionGroup var options: ServeOptions

    func run() throws {
        let manager = ServiceManager.fromEnvironment()
        let passed = try PassedSockets.take()
        let told = try options.told()
        if told.router.storage == .memory, told.isFlag(.dir) {
            throw Failure.usage("--memory keeps nothing in a directory, and --dir names one: choose either")
        }
        let reload = Reload(options: options, told: told, manager: manager)
        let server = Server(
            told, stopSignals: Self.stopSignals(reloads: reload != nil),
            otherSignals: reload == nil ? [] : [Reload.signal], manager: manager, passed: passed)
        try server.run { router in
            Self.announce(router, format: told.logFormat)
            reload?.onHangup(of: router)
            reload?.onRequest(of: router)
        }
    }

    /// A closed terminal stops it as orderly as the others, unless nohup(1) has said that it should not, or a hangup
    /// means another thing.
    private static func stopSignals(reloads: Bool) -> [Int32] {
        var hangup = sigaction()
        guard !reloads, unsafe sigaction(SIGHUP, nil, &hangup) == 0 else { return [SIGTERM, SIGINT] }
        // SIG_IGN is a pointer that points to nothing: 1.
        let isIgnored = unsafe unsafeBitCast(hangup.__sigaction_handler.sa_handler, to: Int.self) == 1
        return isIgnored ? [SIGTERM, SIGINT] : [SIGTERM, SIGINT, SIGHUP]
    }

    /// The ready line: on standard output, whatever the log level, because scripts wait for it.
    private static func announce(_ router: MultiTenantRouter, format: LogFormat) {
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
