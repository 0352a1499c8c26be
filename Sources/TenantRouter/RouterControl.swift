import Glibc
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

/// Steers a router that runs in another process, found by its base directory. Every call blocks until it is answered.
///
/// ```swift
/// var control = try RouterControl.connect(baseDirectory: "./data")
/// print(try control.stats().activeConnections)
/// try control.stop()
/// ```
public struct RouterControl: ~Copyable {
    private var connection: ControlConnection
    private let baseDirectory: String

    /// Connects to the router that serves this directory.
    ///
    /// - Throws: `notRunning` where none does, `denied` to a user who may not steer it.
    public static func connect(baseDirectory: String) throws(ControlError) -> RouterControl {
        let directory = absolute(baseDirectory)
        let token: String
        var connection: ControlConnection
        do throws(Errno) {
            let place = try ControlPlace(directory + "/.routerd")
            token = try place.readToken()
            connection = ControlConnection(try ControlConnection.open(place.socketPath))
        } catch {
            throw ControlError(error, directory: directory)
        }
        do throws(ControlConnection.Failure) {
            try connection.start(token: token)
        } catch {
            throw error.controlError(ifGone: .notRunning(baseDirectory: directory))
        }
        return RouterControl(connection: connection, baseDirectory: directory)
    }

    /// What the router is doing.
    public mutating func stats() throws(ControlError) -> RouterStatistics {
        let router = try query("SHOW ROUTER")
        let instances = try query("SHOW INSTANCES")
        guard let row = router.first, let statistics = RouterStatistics(row, instances: instances) else {
            throw .failed("the router's answer makes no sense: is it of another version?")
        }
        return statistics
    }

    /// Every tenant there is, running or not, sorted by name; wakes nobody.
    ///
    /// - Parameter sizes: whether each directory's size is found out too, by a look at a thousand files a tenant.
    public mutating func databases(sizes: Bool = false) throws(ControlError) -> [DatabaseStatus] {
        try query(sizes ? "SHOW SIZES" : "SHOW TENANTS").compactMap { DatabaseStatus($0) }
    }

    /// Stops the router orderly, or in a hurry, which is what a second call asks for too. Answers when it has begun;
    /// ``waitUntilStopped()`` waits for the end.
    public mutating func stop(inAHurry: Bool = false) throws(ControlError) {
        _ = try query(inAHurry ? "SHUTDOWN HURRY" : "SHUTDOWN")
    }

    /// Stops a tenant's instance and removes its directory for good; answers when that is done. False where there is no
    /// such tenant.
    public mutating func drop(_ name: String) throws(ControlError) -> Bool {
        let quoted = name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
        do throws(ControlConnection.Failure) {
            _ = try connection.query("DROP \"\(quoted)\"")
            return true
        } catch {
            if case .refused(let message) = error, message.sqlState == .invalidCatalogName { return false }
            throw error.controlError(ifGone: .failed("the router was stopped before it answered"))
        }
    }

    /// Removes a tenant whose router does not run, and waits until its files are gone. The process must not be root:
    /// what is done is done as the user whose directory it is.
    ///
    /// - Returns: false where there is no such tenant.
    public static func dropWithoutServer(
        _ name: String, baseDirectory: String, postgresBinDirectory: String? = nil
    ) throws(ControlError) -> Bool {
        // Nothing is made where a name was misspelt.
        guard unsafe access(baseDirectory + "/.routerd", F_OK) == 0 else {
            throw .failed("no routerd has ever served \(absolute(baseDirectory))")
        }
        do throws(EmbedError) {
            // Takes the lock: no router begins to serve it meanwhile.
            let store = try ClusterStore(
                installation: try PostgresInstallation.find(binDirectory: postgresBinDirectory),
                options: ClusterStoreOptions(baseDirectory: baseDirectory, confinement: .off))
            defer { store.close() }
            guard let directory = try? TenantName(name).directoryName else { return false }
            let wasThere = try store.drop(directoryName: directory)
            store.sweep { false }
            return wasThere
        } catch {
            throw .failed(RouterError(error).description)
        }
    }

    /// Waits until the router has given up its base directory, which is the last thing that it does.
    public mutating func waitUntilStopped() throws(ControlError) {
        connection.waitForEnd()
        while isLocked() { usleep(Self.lockPause) }
    }

    /// Between two looks at the lock, in microseconds.
    private static let lockPause: UInt32 = 10_000

