import Glibc
import Reactor
import Synchronization
import Testing

/// The engines that this machine and this build can run: every story is told on each.
enum Engines {
    static let available: [EngineKind] = EngineKind.allCases.filter { $0 != .auto && refusal(of: $0) == nil }

    /// Why an engine cannot run here.
    static func refusal(of kind: EngineKind) -> ReactorError? {
        do throws(ReactorError) {
            _ = try Reactor(engine: kind)
            return nil
        } catch {
            return error
        }
    }
}

/// Every suite of this module: one after the other, because descriptors and memory of the whole process are counted.
@Suite(.serialized) struct ReactorTests {}

/// What a completion was, in a form that a test can keep.
enum Seen: Equatable {
    case accepted(CInt)
    case connected
    case received([UInt8])
    case endOfStream
    case sent
    case failed(CInt)
    case disarmed
    case closed
    case exited(ProcessEnd)
    case expired
    case woken
    case signalled(CInt)

    init(_ event: consuming Event) {
        switch consume event {
        case .accepted(let descriptor): self = .accepted(descriptor.release())
        case .connected: self = .connected
        case .received(let buffer): self = .received(buffer.array)
        case .endOfStream: self = .endOfStream
        case .sent: self = .sent
        case .failed(let errno): self = .failed(errno.code)
        case .disarmed: self = .disarmed
        case .closed: self = .closed
        case .exited(let status): self = .exited(status)
        case .expired: self = .expired
        case .woken: self = .woken
        case .signalled(let number): self = .signalled(number)
        }
    }
}

/// A reactor and the diary of what it told.
final class Rig {
    struct Entry: Equatable {
        let owner: UInt64
        let token: Token
        let seen: Seen
    }

    var reactor: Reactor
    private(set) var diary: [Entry] = []
    private static let alarm = UInt64.max

    init(_ engine: EngineKind, limits: ReactorLimits = ReactorLimits()) throws {
        reactor = try Reactor(engine: engine, limits: limits)
    }

    /// Ticks until the condition holds. A test that would wait for ever fails after ten seconds.
    func run(
        _ what: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation, until condition: (Rig) -> Bool
    ) throws {
        let alarm = reactor.deadline(at: reactor.now + .seconds(10), owner: Self.alarm)
        defer { reactor.cancel(deadline: alarm) }
        while !condition(self) {
            reactor.wait()
            while let completion = reactor.next() {
                let owner = completion.owner
                let token = completion.token
                if owner == Self.alarm {
                    Issue.record(what ?? "still waiting; the diary: \(diary)", sourceLocation: sourceLocation)
                    throw Stuck()
                }
                diary.append(Entry(owner: owner, token: token, seen: Seen(completion.takeEvent())))
            }
        }
    }

    /// Ticks for a while.
    func run(for time: Duration) throws {
        var isOver = false
        let end = reactor.deadline(at: reactor.now + time, owner: Self.alarm - 1)
        try run { rig in
            isOver = isOver || rig.diary.contains { $0.token == end }
            return isOver
        }
        diary.removeAll { $0.token == end }
    }

    /// What one owner was told, in order.
    func seen(by owner: UInt64) -> [Seen] {
        diary.filter { $0.owner == owner }.map(\.seen)
    }

    /// The bytes one owner received, in order.
    func bytes(of owner: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        for case .received(let piece) in seen(by: owner) { bytes += piece }
        return bytes
    }

    func forget() {
        diary = []
    }

    /// Whether bytes that fit into one buffer have left with the call.
    func pass(_ bytes: [UInt8], to token: Token) -> Bool {
        var buffer = reactor.buffer()
        buffer.append(bytes)
        return reactor.pass(buffer, to: token)
    }

    /// Takes over one end of a pair.
    func adopt(_ number: CInt, owner: UInt64) throws -> Token {
        try reactor.adopt(Descriptor(owning: number), owner: owner)
    }
}

struct Stuck: Error {}

extension Buffer {
    /// A copy of the readable bytes.
    var array: [UInt8] {
        withBytes { bytes in
            var copy: [UInt8] = []
            copy.reserveCapacity(bytes.byteCount)
            unsafe bytes.withUnsafeBytes { unsafe copy.append(contentsOf: $0) }
            return copy
        }
    }
}

extension Reactor {
    /// The owner of the next completion.
    mutating func nextOwner() -> UInt64? {
        guard let completion = next() else { return nil }
        return completion.owner
    }
}

/// Blocking ends for the side of a peer that the reactor does not run.
enum Peer {
    /// The two ends of a Unix stream or datagram pair.
    static func pair(_ type: __socket_type = SOCK_STREAM) throws -> (CInt, CInt) {
        var ends: [CInt] = [0, 0]
        let result = unsafe socketpair(AF_UNIX, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0, &ends)
        try #require(result == 0)
        return (ends[0], ends[1])
    }

