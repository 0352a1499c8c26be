import ArgumentParser
import Glibc

/// One way from pgbench to PostgreSQL: always over TCP to `port`, and behind a proxy over a Unix socket.
struct Peer {
    let kind: Kind
    let port: Int
    /// The process in between, whose CPU time is counted; none where pgbench talks to PostgreSQL itself.
    let proxy: pid_t?

    enum Kind: String, CaseIterable, Codable, ExpressibleByArgument {
        /// PostgreSQL without anything in between.
        case direct
        /// The least a proxy can do: bytes copied by an epoll loop in C.
        case forwarder
        /// PgBouncer, session mode.
        case pgbouncer
        /// The program this is all about.
        case routerd

        /// As its makers write it.
        var title: String {
            switch self {
            case .direct: "direct"
            case .forwarder: "forwarder"
            case .pgbouncer: "PgBouncer"
            case .routerd: "routerd"
            }
        }

        static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
    }
}
