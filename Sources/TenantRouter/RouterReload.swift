import Dispatch
import PostgresEmbed
import TenantPool

/// What became of a configuration that a running router was given.
public struct RouterReload: Sendable, Equatable {
    /// An option whose value differs.
    public struct Change: Sendable, Equatable {
        /// The option's name: `max-instances`.
        public var option: String
        /// The value until now, as one would write it.
        public var before: String
        /// The value that was asked for.
        public var after: String
        /// When it takes effect.
        public var change: RouterOption.Change

        /// A difference.
        public init(option: String, before: String, after: String, change: RouterOption.Change) {
            self.option = option
            self.before = before
            self.after = after
            self.change = change
        }
    }

    /// In the order of the options table.
    public var changes: [Change] = []
}

extension MultiTenantRouter {
    /// Takes over what can change while it runs, without disturbing a session. Instances keep the settings and the number
    /// of connections with which they booted; where more of them run than may, the idle ones hibernate.
    ///
    /// - Returns: what differs, and when each takes effect; what needs a restart was left as it was. Nil once the router
    ///   has stopped.
    /// - Throws: ``RouterError`` of the kind `configuration` for an impossible value, of the kind `environment` for a
    ///   setting that PostgreSQL does not take. Nothing has changed then.
    public func reload(_ configuration: RouterConfiguration) async throws(RouterError) -> RouterReload? {
        try configuration.validate()
        try await check(configuration.sizes)
        return await withCheckedContinuation { continuation in
            let isAsked = ending.unlessEnded {
                mailbox.post(.run { continuation.resume(returning: $0.reload(configuration)) })
            }
            if !isAsked { continuation.resume(returning: nil) }
        }
    }

    /// Has somebody read the configuration again when the console's `RELOAD` asks for it; without, that does nothing.
    ///
    /// - Parameter read: reads and takes over what it finds (``reload(_:)``); answers why nothing could be taken over,
    ///   or nil. It may be called again before it has answered.
    public func onReload(_ read: @escaping @Sendable () async -> String?) {
        tell { router in
            router.reloader = { session in
                Task {
                    let failure = await read()
                    self.tell { $0.reloaded(for: session, failure: failure) }
                }
            }
        }
    }

    /// PostgreSQL is asked on a thread that may wait.
    private func check(_ sizes: ClusterSizes) async throws(RouterError) {
        let store = store
        let result: Result<Void, RouterError> = await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                do throws(EmbedError) {
                    try store.check(sizes)
                    continuation.resume(returning: .success(()))
                } catch {
                    continuation.resume(returning: .failure(RouterError(error)))
                }
            }
        }
        try result.get()
    }
}

/// How far a reload can go: tables have been made for so many.
struct Capacity {
    let clients: Int
    let instances: Int

    init(_ configuration: RouterConfiguration, maxClients: Int) {
        clients = maxClients
        instances = configuration.maxInstances + Limits.instancesOfAReload
    }

    /// Whether the value of an option is one that the running router has room for.
    func allows(_ option: RouterOption, of wanted: RouterConfiguration) -> Bool {
        switch option.name {
        case RouterOption.maxInstances.name:
            wanted.maxInstances <= instances
                && Limits.clientsThatFit(maxInstances: wanted.maxInstances, descriptors: Limits.descriptors) > 0
        case RouterOption.maxClients.name: wanted.maxClients.map { $0 <= clients } ?? true
        default: true
        }
    }

    /// As many clients as a configuration asks for, or as fit.
    func clients(of configuration: RouterConfiguration) -> Int {
        let fitting = Limits.clientsThatFit(
            maxInstances: configuration.maxInstances, workers: configuration.workers, descriptors: Limits.descriptors)
        return max(1, min(configuration.maxClients ?? clients, clients, fitting))
    }
}

extension Router {
    /// Takes over what can be taken over.
    mutating func reload(_ wanted: RouterConfiguration) -> RouterReload {
        var outcome = RouterReload()
        var next = configuration
        for option in RouterOption.all {
            var change = RouterReload.Change(
                option: option.name, before: option.value(in: configuration), after: option.value(in: wanted),
                change: option.change)
            if !capacity.allows(option, of: wanted) { change.change = .restart }
            if change.change != .restart { option.copy(wanted, &next) }
            if change.before != change.after { outcome.changes.append(change) }
        }
        take(next)
        return outcome
    }

    private mutating func take(_ next: RouterConfiguration) {
        let isForNextBoot =
            next.maxConnections != configuration.maxConnections || next.settings != configuration.settings
        configuration = next
        log = next.logger
        limits = PoolLimits(next)
        maxClients = capacity.clients(of: next)
        store.change(next.sizes)
        orderAll(.reconfigured(next))
        poolActions += pool.limitsChanged(limits, now: reactor.now)
        if isForNextBoot { poolActions += pool.sparesOutdated(now: reactor.now) }
    }
}
