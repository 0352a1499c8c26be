import Glibc
import TenantRouter

/// A router in this process, from its addresses to its end.
struct Server {
    private let told: ToldOptions
    private let configuration: RouterConfiguration
    private let otherSignals: [Int32]
    /// Who is told how it is getting on.
    private let manager: ServiceManager?
    /// Sockets that were bound for it.
    private let passed: [CInt]

    /// - Parameters:
    ///   - stopSignals: end it orderly, and in a hurry when another one comes.
    ///   - otherSignals: what the caller waits for itself.
    init(
        _ told: ToldOptions, stopSignals: [Int32], otherSignals: [Int32] = [], manager: ServiceManager? = nil,
        passed: [CInt] = []
    ) {
        self.told = told
        self.otherSignals = otherSignals
        self.manager = manager
        self.passed = passed
        var configuration = told.router
        configuration.stopSignals = stopSignals
        self.configuration = configuration
    }

    /// Serves until it is stopped; `whenReady` is told the router that serves.
    func run(whenReady: @escaping @Sendable (MultiTenantRouter) throws -> Void) throws {
        let (configuration, manager) = (configuration, manager)
        do {
            try configuration.check()
            prepareProcess()
            let listeners = try listeners()
            try becomeUser()
            if passed.isEmpty { try listeners.bindSocket(configuration) }
            try Waiting.wait {
                let router = try await MultiTenantRouter.start(configuration, listeners: listeners) { step in
                    configuration.logger.info("\(step)")
                    manager?.tell("STATUS=\(step)")
                }
                try whenReady(router)
                await manager?.accompany(router)
                await router.untilStopped()
            }
        } catch let error as RouterError {
            manager?.tell("STATUS=\(error.description)")
            throw Failure(error)
        }
    }

    /// Bound by whoever started the program, or by itself.
    private func listeners() throws(RouterError) -> RouterListeners {
        guard !passed.isEmpty else { return try .bind(configuration) }
        if told.isFlag(.port) || told.isFlag(.host) || told.isFlag(.socketDir) {
            configuration.logger.warning(
                "--port, --host and --socket-dir have no effect: the sockets to listen on were passed (LISTEN_FDS)")
        }
        return try .adopt(passed, for: configuration)
    }

    /// Signals are blocked before the first thread starts, so that every thread inherits it; descriptors are raised to
    /// what the system allows, because each session takes two.
    private func prepareProcess() {
        Self.keepStandardDescriptors()
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in configuration.stopSignals + otherSignals { unsafe sigaddset(&set, signal) }
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

    /// The ports are bound by now, so root is needed no longer.
    private func becomeUser() throws {
        guard Privileges.isRoot else {
            if told.isFlag(.runAs) {
                configuration.logger.warning("--run-as has no effect: routerd was not started by root")
            }
            return
        }
        let user = try Privileges.user(named: told.runAs)
        guard configuration.storage == .directory else { return try Privileges.become(user) }
        try Privileges.prepareBaseDirectory(configuration.baseDirectory, for: user)
        try Privileges.become(user)
        try Privileges.checkAccess(to: configuration.baseDirectory, as: user.name)
    }
}

extension Failure {
    init(_ error: RouterError) {
        self = error.isUsage ? .usage(error.description) : .failed(error.description)
    }
}