    /// The two ends of a TCP connection over loopback.
    static func tcpPair() throws -> (CInt, CInt) {
        let listener = try Listener.stream(on: .ipv4(address: 0x7F00_0001, port: 0))
        let port = try Peer.port(of: listener)
        let client = try connect(port: port)
        var poll = pollfd(fd: listener.number, events: Int16(POLLIN), revents: 0)
        _ = unsafe Glibc.poll(&poll, 1, 5000)
        let server = accept(listener.number, nil, nil)
        try #require(server >= 0)
        return (client, server)
    }

    static func address(of listener: borrowing Descriptor) throws -> SocketAddress {
        guard let address = SocketAddress.local(of: listener) else { throw Errno(code: errno) }
        return address
    }

    static func port(of listener: borrowing Descriptor) throws -> UInt16 {
        guard let port = try address(of: listener).port else { throw Errno(code: EAFNOSUPPORT) }
        return port
    }

    /// A blocking client of a TCP port.
    static func connect(port: UInt16) throws -> CInt {
        let client = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = unsafe withUnsafePointer(to: &address) { address in
            unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe Glibc.connect(client, address, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        return client
    }

    static func send(_ bytes: [UInt8], to end: CInt) {
        var offset = 0
        while offset < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { bytes in
                unsafe Glibc.send(end, bytes.baseAddress! + offset, bytes.count - offset, CInt(MSG_NOSIGNAL))
            }
            if count <= 0 { return }
            offset += count
        }
    }

    /// Up to that many bytes; fewer at the end of the stream.
    static func receive(_ count: Int, from end: CInt) -> [UInt8] {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65536)
        while bytes.count < count {
            let received = unsafe recv(end, &piece, min(piece.count, count - bytes.count), 0)
            if received <= 0 { break }
            bytes += piece[0..<received]
        }
        return bytes
    }

    /// Closes with a reset instead of an orderly end.
    static func reset(_ end: CInt) {
        var option = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe setsockopt(end, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        close(end)
    }

    /// Shrinks what the kernel holds between the two ends of a Unix pair. A TCP connection over loopback would crawl
    /// from one window probe to the next: its window falls below one segment of 64 KB.
    static func shrink(_ end: CInt, to bytes: CInt = 4096) {
        var bytes = bytes
        _ = unsafe setsockopt(end, SOL_SOCKET, SO_SNDBUF, &bytes, socklen_t(MemoryLayout<CInt>.size))
        _ = unsafe setsockopt(end, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<CInt>.size))
    }
}

/// A directory of its own for sockets, gone afterwards.
struct TemporaryDirectory: ~Copyable {
    let path: String

    init() throws {
        var template = Array("/tmp/reactor-XXXXXX".utf8CString)
        guard let made = unsafe mkdtemp(&template) else { throw Errno(code: errno) }
        path = unsafe String(cString: made)
    }

    deinit {
        if let directory = unsafe opendir(path) {
            while let entry = unsafe readdir(directory) {
                let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != "." && name != ".." { unsafe unlink("\(path)/\(name)") }
            }
            unsafe closedir(directory)
        }
        unsafe rmdir(path)
    }
}

/// The seeds of a property test: always the same few; as many as `REACTOR_SEEDS` says for a long run; the one that
/// `REACTOR_SEED` says to see a failure again.
enum Seeds {
    static func some(_ count: Int) -> [UInt64] {
        if let one = number("REACTOR_SEED") { return [UInt64(one)] }
        return (1...UInt64(number("REACTOR_SEEDS") ?? count)).map { $0 }
    }

    private static func number(_ name: String) -> Int? {
        guard let text = unsafe getenv(name) else { return nil }
        return unsafe Int(String(cString: text))
    }
}

/// SplitMix64, so that a failing run can be repeated from the seed it printed.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

extension Array where Element == UInt8 {
    /// Bytes that differ along their way, so that a lost or swapped piece shows.
    static func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
        var generator = SeededGenerator(state: seed)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            var word = generator.next()
            for _ in 0..<8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }
}

/// Work of a blocking peer on a thread of its own.
final class Background<Value: Sendable>: Sendable {
    private let value: Mutex<Value?>
    private let thread: Mutex<Thread?>

    init(_ body: @escaping @Sendable () -> Value) throws {
        value = Mutex(nil)
        thread = Mutex(nil)
        try thread.withLock { (slot: inout Thread?) throws(ReactorError) in
            slot = try Thread.start(name: "peer") { [self] in
                let made = body()
                value.withLock { $0 = made }
            }
        }
    }

    /// What the work came to.
    func join() throws -> Value {
        if let thread = thread.withLock({ $0.take() }) { thread.join() }
        return try #require(value.withLock { $0 })
    }
}
