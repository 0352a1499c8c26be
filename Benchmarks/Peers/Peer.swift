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
        /// The same with two workers.
        case workers
        /// The same on epoll, which `--io auto` takes only where the kernel refuses io_uring.
        case epoll
        /// The same in front of an instance that is not confined, like the PostgreSQL of the other peers.
        case unconfined

        /// All that is measured unless somebody asks for something else.
        static let usual: [Kind] = [.direct, .forwarder, .pgbouncer, .routerd]

        /// As its makers write it.
        var title: String {
            switch self {
            case .direct: "direct"
            case .forwarder: "forwarder"
            case .pgbouncer: "PgBouncer"
            case .routerd: "routerd"
            case .workers: "routerd, 2 workers"
            case .epoll: "routerd, epoll"
            case .unconfined: "routerd, unconfined"
            }
        }

        /// How a routerd is started to be this peer; nil for the others.
        var routerOptions: RouterServer.Options? {
            switch self {
            case .direct, .forwarder, .pgbouncer: nil
            case .routerd: .init()
            case .workers: .init(workers: 2)
            case .epoll: .init(engine: "epoll")
            case .unconfined: .init(isConfined: false)
            }
        }

        /// Whether it is compared with a routerd of default options.
        var isVariant: Bool { routerOptions != nil && self != .routerd }

        static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
    }
}
