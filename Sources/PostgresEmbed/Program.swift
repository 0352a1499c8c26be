import CConfine
import Glibc
import Reactor

/// A program to start: what it is given, and nothing else reaches it.
struct Program {
    /// Absolute path; not searched for.
    var path: String
    /// Without the name of the program itself.
    var arguments: [String]
    /// `NAME=value`; the whole environment.
    var environment: [String] = ["PATH=/usr/bin:/bin"]
    /// Absolute path of the working directory.
    var directory: String = "/"
    /// Sent when the thread that spawned it ends.
    var parentDeathSignal: CInt = SIGKILL
    /// How much sooner than this process it is ended when memory runs out (0 … 1000).
    var outOfMemoryScore: CInt = 0
    /// The system calls that are left to it.
    var calls = CONFINE_CALLS_ALL
}

/// A child of this process, owned by process descriptor.
struct Child: ~Copyable {
    let processID: Int32
    let pidfd: Descriptor

    consuming func takePidfd() -> Descriptor { pidfd }

    /// Waits for the end and reaps. The exit status, or 128 + the number of the signal.
    func wait() -> CInt {
        var ending = unsafe siginfo_t()
        let number = pidfd.number
        let result = retrying { unsafe waitid(P_PIDFD, id_t(number), &ending, WEXITED) }
        guard result == 0 else { return 127 }
        let status = unsafe ending._sifields._sigchld.si_status
        return unsafe ending.si_code == CInt(CLD_EXITED) ? status : 128 + status
    }
}

extension Program {
    /// Starts it with `input` as descriptor 0 and `output` as 1 and 2, under `ruleset` where one is given.
    func spawn(
        input: borrowing Descriptor, output: borrowing Descriptor, ruleset: borrowing Descriptor? = nil
    ) throws(EmbedError) -> Child {
        var child = confine_child()
        var failure = confine_failure()
        let arguments = CStrings([path] + arguments)
        let environment = CStrings(environment)
        let directory = CStrings([directory])
        var spec = unsafe confine_spec()
        unsafe spec.path = UnsafePointer(arguments.first)
        unsafe spec.argv = UnsafePointer(arguments.pointer)
        unsafe spec.envp = UnsafePointer(environment.pointer)
        unsafe spec.directory = UnsafePointer(directory.first)
        unsafe spec.stdio = (input.number, output.number, output.number)
        unsafe spec.umask = 0o077
        unsafe spec.parent_death_signal = parentDeathSignal
        unsafe spec.oom_score_adj = outOfMemoryScore
        unsafe spec.calls = calls
        switch ruleset {
        case .some(let ruleset): unsafe spec.ruleset = ruleset.number
        case nil: unsafe spec.ruleset = -1
        }
        guard unsafe confine_spawn(&spec, &child, &failure) == 0 else {
            throw .spawnFailed(program: path, stage: Self.name(of: failure.stage), Errno(code: failure.error))
        }
        return Child(processID: child.pid, pidfd: Descriptor(owning: child.pidfd))
    }

    /// Runs it to its end and returns what it wrote (the last 64 KB at most) with its exit status.
    func run() throws(EmbedError) -> (status: CInt, output: String) {
        var ends: [CInt] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw .fileSystem(operation: "create", path: "pipe", .last) }
        let reading = Descriptor(owning: ends[0])
        let writing = Descriptor(owning: ends[1])
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let null = try FileSystem.open("/dev/null", O_RDWR)
        let child = try spawn(input: null, output: writing)
        _ = consume writing
        var output: [UInt8] = []
        while true {
            let more = try FileSystem.read(reading, path: path, limit: 4096)
            if more.isEmpty { break }
            output = (output + more).suffix(64 * 1024)
        }
        return (child.wait(), String(decoding: output, as: UTF8.self))
    }

    private static func name(of stage: confine_stage) -> String {
        switch stage {
        case CONFINE_STAGE_CLONE: "clone"
        case CONFINE_STAGE_SESSION: "session"
        case CONFINE_STAGE_SIGNALS: "signals"
        case CONFINE_STAGE_DESCRIPTORS: "descriptors"
        case CONFINE_STAGE_DIRECTORY: "working directory"
        case CONFINE_STAGE_LIMITS: "limits"
        case CONFINE_STAGE_CREDENTIALS: "credentials"
        case CONFINE_STAGE_PARENT_DEATH: "parent-death signal"
        case CONFINE_STAGE_LANDLOCK: "Landlock"
        case CONFINE_STAGE_CALLS: "seccomp"
        default: "exec"
        }
    }
}

/// An array of C strings with a null behind it, as execve takes it. Owns its memory.
@safe struct CStrings: ~Copyable {
    let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        unsafe pointer = .allocate(capacity: strings.count + 1)
        for (index, string) in strings.enumerated() { unsafe (pointer + index).initialize(to: strdup(string)) }
        unsafe (pointer + strings.count).initialize(to: nil)
        count = strings.count
    }

    var first: UnsafeMutablePointer<CChar>? { unsafe pointer[0] }

    deinit {
        for index in 0..<count { unsafe free(pointer[index]) }
        unsafe pointer.deallocate()
    }
}
