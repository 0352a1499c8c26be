import Reactor
import TenantPool
import WireProtocol

/// What a lane tells the centre of its sessions: everything that concerns more than one session.
enum LaneReport: Sendable {
    /// A client wants a lease; answered by `granted` or `refused`, unless it leaves.
    case leaseRequested(SessionID, TenantName, user: String)
    case waiterLeft(SessionID)
    case leaseReturned(InstanceID)
    /// PostgreSQL does not know the user: answered by `roleSettled`.
    case roleWanted(SessionID, user: String, InstanceID)
    /// A client has waited for a while and may be told what for: answered by `waitExplained`, if there is something to say.
    case waitsLong(SessionID, TenantName)
    /// The console has read a command: answered by `consoleAnswered`.
    case command(ConsoleCommand, ConsoleClient)
    /// The answer to `ask`, by its number.
    case answered(UInt64, LaneView)
    /// Nobody may have older backends of this instance any more: other lanes have some too.
    case backendsOutdated(InstanceID)
    /// A lease cannot have its connection: other lanes keep too many backends of the instance.
    case crowded(InstanceID)
    /// A kept backend has gone.
    case placeFreed
    /// The last session has gone while the router closes.
    case emptied
}

/// What the centre tells a lane.
enum LaneOrder: Sendable {
    /// A client that was just accepted: its descriptor, which is the lane's from here on, and its place.
    case accepted(CInt, Session.Entrance, number: UInt64)
    /// The router is nearly full: the client that has been silent for longest makes room.
    case dropSilentClient
    /// Sessions want the places of kept backends: the oldest one goes.
    case discardCrowdingBackend
    /// The instance stops or is gone: nothing of it is kept.
    case discardBackends(of: InstanceID)
    case dismissOutdatedBackends(of: InstanceID)
    /// As many kept backends of the instance go as are in somebody's way.
    case dismissExcessBackends(of: InstanceID)
    case granted(Token, InstanceID)
    case refused(Token, ErrorMessage)
    case roleSettled(Token, RoleOutcome)
    case waitExplained(Token, ErrorMessage)
    /// The instance is gone or about to be.
    case instanceStopped(InstanceID)
    case consoleAnswered(Token, Result<ConsoleSession.Answer, ErrorMessage>)
    /// Answered by `answered`, with the same number.
    case ask(UInt64, LaneQuestion)
    case forgetTraffic(of: TenantName)
    case inspect(TenantName, isOn: Bool)
    case kill(Token)
    /// Every client of the tenant.
    case killAll(of: TenantName)
    case reconfigured(RouterConfiguration)
    /// The router is about to end: who has not become a session goes.
    case close
    /// The router has ended.
    case end
}

/// What every lane is asked at once.
enum LaneQuestion: Sendable {
    case sessions(SessionEntry.Detail)
    case traffic(TrafficScope)
    case memory
}

/// What a lane shows when it is asked, or all of them together: as much as the question was about.
struct LaneView: Sendable {
    var sessions: [SessionEntry] = []
    var kept: [KeptEntry] = []
    /// What has passed in sessions that have ended and in those that live.
    var traffic = TrafficLedger()
    var metrics = ClientMetrics()
    var keptBackends = 0
    /// Buffers in use, and free ones.
    var buffers = (lent: 0, idle: 0)
    /// Places for sessions that memory exists for.
    var places = 0

    mutating func add(_ other: LaneView) {
        sessions += other.sessions
        kept += other.kept
        traffic.add(other.traffic)
        metrics.add(other.metrics)
        keptBackends += other.keptBackends
        buffers = (buffers.lent + other.buffers.lent, buffers.idle + other.buffers.idle)
        places += other.places
    }
}

/// What became of a role that a client needs.
enum RoleOutcome: Sendable {
    case created
    case failed(ErrorMessage)
    /// Its instance stopped meanwhile.
    case instanceStopped
}
