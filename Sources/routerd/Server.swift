import Glibc
import TenantRouter

/// A router in this process, from its addresses to its end.
struct Server {
    private let told: ToldOptions
    private let configuration: RouterConfiguration

    /// - Parameter stopSignals: end it orderly, and in a hurry when another one comes.
    init(_ told: ToldOptions, stopSignals: [Int32]) {
        self.told = told
        var configuration = told.router
        configuration.stopSignals = stopSignals
        self.configuration = configuration
    }

    /// Serves until it is stopped; `whenReady` is told the router that serves.
    func run(whenReady: @escaping @Sendable (MultiTenantRouter) throws -> Void) throws {
        let configuration = configuration
        do {
            try configuration.check()
            prepareProcess()
            let listeners = try RouterListeners.bind(configuration)
            try becomeUser()
            try listeners.bindSocket(configuration)
            try Waiting.wait {
                let router = try await MultiTenantRouter.start(configuration, listeners: listeners) { step in
                    configuration.logger.info("\(step)")
                }
                try whenReady(router)
                await router.untilStopped()
            }
        } catch let error as RouterError {
            throw Failure(error)
        }
    }

    /// Signals are blocked before the first thread starts, so that every thread inherits it; descriptors are raised to
    /// what the system allows, because each session takes two.
    private func prepareProcess() {
        Self.keepStandardDescriptors()
        var set = sigset_t()
        unsafe sigemptyset(&set)
        let reload = told.file == nil ? [] : [Reload.signal]
        for signal in configuration.stopSignals + reload { unsafe sigaddset(&set, signal) }
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