    private func isLocked() -> Bool {
        let file = unsafe open(baseDirectory + "/.routerd/lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return false }
        defer { close(file) }
        return flock(file, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
    }

    private mutating func query(_ text: String) throws(ControlError) -> [ControlRow] {
        do throws(ControlConnection.Failure) {
            return try connection.query(text)
        } catch {
            throw error.controlError(ifGone: .notRunning(baseDirectory: baseDirectory))
        }
    }

    /// As a message has to say it: the directory need not exist.
    private static func absolute(_ path: String) -> String {
        if let resolved = unsafe realpath(path, nil) {
            defer { unsafe free(resolved) }
            return unsafe String(cString: resolved)
        }
        guard !path.hasPrefix("/"), let current = unsafe getcwd(nil, 0) else { return path }
        defer { unsafe free(current) }
        let relative = path.hasPrefix("./") ? path.dropFirst(2) : path[...]
        return unsafe "\(String(cString: current))/\(relative)"
    }
}

/// Why a running router cannot be steered.
public enum ControlError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Nobody serves this directory.
    case notRunning(baseDirectory: String)
    /// The present user may not: whoever runs the router may, and root.
    case denied(baseDirectory: String, owner: String)
    /// The router, or the way to it, says no.
    case failed(String)

    /// One line for people.
    public var description: String {
        switch self {
        case .notRunning(let directory):
            "no routerd is running for \(directory); start one with: routerd serve --dir \(directory)"
        case .denied(let directory, let owner):
            "only the user \"\(owner)\" may steer the routerd that serves \(directory): try sudo -u \(owner) routerd …"
        case .failed(let reason): reason
        }
    }

    init(_ error: Errno, directory: String) {
        switch error.code {
        case ENOENT, ENOTDIR, ECONNREFUSED: self = .notRunning(baseDirectory: directory)
        case EACCES, EPERM: self = .denied(baseDirectory: directory, owner: Self.owner(of: directory))
        default: self = .failed("cannot reach the routerd that serves \(directory): \(error)")
        }
    }

    private static func owner(of directory: String) -> String {
        var status = stat()
        for path in [directory + "/.routerd", directory] where unsafe lstat(path, &status) == 0 {
            guard let entry = unsafe getpwuid(status.st_uid) else { return "\(status.st_uid)" }
            return unsafe String(cString: entry.pointee.pw_name)
        }
        return "root"
    }
}

// MARK: - Rows

/// A row of the console's, by the names of its columns.
typealias ControlRow = [String: String]

extension RouterStatistics {
    fileprivate init?(_ row: ControlRow, instances: [ControlRow]) {
        guard let port = row["port"].flatMap({ UInt16($0) }), let active = row.number("active_connections"),
            let total = row.number("total_instances"), let most = row.number("max_instances"),
            let started = row["started"].flatMap(ControlTime.seconds), let pid = row["pid"].flatMap({ Int32($0) })
        else { return nil }
        self.init(
            port: port, activeConnections: active,
            pool: .init(
                totalInstances: total, maxInstances: most, maxConnections: row.number("max_connections") ?? 0,
                spares: row.number("spares") ?? 0, instances: instances.compactMap { DatabaseStatus($0) }),
            version: row["version"] ?? "", postgresVersion: row["postgres_version"] ?? "", processID: pid,
            address: row["address"] ?? "", baseDirectory: row["base_directory"] ?? "", started: started,
            state: row["state"] ?? "", confinement: row["confinement"] ?? "",
            waitingClients: row.number("waiting_clients") ?? 0, maxClients: row.number("max_clients") ?? 0,
            sessionsTotal: row.number("sessions_total") ?? 0, instancesTotal: row.number("instances_total") ?? 0)
    }
}

extension DatabaseStatus {
    fileprivate init?(_ row: ControlRow) {
        guard let name = row["name"], let state = row["state"], let sessions = row.number("sessions"),
            let waiting = row.number("waiting")
        else { return nil }
        self.init(dbName: name, state: state)
        self.sessions = sessions
        queueLength = waiting
        locked = row["locked"] == "t"
        processID = row["pid"].flatMap { Int32($0) }
        since = row["since"].flatMap(ControlTime.seconds)
        sizeBytes = row["size_bytes"].flatMap { Int($0) }
    }
}

extension ControlRow {
    fileprivate func number(_ column: String) -> Int? { self[column].flatMap { Int($0) } }
}

/// Instants as the console writes them: `2026-01-31 12:00:00.123+00`.
enum ControlTime {
    /// Seconds since 1970; nil for anything else.
    static func seconds(_ text: String) -> Double? {
        guard text.hasSuffix("+00") else { return nil }
        let parts = text.dropLast(3).split { "- :".contains($0) }
        guard parts.count == 6, let year = CInt(parts[0]), let month = CInt(parts[1]), let day = CInt(parts[2]),
            let hour = CInt(parts[3]), let minute = CInt(parts[4]), let second = Double(parts[5])
        else { return nil }
        var time = unsafe tm()
        unsafe (time.tm_year, time.tm_mon, time.tm_mday) = (year - 1900, month - 1, day)
        unsafe (time.tm_hour, time.tm_min) = (hour, minute)
        return unsafe Double(timegm(&time)) + second
    }
}
