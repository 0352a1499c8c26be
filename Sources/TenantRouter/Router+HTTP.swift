import Dispatch
import Logging
import Reactor

// The server of metrics and of the status page, on the reactor like everything else: bounded in connections, bytes and
// time. What takes longer than a glance is done on a thread of its own, so that clients of PostgreSQL never wait for it.

/// What the server has open.
struct HTTPServer: ~Copyable {
    var listeners: [Token] = []
    var connections = Slab<HTTPConnection>(capacity: Limits.httpConnections + Limits.httpPlacesKeptFree)
    var metrics = MetricsCache()
    /// Formats.
    let queue = DispatchQueue(label: "routerd.http")

    /// Whether anybody may ask anything.
    var isServing: Bool { !listeners.isEmpty }
}

/// The text of `/metrics`, and who waits for it: it is made ten times a second at most, however many ask.
struct MetricsCache {
    static let lifetime: Duration = .milliseconds(100)

    var text: (bytes: [UInt8], at: Duration)?
    var waiting: [Token] = []
}

// MARK: - Listening

extension Router {
    mutating func listenForHTTP(_ descriptors: [CInt], at address: String?) throws(ReactorError) {
        for descriptor in descriptors {
            http.listeners.append(
                try reactor.accept(on: Descriptor(owning: descriptor), owner: Owner(.httpListener).raw))
        }
        if let address { log.info("metrics and the status page are served on http://\(address)/") }
    }

    mutating func httpListener(_ event: consuming Event) {
        switch consume event {
        case .accepted(let descriptor): httpAccepted(descriptor)
        case .failed(let error): pauseAccepting(because: error)
        // What happens to other kinds of sources only, and what asks for nothing.
        default: break
        }
    }

    /// The one that has been silent for longest makes room, half a request or none, some ticks before the last place is
    /// taken: it needs one to leave. Past that the newcomer is closed with this scope.
    private mutating func httpAccepted(_ descriptor: consuming Descriptor) {
        if http.connections.count >= Limits.httpConnections { dropSilentHTTP() }
        guard let connection = http.connections.insert(HTTPConnection()) else { return }
        do throws(ReactorError) {
            let stream = try reactor.adopt(accepted: descriptor, owner: Owner(.http, slot: connection.slot).raw)
            http.connections[connection].accepted(stream)
            http.connections[connection].quietSince = reactor.now
            reactor.configure(stream, Limits.clientSockets)
            armHTTP(connection, after: Limits.httpRequestDeadline)
            reactor.receive(stream)
        } catch {
            _ = http.connections.remove(connection)
        }
    }

    private mutating func dropSilentHTTP() {
        var longest: (connection: Token, since: Duration)?
        http.connections.forEach { token, connection in
            guard connection.isAsking, connection.quietSince < longest?.since ?? .seconds(Int64.max) else { return }
            longest = (token, connection.quietSince)
        }
        guard let longest else { return }
        http.connections[longest.connection].dismissed()
        closeHTTP(longest.connection)
    }
}

// MARK: - Connections

extension Router {
    mutating func http(_ slot: UInt32, _ event: consuming Event) {
        guard let connection = http.connections.token(at: slot) else { return }
        switch consume event {
        case .received(let buffer):
            http.connections[connection].quietSince = reactor.now
            let action = buffer.withBytes { http.connections[connection].received($0) }
            perform(connection, action)
        case .sent: httpSent(connection)
        case .endOfStream: if http.connections[connection].ended() { closeHTTP(connection) }
        case .failed: closeHTTP(connection)
        case .closed:
            disarmHTTP(connection)
            _ = http.connections.remove(connection)
        // What happens to other kinds of sources only, and what asks for nothing.
        default: break
        }
    }

    private mutating func perform(_ connection: Token, _ action: HTTPConnection.ReadAction) {
        switch action {
        case .none: break
        case .answer(let request):
            // It is not read while it waits for its answer.
            reactor.disarm(http.connections[connection].stream)
            armHTTP(connection, after: limits.queueTimeout + Limits.httpAnswerDeadline)
            answer(request, of: connection)
        case .refuse(let violation):
            reactor.disarm(http.connections[connection].stream)
            send(HTTPResponse(violation).bytes(withBody: true, keepsAlive: false), to: connection)
        }
    }

    /// The answer to a request, at once or later: the client may have gone meanwhile.
    mutating func respond(_ connection: Token, _ response: HTTPResponse) {
        guard http.connections.contains(connection), let bytes = http.connections[connection].answered(response)
        else { return }
        send(bytes, to: connection)
    }

    private mutating func send(_ bytes: [UInt8], to connection: Token) {
        armHTTP(connection, after: Limits.httpAnswerDeadline)
        reactor.send(copying: bytes, to: http.connections[connection].stream)
    }

    private mutating func httpSent(_ connection: Token) {
        let stream = http.connections[connection].stream
        switch http.connections[connection].sent() {
        case .none: break
        case .read(let action):
            http.connections[connection].quietSince = reactor.now
            armHTTP(connection, after: Limits.httpIdleDeadline)
            reactor.receive(stream)
            perform(connection, action)
        case .finish:
            // Closing with unread bytes would reset the connection under the answer.
            reactor.finish(stream)
            reactor.receive(stream)
            armHTTP(connection, after: Limits.lingerDeadline)
        }
    }

    mutating func httpDeadlineExpired(_ slot: UInt32) {
        guard let connection = http.connections.token(at: slot) else { return }
        http.connections[connection].deadline = nil
        closeHTTP(connection)
    }

    private mutating func closeHTTP(_ connection: Token) {
        disarmHTTP(connection)
        reactor.close(http.connections[connection].stream)
    }

    private mutating func armHTTP(_ connection: Token, after wait: Duration) {
        disarmHTTP(connection)
        http.connections[connection].deadline = reactor.deadline(
            at: reactor.now + wait, owner: Owner(.httpDeadline, slot: connection.slot).raw)
    }

    private mutating func disarmHTTP(_ connection: Token) {
        guard let deadline = http.connections[connection].deadline else { return }
        reactor.cancel(deadline: deadline)
        http.connections[connection].deadline = nil
    }
}
