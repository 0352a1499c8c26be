import Logging
import Reactor
import TenantPool
import WireProtocol

/// Whose messages are printed as they pass: everybody's, nobody's, or those of some tenants.
///
/// A session that nobody reads along with pays nothing for the possibility: the sources of one that is inspected bear
/// owners of another role, whose completions take a way of their own through the dispatch, where their bytes are
/// followed before the session gets them as always.
struct Inspections {
    /// What holds for a tenant that nobody has named.
    private let includesEverybody: Bool
    private let values: SessionInspection.Values
    /// Tenants for which the other thing holds.
    private var exceptions: Set<TenantName> = []
    /// By their slots.
    private var sessions: [UInt32: SessionInspection] = [:]
    fileprivate let log: Logger

    /// What its lines are marked with, for handlers of logs that print them otherwise than the rest.
    static let source = "inspect"

    init(_ configuration: RouterConfiguration) {
        includesEverybody = configuration.inspect
        values = configuration.inspectValues ? .shown : .hidden
        var log = configuration.logger
        // Whoever asks for them wants to see them, however quiet the log is.
        log.logLevel = .info
        self.log = log
    }

    func include(_ tenant: TenantName) -> Bool { includesEverybody != exceptions.contains(tenant) }

    func follows(_ session: Token) -> Bool { sessions[session.slot] != nil }

    mutating func set(_ tenant: TenantName, isOn: Bool) {
        if isOn == includesEverybody { exceptions.remove(tenant) } else { exceptions.insert(tenant) }
    }

    mutating func begin(_ session: Token, _ relay: Relay?) {
        sessions[session.slot] =
            if let relay {
                SessionInspection(frontend: relay.frontendDecoder, backend: relay.backendDecoder, values: values)
            } else {
                SessionInspection(values: values)
            }
    }

    mutating func end(_ session: Token) { sessions[session.slot] = nil }

    /// The messages that end in these bytes of the session's.
    mutating func received(
        _ bytes: RawSpan, from direction: FrameDirection, of session: Token
    ) -> [MessageDescription] {
        sessions[session.slot]?.received(bytes, from: direction) ?? []
    }
}

// MARK: - Whom

extension Lane {
    /// Sessions that are under way included.
    mutating func inspect(_ tenant: TenantName, isOn: Bool) {
        inspections.set(tenant, isOn: isOn)
        forEachSession { lane, session in
            if isOn { lane.beginInspection(session, of: tenant) } else { lane.endInspection(session, of: tenant) }
        }
    }

    /// The startup packet is in.
    mutating func considerInspection(_ session: Token, _ arrival: Arrival) {
        guard inspections.include(arrival.tenant) else { return }
        follow(session, nil)
        print(MessageDescription(arrival.packet), from: .frontend, of: session)
        inspected(arrival.pipelined, from: .frontend, of: session)
    }

    /// A right key, on its way to a tenant's backend.
    func considerInspection(_ session: Token, cancelling key: CancelKey, of tenant: TenantName) {
        guard inspections.include(tenant) else { return }
        inspections.log.log(
            level: .info, "\(Self.arrow(.frontend)) \(MessageDescription(cancelRequest: key).line)",
            metadata: metadata(session).merging(["tenant": "\(tenant)"]) { $1 }, source: Inspections.source)
    }

    private mutating func beginInspection(_ session: Token, of tenant: TenantName) {
        guard !inspections.follows(session) else { return }
        switch sessions[session].stage {
        case .arriving(let arrival, _) where arrival.tenant == tenant:
            follow(session, nil)
            inspected(arrival.pipelined, from: .frontend, of: session)
        case .relaying where tenant.isWritten(sessions[session].label.tenant),
            .frontendEnded where tenant.isWritten(sessions[session].label.tenant):
            let relay = sessions[session].relay
            follow(session, relay)
            inspectBackend(relay.backend, of: session)
        case .arriving, .relaying, .frontendEnded, .awaitingStartup, .flushing, .cancelling, .console, .lingering,
            .abandoning, .closed:
            break
        }
    }

    private mutating func follow(_ session: Token, _ relay: Relay?) {
        inspections.begin(session, relay)
        reactor.hand(sessions[session].frontend, to: Owner(.inspectedFrontend, slot: session.slot).raw)
    }

    /// The relay begins, or has begun.
    mutating func inspectBackend(_ backend: Token, of session: Token) {
        guard inspections.follows(session) else { return }
        reactor.hand(backend, to: Owner(.inspectedBackend, slot: session.slot).raw)
    }

    private mutating func endInspection(_ session: Token, of tenant: TenantName) {
        guard inspections.follows(session), tenant.isWritten(sessions[session].label.tenant) else { return }
        inspections.end(session)
        reactor.hand(sessions[session].frontend, to: Owner(.frontend, slot: session.slot).raw)
        switch sessions[session].stage {
        case .relaying, .frontendEnded:
            reactor.hand(sessions[session].relay.backend, to: Owner(.backend, slot: session.slot).raw)
        case .awaitingStartup, .arriving, .flushing, .cancelling, .console, .lingering, .abandoning, .closed: break
        }
    }
}

// MARK: - What passes

extension Lane {
    mutating func inspectedFrontend(_ session: Token, _ event: consuming Event) {
        switch event {
        case .received(let buffer):
            buffer.withBytes { inspected($0, from: .frontend, of: session) }
        // Only bytes are looked at.
        default: break
        }
        frontend(session, event)
    }

    mutating func inspectedBackend(_ session: Token, _ token: Token, _ event: consuming Event) {
        switch event {
        case .received(let buffer):
            buffer.withBytes { inspected($0, from: .backend, of: session) }
        // Only bytes are looked at.
        default: break
        }
        backend(session, token, event)
    }

    /// Sends the client what the router says to it, or passes on in one piece.
    mutating func tell(_ session: Token, _ bytes: [UInt8]) {
        reactor.send(copying: bytes, to: sessions[session].frontend)
        inspected(bytes, from: .backend, of: session)
    }

    private mutating func inspected(_ bytes: [UInt8], from direction: FrameDirection, of session: Token) {
        guard inspections.follows(session) else { return }
        unsafe inspected(bytes.span.bytes, from: direction, of: session)
    }

    private mutating func inspected(_ bytes: RawSpan, from direction: FrameDirection, of session: Token) {
        for message in inspections.received(bytes, from: direction, of: session) {
            print(message, from: direction, of: session)
        }
    }

    private func print(_ message: MessageDescription, from direction: FrameDirection, of session: Token) {
        inspections.log.log(
            level: .info, "\(Self.arrow(direction)) \(message.line)", metadata: metadata(session),
            source: Inspections.source)
    }

    private static func arrow(_ direction: FrameDirection) -> String {
        switch direction {
        case .frontend: "→"
        case .backend: "←"
        }
    }
}
