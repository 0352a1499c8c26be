import Dispatch
import Glibc
import TenantRouter

/// The router as a release has it, and next to nothing else: what the gate of the hot path measures, because compiling
/// the whole program would take twice as long. Its arguments are some of `routerd serve`'s.
@main struct HotPath {
    static let stopSignals = [SIGINT, SIGTERM]

    static func main() {
        // Before there is a second thread, so that every one inherits it.
        blockSignals()
        let isDone = DispatchSemaphore(value: 0)
        // The main thread only waits, so nothing may want to run there.
        Task.detached {
            do { try await serve() } catch { fail("\(error)") }
            isDone.signal()
        }
        isDone.wait()
    }

    private static func serve() async throws {
        let configuration = configuration()
        try configuration.check()
        let listeners = try RouterListeners.bind(configuration)
        becomeUser("postgres")
        let router = try await MultiTenantRouter.start(configuration, listeners: listeners)
        print("serving on postgresql://\(router.address)")
        fflush(nil)
        await router.untilStopped()
    }

    private static func configuration() -> RouterConfiguration {
        // The first word is the verb.
        let words = CommandLine.arguments.dropFirst(2)
        let flags = Dictionary(uniqueKeysWithValues: zip(words, words.dropFirst()).filter { $0.0.hasPrefix("--") })
        var configuration = RouterConfiguration(
            port: flags["--port"].flatMap { UInt16($0) } ?? 0, baseDirectory: flags["--dir"] ?? "data",
            spares: flags["--spares"].flatMap { Int($0) }, io: flags["--io"] == "io_uring" ? .ioUring : .epoll)
        configuration.stopSignals = stopSignals
        return configuration
    }

    private static func blockSignals() {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in stopSignals { unsafe sigaddset(&set, signal) }
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// PostgreSQL refuses to run as root.
    private static func becomeUser(_ name: String) {
        guard geteuid() == 0 else { return }
        guard let user = unsafe getpwnam(name) else { fail("there is no user \(name)") }
        let (number, group) = unsafe (user.pointee.pw_uid, user.pointee.pw_gid)
        guard unsafe initgroups(name, group) == 0, setgid(group) == 0, setuid(number) == 0 else {
            fail("root could not become \(name)")
        }
    }

    private static func fail(_ reason: String) -> Never {
        let line = Array("\(reason)\n".utf8)
        _ = unsafe write(STDERR_FILENO, line, line.count)
        exit(1)
    }
}
