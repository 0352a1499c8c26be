import Glibc
import Reactor
import WireProtocol

/// A blocking connection to a router's control socket, which speaks PostgreSQL's protocol.
struct ControlConnection: ~Copyable {
    enum Failure: Error {
        case system(Errno)
        case refused(ErrorMessage)
        /// It closed the connection: it has stopped.
        case ended
        case unreadable

        /// - Parameter gone: what it means that the router closed the connection, which it does when it stops.
        func controlError(ifGone gone: ControlError) -> ControlError {
            switch self {
            case .system(let errno) where [EPIPE, ECONNRESET].contains(errno.code): gone
            case .system(let errno): .failed("the connection to the router broke: \(errno)")
            case .refused(let error): .failed([error.message, error.hint].compactMap(\.self).joined(separator: "; "))
            case .ended: gone
            case .unreadable: .failed("the router's answer makes no sense: is it of another version?")
            }
        }
    }

    /// The longest message of the router's, in bytes: one row.
    private static let messageLimit = 1 << 20

    private let socket: Descriptor
    private var frames = FrameAssembler(.backend, limit: Self.messageLimit)

    init(_ socket: consuming Descriptor) { self.socket = socket }

    static func open(_ path: String) throws(Errno) -> Descriptor {
        let number = Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { throw Errno(code: errno) }
        let socket = Descriptor(owning: number)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8.prefix(107)) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe connect(number, $0, size) }
        }
        guard result == 0 else { throw Errno(code: errno) }
        return socket
    }

    /// Up to the first ReadyForQuery.
    mutating func start(token: String) throws(Failure) {
        try send(Frontend.startupMessage(user: Self.user, database: "routerd"))
        while true {
            let frame = try receive()
            switch frame.tag {
            case Backend.Tag.authentication:
                guard let request = Backend.AuthenticationRequest(parsing: frame.body) else { throw .unreadable }
                if request != .ok { try send(Frontend.password(token)) }
            case Backend.Tag.errorResponse: throw .refused(Self.error(frame))
            case Backend.Tag.readyForQuery: return
            default: break
            }
        }
    }

    /// Who the log of the router shall name.
    private static var user: String {
        guard let entry = unsafe getpwuid(geteuid()) else { return "\(geteuid())" }
        return unsafe String(cString: entry.pointee.pw_name)
    }

    /// One command, and its rows.
    mutating func query(_ text: String) throws(Failure) -> [ControlRow] {
        try send(Frontend.query(text))
        var (columns, rows, failure): ([String], [ControlRow], ErrorMessage?) = ([], [], nil)
        while true {
            let frame = try receive()
            switch frame.tag {
            case Backend.Tag.rowDescription:
                guard let names = Backend.columnNames(parsing: frame.body) else { throw .unreadable }
                columns = names
            case Backend.Tag.dataRow:
                guard let values = Backend.values(parsing: frame.body), values.count == columns.count else {
                    throw .unreadable
                }
                rows.append(
                    ControlRow(
                        zip(columns, values).compactMap { name, value in value.map { (name, $0) } },
                        uniquingKeysWith: { first, _ in first }))
            case Backend.Tag.errorResponse: failure = Self.error(frame)
            case Backend.Tag.readyForQuery:
                if let failure { throw .refused(failure) }
                return rows
            default: break
            }
        }
    }

    /// Reads until the router closes.
    mutating func waitForEnd() {
        while (try? receive()) != nil {}
    }

    private static func error(_ frame: Frame) -> ErrorMessage {
        ErrorMessage(parsing: frame.body) ?? .unreadable
    }

    private func send(_ bytes: [UInt8]) throws(Failure) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = unsafe rest.withUnsafeBytes {
                unsafe Glibc.send(socket.number, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard sent > 0 || errno == EINTR else { throw .system(Errno(code: errno)) }
            rest = rest.dropFirst(max(sent, 0))
        }
    }

    private mutating func receive() throws(Failure) -> Frame {
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            switch frames.next() {
            case .frame(let frame): return frame
            case .violation: throw .unreadable
            case .needsMore: break
            }
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(socket.number, $0.baseAddress, $0.count) }
            if count > 0 {
                frames.append(Array(chunk[..<count]))
            } else if count == 0 {
                throw .ended
            } else if errno != EINTR {
                throw .system(Errno(code: errno))
            }
        }
    }
}
