import Glibc

/// Listening sockets that whoever started the program has bound for it: socket activation. Source: sd_listen_fds(3).
enum PassedSockets {
    /// The first of them is the first after the standard streams.
    private static let first = STDERR_FILENO + 1

    /// Their descriptors, to be owned by the caller; none where none were passed, or to another process.
    static func take() throws(Failure) -> [CInt] {
        let process = Environment.take("LISTEN_PID")
        let count = Environment.take("LISTEN_FDS")
        _ = Environment.take("LISTEN_FDNAMES")
        guard process == "\(getpid())", let count else { return [] }
        guard let number = CInt(count), (0...FD_SETSIZE).contains(number) else {
            throw .usage(
                "the environment variable LISTEN_FDS has the value \"\(count)\", which is no number of sockets")
        }
        return (0..<number).map { first + $0 }
    }
}
