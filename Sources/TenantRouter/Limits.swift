import Glibc
import Reactor

/// Every limit of the router that is no option, with its unit and its reason.
enum Limits {
    /// How long a client waits for an instance before it is told what it waits for.
    static let waitNoticeDelay: Duration = .seconds(5)
    /// How long a client has waited, or an instance took to wake, when that is worth a line in the log.
    static let longWait: Duration = .seconds(1)
    /// Characters of a name that a client chose and no tenant can have, in lines and listings.
    static let labelLength = 63
    /// How long an instance may leave a connection unanswered, from connect(2) to its first ReadyForQuery. An instance
    /// that was stopped or hangs must not hold a client for ever; crash recovery of a backend takes a second or two.
    static let backendConnectDeadline: Duration = .seconds(15)
    /// The pause before a connection that met `57P03` (crash recovery, a shutdown under way) is tried again.
    static let backendRetryPause: Duration = .milliseconds(20)
    /// Instances that go down side by side when the router stops: thirty with something to write take two cores 0.4 s,
    /// and each has ten.
    static let simultaneousStops = 32
    /// How long a statement of the router's own may take: it touches two catalog rows.
    static let administrationDeadline: Duration = .seconds(10)
    /// How long a cancel request may take on its way to the backend, and one that hangs may occupy a session.
    static let cancelDeadline: Duration = .seconds(10)
    /// How long a client that was told the end may take to close: closing first could reset the connection under the
    /// message, and the client would never read it.
    static let lingerDeadline: Duration = .seconds(2)
    /// How long a client may take nothing of the last bytes that wait for it after its backend has gone.
    static let flushDeadline: Duration = .seconds(60)
    /// How long a backend may take to notice that its client has gone, before it is cut off: it asks every two seconds
    /// while a statement runs (`client_connection_check_interval`).
    static let abandonDeadline: Duration = .seconds(15)
    /// How long a backend may take for `DISCARD ALL`: a client may wait for its lease, and temporary tables take a
    /// while.
    static let resetDeadline: Duration = .seconds(2)
    /// How long a backend is kept for the next client. `CREATE DATABASE … TEMPLATE` and `ALTER DATABASE … RENAME` give
    /// other sessions five seconds to go, and those that are ending need some of them.
    static let keptBackendTime: Duration = .seconds(2)
    /// How old a backend may become, however often it is reused: what no tag tells (a role that a function altered)
    /// holds for every client that long after it was done.
    static let keptBackendAge: Duration = .seconds(60)
    /// Backends that an instance has between two sessions, 2 MB each: more than two processors can have in their hands.
    static let keptBackendsPerInstance = 8
    /// The pause before a client tries again that a kept backend makes room for: it needs a millisecond or two to go.
    static let keptBackendExitPause: Duration = .milliseconds(3)
    /// How long the router waits for its last clients to close when it stops: what they are to read was sent before.
    static let closingDeadline: Duration = .milliseconds(250)
    /// How long after a spare was taken the next one is cloned: a first connect and its first statements are over.
    static let sparePause: Duration = .milliseconds(100)
    /// The pause of a listener that ran out of descriptors or memory: clients wait in the backlog meanwhile.
    static let acceptPause: Duration = .milliseconds(100)
    /// The pause between two log lines about it: it may last.
    static let acceptWarningPause: Duration = .seconds(10)
    /// Bytes a client may send ahead of ReadyForQuery; more stay in its socket. Pipelining clients send little more
    /// than their first statements.
    static let pipelinedBytes = 64 * 1024
    /// The most clients without anybody having asked for a number: what an unlimited descriptor limit must not become.
    static let mostClients = 100_000
    /// Clients past `maxClients` that are kept until their startup packet is in, so that they read why they are
    /// refused.
    static let refusedClients = 64
    /// Places that silent clients give up when they are the last: a client that is dropped needs a tick to leave.
    static let placesKeptFree = 16
    /// Bytes of backend messages before the first ReadyForQuery: parameters and notices of any sane server fit twice.
    static let backendStartupBytes = 256 * 1024
    /// Users that wait for a new database and become roles in one statement with its naming; more follow one by one.
    static let rolesOfAClaim = 64
    /// Clients of the console at once on each of its ways in, beside the others: a few people, a few scripts.
    static let consoles = 16
    /// Clients of the status page and of metrics at once: a browser has six connections, a few people and scrapers look.
    static let httpConnections = 24
    /// Places beyond them for newcomers, while those that make room leave.
    static let httpPlacesKeptFree = 8
    /// How long a client of theirs may take to say what it wants, from its connection or from the last answer's end.
    static let httpRequestDeadline: Duration = .seconds(10)
    static let httpIdleDeadline: Duration = .seconds(75)
    /// How long an answer may take to be made, beside what a wake waits in the queue, and to be read.
    static let httpAnswerDeadline: Duration = .seconds(60)
    /// Tenants whose traffic is counted one by one, some 400 bytes each with their averages: as many as a router is made
    /// for.
    static let countedTenants = 10_000
    /// What averages are taken over: PgBouncer's `stats_period`.
    static let averagePeriod: Duration = .seconds(60)
    /// Instances beyond `maxInstances` that a reload may add: places in tables, which cost nothing until they are used.
    static let instancesOfAReload = 1_000
    /// Statements of the library's users that run at once; more wait for their turn: a connection each.
    static let queries = 32
    /// How often an idle instance may leave the question unanswered whether something is at work in it.
    static let unansweredQuestions = 3
    /// The most threads that serve sessions: more would be idle on any machine that PostgreSQL shares with them. A power
    /// of two, see `SessionID`.
    static let workers = 16
    /// Threads for work that blocks (copying clusters, fsync): two keep a disk busy, four hide one slow tenant.
    static let workerThreads = 4
    /// How often the logs of running instances are looked at.
    static let housekeepingInterval: Duration = .seconds(1)

