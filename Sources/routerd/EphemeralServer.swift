import Dispatch
import Glibc
import TenantRouter

/// A server in a child process, which lives no longer than this one.
///
///     this process ──── readiness: its address ────  child
///                  ──── lifeline: nothing, ever ───→ ends in a hurry when this side is closed, however that came
///
/// The child has a session of its own, so that what is typed on the terminal does not reach it, and becomes another user
/// where that is necessary, while this process stays who it was.
struct EphemeralServer {
    private let process: pid_t
    private let readiness: CInt
    private let lifeline: CInt

    /// How long the end may take before it is enforced: killing busy postmasters takes seconds, not half a minute.
    private static let patience = 30

    /// Forks, so no thread may have been started yet.
    static func start(_ told: ToldOptions) throws -> EphemeralServer {
        let (hears, tells) = try pipeEnds()
        let (feels, holds) = try pipeEnds()
        let mask = Signals.blockForwarded()
        let process = fork()
        guard process >= 0 else { throw Failure.failed("cannot start a process: \(Privileges.reason(errno))") }
        guard process == 0 else {
            close(tells)
            close(feels)
            return EphemeralServer(process: process, readiness: hears, lifeline: holds)
        }
        close(hears)
        close(holds)
        Signals.restore(mask)
        try serve(told, tells: tells, feels: feels)
    }

    // MARK: In the child

    private static func serve(_ told: ToldOptions, tells: CInt, feels: CInt) throws -> Never {
        setsid()
        for number in [SIGINT, SIGTERM] { _ = signal(number, SIG_DFL) }
        let null = unsafe open("/dev/null", O_RDWR)
        // The command's, not the server's.
        for stream in [STDIN_FILENO, STDOUT_FILENO] { dup2(null, stream) }
        try Server(told, stopSignals: [SIGTERM, SIGINT]).run { router in
            var line = Array("\(router.address)\n".utf8)
            unsafe _ = line.withUnsafeMutableBytes { unsafe write(tells, $0.baseAddress, $0.count) }
            close(tells)
            DispatchQueue(label: "routerd.lifeline").async {
                var byte: UInt8 = 0
                while unsafe read(feels, &byte, 1) < 0, errno == EINTR {}
                hurry(getpid())
            }
        }
        exit(0)
    }

    /// Two signals: the second hurries. Two different ones, because equal ones become one.
    private static func hurry(_ process: pid_t) {
        kill(process, SIGTERM)
        kill(process, SIGINT)
    }

    // MARK: In this process

    /// Waits for the address; the end of the program where there will be none, or somebody wants to stop already.
    func waitUntilReady() throws -> EphemeralAddress {
        var line: [UInt8] = []
        while line.last != UInt8(ascii: "\n") {
            if let signal = Signals.pending() {
                stop()
                exit(128 + signal)
            }
            var poll = pollfd(fd: readiness, events: Int16(POLLIN), revents: 0)
            // Signals are looked for in between.
            guard unsafe Glibc.poll(&poll, 1, 50) > 0 else { continue }
            var byte: UInt8 = 0
            guard unsafe read(readiness, &byte, 1) == 1 else { exit(Signals.status(ofEnded: process)) }
            line.append(byte)
        }
        guard let address = EphemeralAddress(String(decoding: line.dropLast(), as: UTF8.self)) else {
            preconditionFailure("the server says that it listens on nothing")
        }
        return address
    }

    /// Nobody needs it any more, whoever is still connected. Returns when it is gone with all that it had.
    func stop() {
        Self.hurry(process)
        close(lifeline)
        for _ in 0..<(Self.patience * 10) {
            var status: CInt = 0
            guard unsafe waitpid(process, &status, WNOHANG) == 0 else { return }
            Signals.waitForChild(milliseconds: 100)
        }
        Console.complain("the server did not end within \(Self.patience) s; killed it")
        kill(process, SIGKILL)
        _ = Signals.status(ofEnded: process)
    }

    private static func pipeEnds() throws(Failure) -> (reading: CInt, writing: CInt) {
        var ends: [CInt] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw .failed("cannot make a pipe: \(Privileges.reason(errno))") }
        // Not for the command: while it held the lifeline, the server would live.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }
}
