import PostgresEmbed
import Reactor
import TenantPool

/// One life of a postmaster as the router holds it: what it runs in, how it is reached, how it is watched. Whether it
/// should run at all is the pool's business.
///
///     preparing ─▶ prepared ─▶ booting ─ READY ─▶ naming ─▶ serving ─▶ stopping      a tenant's
///                                 │                 ▲
///                                 ╰─▶ warming ─▶ spare ─ claimed ─▶ claiming         nobody's yet
final class Instance {
    let id: InstanceID
    private(set) var holder: Holder
    var phase: Phase = .preparing
    /// Statements of the router's own that wait for the one connection that is kept for it.
    var statements: [Statement] = []
    /// The connection that runs one of them, or a spare's that waits for the claim.
    var administration: Administration?
    /// When somebody first wanted it.
    let wantedSince: Duration
    /// Why it is told to stop, for the log.
    var stopReason: StopReason?
    /// From spawn to the first client.
    var bootTime: Duration?

    enum StopReason: String, CaseIterable {
        /// Nobody has used it for the idle timeout.
        case idle
        /// Another tenant wants its place.
        case evicted
        /// An operator wants it: dropped or hibernated.
        case asked
        /// It was not ready in time.
        case bootTimeout = "boot timeout"
        /// The router stops.
        case shutdown
    }

    /// How often in a row it was asked whether it is at work, and said nothing.
    var unansweredQuestions = 0

    /// Whose it is.
    enum Holder {
        case tenant(TenantName)
        /// A spare: whoever asks for a new name first gets it.
        case nobody
    }

    enum Phase {
        /// A worker makes or checks the directory.
        case preparing
        case prepared(PreparedCluster)
        case booting(Running)
        /// A spare has its first connection, which leaves it the caches that every later one finds.
        case warming(Running, InstanceSocket)
        case spare(Running, InstanceSocket)
        /// A worker gives the spare's directory to a tenant, while its database gets the tenant's name.
        case claiming(Running, InstanceSocket, Meanwhile)
        /// The database gets its name and its first roles; the directory has its own.
        case naming(Running, InstanceSocket)
        case serving(Running, InstanceSocket)
        case stopping(Running, StopLadder)
    }

    /// What came to pass while a worker had the directory in its hands, to be dealt with when it is done.
    enum Meanwhile {
        case nothing
        /// The database bears its name.
        case named
        /// It is to stop.
        case stop
        case exited(ExitStatus)
    }

    init(id: InstanceID, holder: Holder, wantedSince: Duration) {
        self.id = id
        self.holder = holder
        self.wantedSince = wantedSince
    }

    /// Nil for a spare.
    var tenant: TenantName? {
        switch holder {
        case .tenant(let tenant): tenant
        case .nobody: nil
        }
    }

    /// What log lines call it.
    var name: String { tenant?.string ?? "(spare)" }

    func claimed(by tenant: TenantName) { holder = .tenant(tenant) }

    /// The claim failed before the directory changed hands.
    func claimFailed() { holder = .nobody }

    /// The way to its backends, while there is one.
    var socket: InstanceSocket? {
        switch phase {
        case .warming(_, let socket), .spare(_, let socket), .claiming(_, let socket, _), .naming(_, let socket),
            .serving(_, let socket):
            socket
        case .preparing, .prepared, .booting, .stopping: nil
        }
    }

    /// True while no statement of the router's own is running.
    var isFreeForStatements: Bool {
        switch administration?.work {
        case .statement: false
        case .some(.none), nil: true
        }
    }

    /// Its process, from spawn to exit.
    var running: Running? {
        switch phase {
        case .booting(let running), .warming(let running, _), .spare(let running, _), .claiming(let running, _, _),
            .naming(let running, _), .serving(let running, _), .stopping(let running, _):
            running
        case .preparing, .prepared: nil
        }
    }
}

/// A postmaster with what the reactor watches of it.
final class Running {
    /// A spare's changes its name when it is claimed.
    var cluster: PreparedCluster
    enum Start: String { case boot, claim }

    /// For log lines; signals go to `process`, which cannot mean a stranger.
    let processID: Int32
    /// What its first client has waited for, and since when.
    var start: (kind: Start, at: Duration)
    let process: Token
    /// Where its readiness is heard of.
    let readiness: Token
    /// The next rung of the stop ladder.
    var deadline: Token?

    init(cluster: PreparedCluster, processID: Int32, spawnedAt: Duration, process: Token, readiness: Token) {
        self.cluster = cluster
        self.processID = processID
        self.start = (.boot, spawnedAt)
        self.process = process
        self.readiness = readiness
    }
}