    /// The longest time between two looks at what could not be removed before: an empty directory, nearly always.
    static let sweepInterval: Duration = .seconds(60)

    /// A client that vanished without a word holds its lease until the kernel notices: after a minute of silence it is
    /// asked four times, ten seconds apart, and data it does not acknowledge is given up after two minutes.
    static let clientSockets = StreamOptions(
        noDelay: true, keepalive: .init(idle: .seconds(60), interval: .seconds(10), count: 4),
        userTimeout: .seconds(120))

    /// Descriptors of one instance: its process, its socket, what its readiness is heard by.
    static let descriptorsPerInstance = 3
    /// Descriptors of one session: frontend and backend.
    static let descriptorsPerSession = 2
    /// Descriptors of one worker: its epoll or ring, its doorbell.
    static let descriptorsPerWorker = 2
    /// Listeners, epoll, doorbell, signals, lock, log, standard streams, what four workers have open while they copy,
    /// one connection of the router's own for each instance that boots, is asked or is a spare, and some slack; the
    /// clients of the console and of the status page; the statements of the library's users.
    static let descriptorsOfTheRouter = 96 + 2 * consoles + queries + httpConnections + httpPlacesKeptFree

    /// Processes of an idle instance: the postmaster and what serves it.
    static let processesPerInstance = 6
    /// Memory of an idle instance with `--max-connections 40`, measured by what the machine has left.
    static let megabytesPerInstance = 11
    /// A new tenant on the disk: the template's copy, and some write-ahead log of its own.
    static let bytesPerTenant = 40 << 20
    /// Files of a new tenant.
    static let filesPerTenant = 1_000

    /// How many clients fit into the descriptors that are left.
    ///
    /// - Parameters:
    ///   - maxInstances: instances that may run at once.
    ///   - workers: threads that serve sessions.
    ///   - descriptors: `RLIMIT_NOFILE` (getrlimit(2)), soft.
    static func clientsThatFit(maxInstances: Int, workers: Int = 1, descriptors: Int) -> Int {
        let taken =
            descriptorsOfTheRouter + (workers - 1) * descriptorsPerWorker + maxInstances * descriptorsPerInstance
        return (descriptors - taken) / descriptorsPerSession - refusedClients
    }

    /// The soft limit of open descriptors of this process.
    static var descriptors: Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }
}
