import Logging
import PostgresEmbed
import Reactor
import Synchronization
import TenantPool

/// A running router: one port, a PostgreSQL of its own for each database name.
///
/// ```swift
/// let router = try await MultiTenantRouter.start(.init(port: 5432, baseDirectory: "./data"))
/// let stats = await router.stats()
/// print(stats?.pool.totalInstances ?? 0)
/// await router.stop()
/// ```
///
/// It lives on a thread of its own until somebody stops it, whether the object is kept or not. ``InstancePool`` is the
/// same without a port, for the databases of one program.
public final class MultiTenantRouter: Sendable {
    /// Where it listens, for people: `127.0.0.1:5432`.
    public let address: String
    /// The TCP port.
    public let port: UInt16
    /// The version of the PostgreSQL that tenants get, such as `15.18`.
    public let postgresVersion: String
    /// Where metrics and the status page are served by HTTP, if they are: `127.0.0.1:9187`.
    public let httpAddress: String?
    /// The Unix socket that it listens on too, if it does.
    public let socketPath: String?

    let mailbox: Mailbox<Message>
    let ending: Ending
    let store: ClusterStore
    private let isStopping: Router.Flag

    private init(_ router: borrowing Router, at listeners: RouterListeners, ending: Ending) {
        address = listeners.address
        httpAddress = listeners.httpAddress
        port = router.port
        postgresVersion = router.store.installation.version
        socketPath = router.socketPath
        mailbox = router.mailbox
        store = router.store
        isStopping = router.isStopping
        self.ending = ending
    }

