import Glibc
import Reactor
import Synchronization

/// The bound addresses of a router that is about to serve. They are made first, because a program started by root gives
/// root up between binding and serving.
public final class RouterListeners: Sendable {
    /// Where the TCP listeners are bound, for messages: `127.0.0.1:5432`.
    public let address: String
    /// The TCP port, also where the configuration left its choice to the kernel.
    public let port: UInt16
    private let socket: Mutex<String?>
    /// Where metrics and the status page are served, and what listens there.
    private let http = Mutex<(address: String?, descriptors: [CInt])>((nil, []))
    /// Owned from here on: closed with the object unless a router takes them.
    private let descriptors: Mutex<[CInt]>

    /// Binds what the configuration asks for.
    ///
    /// - Throws: ``RouterError`` with the kind `configuration` for an address that is not loopback, unless that is
    ///   allowed
    ///   explicitly, and `listener` for one that is taken or not this machine's.
    public static func bind(_ configuration: RouterConfiguration) throws(RouterError) -> RouterListeners {
        let addresses = try addresses(configuration)
        guard let head = addresses.first else {
            throw RouterError(.listener, "the host \(configuration.host) has no address")
        }
        let first = try listen(on: head)
        let port = SocketAddress.local(of: first)?.port ?? configuration.port
        let listeners = RouterListeners(address: "\(head.with(port: port))", port: port)
        listeners.own(first)
        // The other family of `localhost`, on the port that the first one got. A machine without IPv6 serves without.
        for other in addresses.dropFirst() {
            if let descriptor = try listenWherePossible(on: other.with(port: port)) { listeners.own(descriptor) }
        }
        try listeners.bindHTTP(configuration)
        return listeners
    }

    /// No address: for a router that is used from inside its program. It gets a Unix socket of its own as soon as there
    /// is a place for it.
    static func none() -> RouterListeners { RouterListeners(address: "", port: 0) }

    /// Makes the Unix socket of a router without an address, in a directory that its user alone may enter.
    func bindPrivateSocket(in premises: Premises) throws(RouterError) {
        guard address.isEmpty else { return }
        try bindSocket("\(try premises.makeSocketDirectory())/.s.PGSQL.\(Self.socketNumber)")
    }

    /// What drivers take for the port number of a Unix socket.
    static let socketNumber = 5432

    /// Makes the Unix socket that the configuration asks for, if it asks for one: as the user that serves, who has to
    /// remove it again.
    public func bindSocket(_ configuration: RouterConfiguration) throws(RouterError) {
        guard let directory = configuration.socketDirectory else { return }
        try bindSocket("\(directory)/.s.PGSQL.\(port)")
    }

    private func bindSocket(_ path: String) throws(RouterError) {
        own(try Self.listen(on: .unix(path: path)))
        socket.withLock { $0 = path }
    }

    /// Takes listening sockets that somebody else has bound, as a service manager passes them, in place of those that
    /// the configuration names. If this returns, they are closed with the listeners or by the router that takes them.
    ///
    /// - Parameters:
    ///   - numbers: descriptors of TCP or Unix sockets, at least one. The names of Unix sockets stay in the file system
    ///     at the end: they belong to whoever made them.
    ///   - configuration: who may be served on them.
    /// - Throws: ``RouterError`` with the kind `listener` for a descriptor that is no listening stream socket, and
    ///   `configuration` for an address that is not loopback, unless that is allowed explicitly.
    public static func adopt(
        _ numbers: [CInt], for configuration: RouterConfiguration
    ) throws(RouterError) -> RouterListeners {
        var addresses: [SocketAddress] = []
        for number in numbers {
            guard let address = Listener.adopt(number) else {
                throw RouterError(
                    .listener, "descriptor \(number) was passed to be listened on, and is no listening stream socket")
            }
            try checkReach(of: [address], named: "\(address)", configuration)
            addresses.append(address)
        }
        guard let head = addresses.first(where: { $0.port != nil }) ?? addresses.first else {
            throw RouterError(.listener, "no socket was passed to listen on")
        }
        let listeners = RouterListeners(address: "\(head)", port: head.port ?? head.namedPort ?? configuration.port)
        for number in numbers { listeners.own(Descriptor(owning: number)) }
        try listeners.bindHTTP(configuration)
        return listeners
    }

