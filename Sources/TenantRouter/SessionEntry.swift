import Reactor
import TenantPool

/// What listings say of a session, at one moment.
struct SessionEntry: Sendable {
    /// Where a client stands, in PgBouncer's words.
    enum ClientState: String {
        /// It has not said what it wants.
        case login
        /// It waits for an instance.
        case waiting
        /// A backend is being connected.
        case connecting
        /// It has a backend, or talks to the console.
        case active
        /// Its end is under way.
        case closing
    }

    /// Where its backend stands.
    enum ServerState: String {
        case login, active, closing
    }

    /// How much is found out.
    enum Detail {
        case plain
        /// Addresses and processes too, by a system call each.
        case full
    }

    let session: SessionID
    let number: UInt64
    let user: String
    let tenant: String
    let application: String
    let state: ClientState
    /// Nil while it has no backend.
    let serverState: ServerState?
    /// Whose backend that is; nil while it has none.
    let instance: InstanceID?
    /// The instance's epoch when the backend was connected.
    let epoch: UInt64
    /// Whom it waits for.
    let queuedFor: TenantName?
    /// In full detail.
    let peer: SocketAddress?
    /// How long ago it connected.
    let age: Duration
    /// How long ago the client last began to ask something; before it did, `age`.
    let sinceRequest: Duration
    /// The process id of its backend, in full detail.
    let backend: Int32?
    let traffic: Traffic
}

extension Lane {
    /// Every session, in the order they stand in.
    func entries(_ detail: SessionEntry.Detail) -> [SessionEntry] {
        var entries: [SessionEntry] = []
        entries.reserveCapacity(sessions.count)
        var slot: UInt32 = 0
        while let session = sessions.first(from: slot) {
            entries.append(entry(session, detail))
            slot = session.slot + 1
        }
        return entries
    }

    private func entry(_ session: Token, _ detail: SessionEntry.Detail) -> SessionEntry {
        let (label, stage) = (sessions[session].label, sessions[session].stage)
        return SessionEntry(
            session: id(session), number: sessions[session].number, user: label.user, tenant: label.tenant,
            application: label.application, state: SessionEntry.ClientState(stage),
            serverState: SessionEntry.ServerState(stage), instance: sessions[session].instance,
            epoch: sessions[session].epoch, queuedFor: stage.queuedFor,
            peer: detail == .full ? reactor.peer(of: sessions[session].frontend) : nil,
            age: reactor.now - label.connectedAt,
            sinceRequest: reactor.now
                - (sessions[session].meter.askedAt.map { .nanoseconds($0) } ?? label.connectedAt),
            backend: detail == .full ? commons.backend(ofSession: sessions[session].number) : nil,
            traffic: sessions[session].meter.traffic)
    }
}

extension Session {
    fileprivate var instance: InstanceID? {
        switch stage {
        case .arriving(_, .connecting(let attempt)), .arriving(_, .startingUp(let attempt, _)): attempt.lease.instance
        case .relaying, .frontendEnded: relay.instance
        case .abandoning(_, let instance): instance
        case .awaitingStartup, .arriving, .flushing, .cancelling, .console, .lingering, .closed: nil
        }
    }
}

extension Session.Stage {
    fileprivate var queuedFor: TenantName? {
        guard case .arriving(let arrival, .queued) = self else { return nil }
        return arrival.tenant
    }
}

extension SessionEntry.ClientState {
    fileprivate init(_ stage: Session.Stage) {
        switch stage {
        case .awaitingStartup: self = .login
        case .arriving(_, .queued): self = .waiting
        case .arriving: self = .connecting
        case .relaying, .frontendEnded, .console: self = .active
        case .flushing, .cancelling, .lingering, .abandoning, .closed: self = .closing
        }
    }
}

extension SessionEntry.ServerState {
    fileprivate init?(_ stage: Session.Stage) {
        switch stage {
        case .arriving(_, .connecting), .arriving(_, .startingUp): self = .login
        case .relaying, .frontendEnded: self = .active
        case .abandoning: self = .closing
        case .awaitingStartup, .arriving, .flushing, .cancelling, .console, .lingering, .closed: return nil
        }
    }
}
