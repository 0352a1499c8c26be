import Reactor

/// The bound addresses of a router that is about to serve. They are made first, because a program started by root gives
/// root up between binding and serving.
public struct RouterListeners: ~Copyable, Sendable {
    /// Where the TCP listeners are bound, for messages: `127.0.0.1:5432`.
    public let address: String
    /// The TCP port, also where the configuration left its choice to the kernel.
    public let port: UInt16
    private var first: Descriptor?
    private var second: Descriptor?
    private var unix: Descriptor?
    let unixPath: String?

    /// Binds what the configuration asks for.
    ///
    /// - Throws: ``RouterError`` with the kind `configuration` for an address that is not loopback, unless that is allowed
    ///   explicitly, and `listener` for one that is taken or not this machine's.
    public static func bind(_ configuration: RouterConfiguration) throws(RouterError) -> RouterListeners {
        let addresses = try addresses(configuration)
        guard let head = addresses.first else {
            throw RouterError(.listener, "the host \(configuration.host) has no address")
        }
        let first = try listen(on: head)
        let port = SocketAddress.local(of: first)?.port ?? configuration.port
        // The other family of `localhost`, on the port that the first one got. A machine without IPv6 serves without.
        var second: Descriptor?
        if addresses.count > 1 { second = try? listen(on: addresses[1].with(port: port)) }
        var unix: Descriptor?
        let unixPath = configuration.socketDirectory.map { "\($0)/.s.PGSQL.\(port)" }
        if let unixPath { unix = try listen(on: .unix(path: unixPath)) }
        return RouterListeners(
            address: "\(head.with(port: port))", port: port, first: first, second: second, unix: unix,
            unixPath: unixPath)
    }

    private init(
        address: String, port: UInt16, first: consuming Descriptor?, second: consuming Descriptor?,
        unix: consuming Descriptor?, unixPath: String?
    ) {
        self.address = address
        self.port = port
        self.first = first
        self.second = second
        self.unix = unix
        self.unixPath = unixPath
    }

    /// Gives the listening descriptors away, to be owned one by one.
    consuming func takeAll() -> [CInt] {
        [first.take()?.release(), second.take()?.release(), unix.take()?.release()].compactMap(\.self)
    }

    private static func addresses(_ configuration: RouterConfiguration) throws(RouterError) -> [SocketAddress] {
        let found: [SocketAddress]
        do throws(ResolutionError) {
            found = try SocketAddress.resolve(host: configuration.host, port: configuration.port)
        } catch {
            throw RouterError(.listener, "cannot listen on \(configuration.host): \(error)")
        }
        guard configuration.allowRemoteWithoutAuthentication || found.allSatisfy(\.isLoopback) else {
            throw RouterError(
                .configuration,
                "\(configuration.host) is not a loopback address, and nobody is asked for a password: whoever reaches it "
                    + "would own every database; listen on 127.0.0.1, or insist with --allow-remote-without-authentication"
            )
        }
        return found
    }

    private static func listen(on address: SocketAddress) throws(RouterError) -> Descriptor {
        do throws(ListenError) {
            return try Listener.stream(on: address)
        } catch {
            throw RouterError(.listener, "cannot listen on \(address): \(error.explanation)")
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
}

extension ListenError {
    /// What happened and what to do about it.
    fileprivate var explanation: String {
        switch self {
        case .addressInUse: "the address is in use by another program; stop it, or choose another --port"
        case .permissionDenied:
            "not permitted; ports below 1024 need root, and a socket needs a directory that can be written"
        case .addressNotAvailable: "this machine does not have that address"
        case .unusablePath: "the path is longer than 107 bytes, or its directory does not exist"
        case .pathTaken: "something that is not a socket is in the way"
        case .system(_, let call, let errno): "\(call): \(errno)"
        }
    }
}