    /// Binds what metrics and the status page are served on, if the configuration asks for it.
    private func bindHTTP(_ configuration: RouterConfiguration) throws(RouterError) {
        guard let text = configuration.http else { return }
        guard let place = HTTPPlace(text) else { throw .notAnHTTPPlace(text) }
        let addresses: [SocketAddress]
        do throws(ResolutionError) {
            addresses = try SocketAddress.resolve(host: place.host, port: place.port)
        } catch {
            throw RouterError(.listener, "cannot listen on \(text): \(error.explanation)")
        }
        guard let head = addresses.first, addresses.allSatisfy(\.isLoopback) else {
            throw RouterError(
                .configuration,
                "--http (ROUTERD_HTTP) is \(text), and must be a loopback address: nobody is asked who he is")
        }
        let first = try Self.listen(on: head, advice: "; stop that, or choose another port for --http")
        let port = SocketAddress.local(of: first)?.port ?? place.port
        var numbers = [first.release()]
        for other in addresses.dropFirst() {
            if let descriptor = try Self.listenWherePossible(on: other.with(port: port)) {
                numbers.append(descriptor.release())
            }
        }
        http.withLock { $0 = ("\(head.with(port: port))", numbers) }
    }

    /// Where metrics and the status page are served: `127.0.0.1:9187`.
    var httpAddress: String? { http.withLock(\.address) }

    /// Gives the descriptors that listen there away.
    func takeHTTP() -> [CInt] {
        http.withLock { http in
            defer { http.descriptors = [] }
            return http.descriptors
        }
    }

    private init(address: String, port: UInt16) {
        self.address = address
        self.port = port
        descriptors = Mutex([])
        socket = Mutex(nil)
    }

    /// Where the Unix socket is, if there is one.
    var unixPath: String? { socket.withLock(\.self) }

    deinit {
        let unclaimed = takeAll()
        for number in unclaimed + takeHTTP() { _ = Descriptor(owning: number) }
        if !unclaimed.isEmpty, let unixPath { unsafe unlink(unixPath) }
    }

    private func own(_ descriptor: consuming Descriptor) {
        let number = descriptor.release()
        descriptors.withLock { $0.append(number) }
    }

    /// Gives the listening descriptors away, to be owned one by one.
    func takeAll() -> [CInt] {
        descriptors.withLock { numbers in
            defer { numbers = [] }
            return numbers
        }
    }

    private static func addresses(_ configuration: RouterConfiguration) throws(RouterError) -> [SocketAddress] {
        let found: [SocketAddress]
        do throws(ResolutionError) {
            found = try SocketAddress.resolve(host: configuration.host, port: configuration.port)
        } catch {
            throw RouterError(.listener, "cannot listen on \(configuration.host): \(error.explanation)")
        }
        try checkReach(of: found, named: configuration.host, configuration)
        return found
    }

    private static func checkReach(
        of addresses: [SocketAddress], named name: String, _ configuration: RouterConfiguration
    ) throws(RouterError) {
        guard configuration.allowRemoteWithoutAuthentication || addresses.allSatisfy(\.isLoopback) else {
            throw RouterError(
                .configuration,
                "\(name) is not a loopback address, and nobody is asked for a password: whoever reaches it "
                    + "would own every database; listen on 127.0.0.1, or insist with --allow-remote-without-authentication"
            )
        }
    }

    private static func listenWherePossible(on address: SocketAddress) throws(RouterError) -> Descriptor? {
        do throws(ListenError) {
            return try Listener.stream(on: address)
        } catch {
            if case .addressNotAvailable = error { return nil }
            throw RouterError(.listener, "cannot listen: \(error)\(error.advice)")
        }
    }

    private static func listen(
        on address: SocketAddress, advice: String? = nil
    ) throws(RouterError) -> Descriptor {
        do throws(ListenError) {
            return try Listener.stream(on: address)
        } catch {
            throw RouterError(.listener, "cannot listen: \(error)\(advice ?? error.advice)")
        }
    }
}

extension SocketAddress {
    fileprivate func with(port: UInt16) -> SocketAddress {
        switch self {
        case .ipv4(let address, port: _): .ipv4(address: address, port: port)
        case .ipv6(let high, let low, let scope, port: _): .ipv6(high: high, low: low, scope: scope, port: port)
        case .unix: self
        }
    }

    /// The port that a Unix socket's name tells clients of PostgreSQL: `.s.PGSQL.5432`.
    fileprivate var namedPort: UInt16? {
        guard case .unix(let path) = self, let dot = path.lastIndex(of: ".") else { return nil }
        return UInt16(path[path.index(after: dot)...])
    }
}

extension ResolutionError {
    fileprivate var explanation: String {
        switch self {
        case .unknownHost(_, let reason): reason
        }
    }
}

extension ListenError {
    /// What to do about it, where there is something.
    fileprivate var advice: String {
        switch self {
        case .addressInUse: "; stop that, or choose another --port"
        case .permissionDenied: "; ports below 1024 need root, and a socket a directory that can be written"
        case .addressNotAvailable, .unusablePath, .pathTaken, .system: ""
        }
    }
}
