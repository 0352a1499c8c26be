import Dispatch
import Glibc
import Logging
import Synchronization
import TenantRouter

/// What SIGHUP and the console's RELOAD do where there is a configuration file: the file is read again, under the flags
/// and variables that the program was started with, and what can change at run time does.
///
/// Without a file the signal means that a terminal was closed, unless a service manager has started the program: there
/// is no terminal then, and nothing to read either, which is said.
final class Reload: Sendable {
    static let signal = SIGHUP

    private let options: ServeOptions
    /// Who waits for the end of it.
    private let manager: ServiceManager?
    /// What the running router was told last.
    private let told: Mutex<ToldOptions>
    /// The reload that was begun last; the next one waits for it.
    private let last = Mutex<Task<String?, Never>?>(nil)

    /// Nil where the signal has its other meaning.
    init?(options: ServeOptions, told: ToldOptions, manager: ServiceManager?) {
        guard told.file != nil || manager != nil else { return nil }
        self.options = options
        self.manager = manager
        self.told = Mutex(told)
    }

    /// From now on, on a thread that does nothing else. The signal is blocked in all threads.
    func onHangup(of router: MultiTenantRouter) {
        DispatchQueue(label: "routerd.reload").async {
            var set = sigset_t()
            unsafe sigemptyset(&set)
            unsafe sigaddset(&set, Self.signal)
            while true {
                var number: CInt = 0
                guard unsafe sigwait(&set, &number) == 0 else { continue }
                _ = self.begin(router)
            }
        }
    }

    /// From now on.
    func onRequest(of router: MultiTenantRouter) {
        router.onReload { await self.begin(router).value }
    }

    /// One after the other. Its value says why nothing could be taken over, if so.
    private func begin(_ router: MultiTenantRouter) -> Task<String?, Never> {
        last.withLock { last in
            let before = last
            let task = Task {
                _ = await before?.value
                self.manager?.tellReloading()
                let failure = await self.reload(router)
                self.manager?.tellReady(on: router.address)
                return failure
            }
            last = task
            return task
        }
    }

    private func reload(_ router: MultiTenantRouter) async -> String? {
        let before = told.withLock(\.self)
        let log = before.router.logger
        guard before.file != nil else {
            log.info("nothing to read again: there is no configuration file (--config)")
            return nil
        }
        do {
            let after = try options.told()
            guard let outcome = try await router.reload(after.router) else { return nil }
            told.withLock { $0 = after }
            report(outcome.changes + Self.ownChanges(from: before, to: after), after)
            return nil
        } catch {
            log.error("the configuration stays as it is: \(error)")
            return "\(error)"
        }
    }

    private func report(_ changes: [RouterReload.Change], _ told: ToldOptions) {
        let log = told.router.logger
        if changes.isEmpty { log.info("configuration read again: nothing has changed", metadata: Self.place(told)) }
        for change in changes {
            let values = "\(change.option): \(change.before) → \(change.after)"
            switch change.change {
            case .atOnce: log.info("\(values)", metadata: Self.place(told))
            case .nextBoot: log.info("\(values), for instances that start from now on", metadata: Self.place(told))
            case .restart: log.warning("\(values) needs a restart of routerd", metadata: Self.place(told))
            }
        }
    }

    private static func place(_ told: ToldOptions) -> Logger.Metadata { told.file.map { ["file": "\($0)"] } ?? [:] }

    /// Of the options that are the program's and no router's.
    private static func ownChanges(from before: ToldOptions, to after: ToldOptions) -> [RouterReload.Change] {
        [RouterOption.runAs, .logFormat].compactMap { row in
            let values = (before.value(of: row), after.value(of: row))
            guard values.0 != values.1 else { return nil }
            return RouterReload.Change(option: row.name, before: values.0, after: values.1, change: .restart)
        }
    }
}
