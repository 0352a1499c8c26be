import Glibc
import TenantRouter

/// The service manager that started this program, told how it is getting on: ready, alive, reloading, stopping.
/// Sources: sd_notify(3), sd_watchdog_enabled(3).
///
/// Written out, because all there is to it is one datagram a message.
struct ServiceManager: Sendable {
    private let socket: CInt
    /// The address as the kernel wants it: a path, or a name in the abstract name space after a zero byte.
    private let name: [UInt8]
    /// How long it waits for a sign of life before it takes the program for dead; nil if it does not.
    private let patience: Duration?

    /// Between two lines about what the router is doing.
    private static let reportInterval: Duration = .seconds(10)

    /// Nil where nobody wants to be told. The variables are removed from the environment: no child process is to speak
    /// for this one.
    static func fromEnvironment() -> ServiceManager? {
        let (microseconds, process) = (Environment.take("WATCHDOG_USEC"), Environment.take("WATCHDOG_PID"))
        guard let address = Environment.take("NOTIFY_SOCKET") else { return nil }
        let isWatched = process == nil || process == "\(getpid())"
        let patience = isWatched ? microseconds.flatMap { Int($0) }.map { Duration.microseconds($0) } : nil
        guard let manager = ServiceManager(address: address, patience: patience) else {
            Console.complain("the environment variable NOTIFY_SOCKET has the value \"\(address)\", which is no socket")
            return nil
        }
        return manager
    }

    private init?(address: String, patience: Duration?) {
        var name = Array(address.utf8)
        switch name.first {
        case UInt8(ascii: "/"): break
        case UInt8(ascii: "@"): name[0] = 0
        case .some, nil: return nil
        }
        let longest = MemoryLayout.size(ofValue: sockaddr_un().sun_path)
        guard (2...longest).contains(name.count), patience.map({ $0 > .zero }) ?? true else { return nil }
        socket = Glibc.socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return nil }
        self.name = name
        self.patience = patience
    }

    /// Tells the life of a router that serves, and returns when it has stopped.
    func accompany(_ router: MultiTenantRouter) async {
        tellReady(on: router.address)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await report(on: router) }
            await router.untilStopping()
            tell("STOPPING=1")
            await router.untilStopped()
            group.cancelAll()
        }
    }

    /// Clients are served, or a reload is over.
    func tellReady(on address: String) { tell("READY=1", "STATUS=serving on \(address)") }

    /// A reload begins, at this time: a manager that has asked for one tells it from an earlier one by that.
    func tellReloading() {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        let microseconds = time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
        tell("RELOADING=1", "MONOTONIC_USEC=\(microseconds)", "STATUS=reading the configuration again")
    }

    /// Signs of life, as long as there is life: the router answers from the thread that does all the work, so if that
    /// hangs there is no answer, and no further sign.
    private func report(on router: MultiTenantRouter) async {
        let interval = patience.map { min($0 / 2, Self.reportInterval) } ?? Self.reportInterval
        while let statistics = await router.stats() {
            let status = "STATUS=\(statistics.sentence)"
            if patience == nil { tell(status) } else { tell("WATCHDOG=1", status) }
            do { try await Task.sleep(for: interval) } catch { return }
        }
    }

    /// Sends one message. That nobody reads it is nothing to stop for.
    func tell(_ lines: String...) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        // An abstract name ends where the address does, a path at its zero byte.
        let length = socklen_t(offset + name.count)
        // A line break would begin another assignment.
        let text = lines.map { String($0.map { $0.isNewline ? " " : $0 }) }.joined(separator: "\n")
        let bytes = Array(text.utf8)
        let sent = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                unsafe sendto(socket, bytes, bytes.count, 0, raw, length)
            }
        }
        if sent < 0 { Console.complain("the service manager cannot be told anything: \(Privileges.reason(errno))") }
    }
}

extension RouterStatistics {
    /// What it is doing, in one line for people.
    fileprivate var sentence: String {
        let waiting = waitingClients > 0 ? ", \(waitingClients) waiting" : ""
        return "\(state) on \(address): \(pool.totalInstances) instances, \(activeConnections) sessions\(waiting)"
    }
}