    /// Binds the addresses, opens the base directory and serves.
    ///
    /// - Parameters:
    ///   - configuration: what to serve, and where.
    ///   - progress: told what takes long: the template cluster of a fresh base directory.
    /// - Throws: ``RouterError``. Also when the process runs as root, as which PostgreSQL refuses to run.
    public static func start(
        _ configuration: RouterConfiguration, progress: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws(RouterError) -> MultiTenantRouter {
        let listeners = try RouterListeners.bind(configuration)
        try listeners.bindSocket(configuration)
        return try await start(configuration, listeners: listeners, progress: progress)
    }

    /// The same on addresses that were bound before.
    public static func start(
        _ configuration: RouterConfiguration, listeners: RouterListeners,
        progress: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws(RouterError) -> MultiTenantRouter {
        let startup = Startup(configuration: configuration, listeners: listeners, progress: progress)
        let result: Result<MultiTenantRouter, RouterError> = await withCheckedContinuation { continuation in
            startup.run { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// What it is doing at this moment; nil once it has stopped.
    public func stats() async -> RouterStatistics? {
        await withCheckedContinuation { continuation in
            let isAsked = ending.unlessEnded {
                mailbox.post(.run { continuation.resume(returning: $0.statistics) })
            }
            if !isAsked { continuation.resume(returning: nil) }
        }
    }

    /// Every tenant there is, running or not, sorted by name; wakes nobody. Nil once the router has stopped.
    ///
    /// - Parameter sizes: whether each directory's size is found out too, by a look at a thousand files a tenant.
    public func databases(sizes: Bool = false) async -> [DatabaseStatus]? {
        await withCheckedContinuation { continuation in
            let isAsked = ending.unlessEnded {
                mailbox.post(.run { $0.listTenants(sizes ? .sizes : .names) { continuation.resume(returning: $1) } })
            }
            if !isAsked { continuation.resume(returning: nil) }
        }
    }

    /// Asks something of the router's thread; a task that is cancelled takes it back.
    func ask<Value: Sendable>(
        _ request: @escaping @Sendable (inout Router, Ticket, @escaping Router.Reply<Value>) -> Void, by ticket: Ticket
    ) async throws(InstanceError) -> Value {
        let result: Result<Value, InstanceError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isAsked = ending.unlessEnded {
                    mailbox.post(
                        .run { router in
                            let reply = { continuation.resume(returning: $0) }
                            if ticket.isWithdrawn { return reply(.failure(.cancelled)) }
                            guard case .serving = router.lifetime else { return reply(.failure(.closed)) }
                            request(&router, ticket, reply)
                        })
                }
                if !isAsked { continuation.resume(returning: .failure(.closed)) }
            }
        } onCancel: {
            ticket.withdraw()
            tell { $0.withdraw(ticket) }
        }
        return try result.get()
    }

    /// Tells the router's thread something; one that has stopped does not hear it.
    func tell(_ body: @escaping @Sendable (inout Router) -> Void) {
        _ = ending.unlessEnded { mailbox.post(.run(body)) }
    }

    /// Does not wait.
    func beginToStop() { mailbox.post(.stop) }

    /// Prints one line for each message of the tenant's sessions to the log, or no longer, whatever
    /// ``RouterConfiguration/inspect`` says; sessions that are under way included.
    ///
    /// - Parameters:
    ///   - database: the tenant, which need not exist yet.
    ///   - isOn: whether its messages are printed from now on.
    /// - Returns: false where nothing changes, because no tenant can have that name or the router has stopped.
    @discardableResult
    public func inspect(_ database: String, _ isOn: Bool) async -> Bool {
        guard let tenant = try? TenantName(database) else { return false }
        return await withCheckedContinuation { continuation in
            let isAsked = ending.unlessEnded {
                mailbox.post(
                    .run { router in
                        router.inspect(tenant, isOn: isOn)
                        continuation.resume(returning: true)
                    })
            }
            if !isAsked { continuation.resume(returning: false) }
        }
    }

    /// Stops orderly: no new clients, sessions are told `57P01`, every instance is shut down cleanly. A second call,
    /// while the first still waits, hurries.
    public func stop() async {
        mailbox.post(.stop)
        await untilStopped()
    }

    /// Waits until the router begins to stop, whoever stops it.
    public func untilStopping() async {
        await withCheckedContinuation { continuation in isStopping.onRaise { continuation.resume() } }
    }

    /// Waits until the router has stopped, whoever stopped it.
    public func untilStopped() async {
        await withCheckedContinuation { continuation in ending.onEnd { continuation.resume() } }
    }

    /// A host for connection strings that reaches this router from this machine.
    public var exampleHost: String {
        if address.hasPrefix("/") {
            // A URI has the directory of a Unix socket in place of the host, with its slashes escaped.
            return address.split(separator: "/").dropLast().map { "%2F\($0)" }.joined()
        }
        let host = String(address.prefix(upTo: address.lastIndex(of: ":") ?? address.endIndex))
        return ["127.0.0.1", "0.0.0.0", "[::]"].contains(host) ? "localhost" : host
    }

    /// A router's start, on the thread that then serves.
    private final class Startup: Sendable {
        let configuration: RouterConfiguration
        let listeners: RouterListeners
        let progress: @Sendable (String) -> Void

        init(
            configuration: RouterConfiguration, listeners: RouterListeners,
            progress: @escaping @Sendable (String) -> Void
        ) {
            self.configuration = configuration
            self.listeners = listeners
            self.progress = progress
        }

        func run(_ done: @escaping @Sendable (Result<MultiTenantRouter, RouterError>) -> Void) {
            do throws(ReactorError) {
                _ = try Thread.start(name: "routerd") { self.serve(done) }
            } catch {
                done(.failure(RouterError(.environment, "cannot start a thread: \(error)")))
            }
        }

        private func serve(_ done: (Result<MultiTenantRouter, RouterError>) -> Void) {
            let ending = Ending()
            do throws(RouterError) {
                try live(ending, done)
                // The router, its sockets included, is gone by now.
                ending.tell()
            } catch {
                LineWriter.shared.flush()
                done(.failure(error))
            }
        }

        private func live(_ ending: Ending, _ done: (Result<MultiTenantRouter, RouterError>) -> Void)
            throws(RouterError)
        {
            var router = try Router.assemble(configuration, listeners, progress: progress)
            done(.success(MultiTenantRouter(router, at: listeners, ending: ending)))
            router.run()
            router.tearDown()
            LineWriter.shared.flush()
            ending.end { router.readMail() }
        }
    }
}

/// Tells everybody who waits for it that the router has stopped.
final class Ending: Sendable {
    private struct State {
        var hasEnded = false
        var isTold = false
        var waiting: [@Sendable () -> Void] = []
    }

    private let state = Mutex(State())

    /// Calls back at the end, at once if it was before.
    func onEnd(_ call: @escaping @Sendable () -> Void) {
        let isWaiting = state.withLock { state in
            guard !state.isTold else { return false }
            state.waiting.append(call)
            return true
        }
        if !isWaiting { call() }
    }

    /// Does something that only a living router can answer; false if it is too late. What was done in time is still
    /// answered: the end waits for it.
    func unlessEnded(_ body: () -> Void) -> Bool {
        state.withLock { state in
            guard !state.hasEnded else { return false }
            body()
            return true
        }
    }

    /// The router has stopped: from here on nothing is asked any more; `last` answers what was asked in time.
    func end(last: () -> Void) {
        state.withLock { $0.hasEnded = true }
        last()
    }

    /// Calls everybody back who waits.
    func tell() {
        let waiting = state.withLock { state in
            state.isTold = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for call in waiting { call() }
    }
}
