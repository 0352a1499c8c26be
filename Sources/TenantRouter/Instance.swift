import PostgresEmbed
import Reactor
import TenantPool

/// One life of a tenant's postmaster as the router holds it: what it runs in, how it is reached, how it is watched.
/// Whether it should run at all is the pool's business.
///
///     preparing ─▶ prepared ─▶ booting ─ READY ─▶ claiming ─▶ serving ─▶ stopping
final class Instance {
    let id: InstanceID
    let tenant: TenantName
    var phase: Phase = .preparing
    /// Statements of the router's own that wait for the one connection that is kept for it.
    var statements: [Statement] = []
    /// The connection that runs one of them.
    var administration: Administration?
    /// Whether the next session is told that its database is new.
    var announcesCreation = false
    /// From spawn to the first client.
    var bootTime: Duration?

    enum Phase {
        /// A worker makes or checks the directory.
        case preparing
        case prepared(PreparedCluster)
        case booting(Running)
        /// The database gets its name and its first roles.
        case claiming(Running, InstanceSocket)
        case serving(Running, InstanceSocket)
        case stopping(Running, StopLadder)
    }

    init(id: InstanceID, tenant: TenantName) {
        self.id = id
        self.tenant = tenant
    }

    /// The way to its backends, while there is one.
    var socket: InstanceSocket? {
        switch phase {
        case .claiming(_, let socket), .serving(_, let socket): socket
        case .preparing, .prepared, .booting, .stopping: nil
        }
    }

    /// Its process, from spawn to exit.
    var running: Running? {
        switch phase {
        case .booting(let running), .claiming(let running, _), .serving(let running, _), .stopping(let running, _):
            running
        case .preparing, .prepared: nil
        }
    }
}

/// A postmaster with what the reactor watches of it.
final class Running {
    let cluster: PreparedCluster
    /// For log lines; signals go to `process`, which cannot mean a stranger.
    let processID: Int32
    let spawnedAt: Duration
    let process: Token
    /// Where its readiness is heard of.
    let readiness: Token
    /// The next rung of the stop ladder.
    var deadline: Token?

    init(cluster: PreparedCluster, processID: Int32, spawnedAt: Duration, process: Token, readiness: Token) {
        self.cluster = cluster
        self.processID = processID
        self.spawnedAt = spawnedAt
        self.process = process
        self.readiness = readiness
    }
}
