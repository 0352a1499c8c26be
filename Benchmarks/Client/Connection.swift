import Glibc

/// A blocking TCP connection to a port of 127.0.0.1. It waits in steps of a second, so that Ctrl-C is noticed.
final class Connection {
    private let descriptor: CInt

    /// Connects, Nagle's algorithm off.
    ///
    /// - Throws: `Failure.system` when nobody listens, or no descriptor is left.
    init(port: Int) throws(Failure) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw .system("No socket: error \(errno)") }
        Self.set(SO_RCVTIMEO, of: SOL_SOCKET, to: timeval(tv_sec: 1, tv_usec: 0), on: descriptor)
        Self.set(TCP_NODELAY, of: CInt(IPPROTO_TCP), to: CInt(1), on: descriptor)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        let descriptor = descriptor
        let connected = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe connect(descriptor, generic, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        // The descriptor is closed by deinit, which runs: every property is set.
        guard connected else { throw .system("Cannot connect to port \(port): error \(errno)") }
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) throws(Failure) {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.send(
                    descriptor, buffer.baseAddress! + sent, buffer.count - sent, CInt(MSG_NOSIGNAL))
            }
            if count > 0 {
                sent += count
            } else if count < 0, errno == EINTR {
                try Interruption.check()
            } else {
                throw .system("Cannot send: error \(errno)")
            }
        }
    }

    /// Waits for bytes and puts them into `buffer`, from `offset` on.
    ///
    /// - Returns: their number; 0 at the end of the stream.
    /// - Throws: `Failure.system` when nothing came for a minute.
    func receive(into buffer: inout [UInt8], at offset: Int) throws(Failure) -> Int {
        var patience = 60
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe recv(descriptor, bytes.baseAddress! + offset, bytes.count - offset, 0)
            }
            if count >= 0 { return count }
            guard errno == EAGAIN || errno == EINTR else { throw .system("Cannot receive: error \(errno)") }
            try Interruption.check()
            patience -= 1
            guard patience > 0 else { throw .system("No answer for a minute.") }
        }
    }

    /// Whether the other side has neither closed it nor sent anything that was not received.
    var isOpenAndQuiet: Bool {
        var byte: UInt8 = 0
        return unsafe recv(descriptor, &byte, 1, CInt(MSG_DONTWAIT) | CInt(MSG_PEEK)) < 0 && errno == EAGAIN
    }

    private static func set<Value: BitwiseCopyable>(
        _ option: CInt, of level: CInt, to value: Value, on descriptor: CInt
    ) {
        var value = value
        _ = unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Value>.size))
    }
}
