import Logging
import PostgresEmbed
import Reactor
import TenantPool

// The router's own life: what it is told from other threads and by signals, and how it ends.

/// What other threads tell the router.
enum Message: Sendable {
    case prepared(InstanceID, Result<PreparedCluster, EmbedError>)
    case retired(TenantName)
    case sparePrepared(InstanceID, Result<PreparedCluster, EmbedError>)
    case journaled(InstanceID, Result<PreparedCluster, EmbedError>)
    case removed(TenantName, Result<Bool, EmbedError>)
    case swept
    case logsTrimmed
    /// What another thread's lane has to report.
    case reported([LaneReport])
    case stop
    /// Anything else, on the reactor's thread.
    case run(@Sendable (inout Router) -> Void)
}

extension Router {
    enum Lifetime {
        case serving
        /// No new clients; instances stop.
        case stopping
        /// As before, and somebody lost patience.
        case hurrying
        /// The last clients read their last message.
        case closing
    }

    mutating func readMail() {
        for message in mailbox.drain() {
            switch message {
            case .prepared(let id, let result): prepared(id, result)
            case .retired(let tenant): retired(tenant)
            case .sparePrepared(let id, let result): sparePrepared(id, result)
            case .journaled(let id, let result): journaled(id, result)
            case .removed(let tenant, let result): removed(tenant, result)
            case .swept: swept()
            case .logsTrimmed: isTrimmingLogs = false
            case .reported(let reports): hear(reports)
            case .stop: stop()
            case .run(let body): body(&self)
            }
        }
    }

    mutating func signalled(_ event: consuming Event) {
        guard case .signalled(let number) = consume event else { return }
        log.info("signal \(number) received")
        stop()
    }

    var isHurried: Bool {
        switch lifetime {
        case .hurrying: true
        case .serving, .stopping, .closing: false
        }
    }

    /// The first time orderly: no new clients, instances told to stop, their sessions told by them. The second time in
    /// a hurry.
    mutating func stop() {
        switch lifetime {
        case .serving:
            lifetime = .stopping
            isStopping.raise()
            log.info(
                "stopping", metadata: ["sessions": "\(commons.counts.sessions)", "instances": "\(instances.count)"])
            for listener in listeners { reactor.close(listener) }
            poolActions += pool.shutDown(now: reactor.now)
            endPauses()
        case .stopping:
            lifetime = .hurrying
            log.info("stopping in a hurry")
            hurryInstances()
        case .hurrying, .closing: break
        }
    }

    /// Once the last instance is gone, clients get a moment to read their last message.
    mutating func considerClosing() {
        switch lifetime {
        case .serving: break
        case .stopping, .hurrying:
            guard instances.isEmpty, pool.isEmpty else { return }
            lifetime = .closing
            _ = reactor.deadline(at: reactor.now + Limits.closingDeadline, owner: Owner(.closing).raw)
            if let controlListener { reactor.close(controlListener) }
            for listener in http.listeners { reactor.close(listener) }
            orderAll(.close)
            considerClosing()
        case .closing:
            if commons.counts.sessions == 0 { isDone = true }
        }
    }
}

// MARK: - Housekeeping

extension Router {
    /// Keeps the logs of running instances within their bound, and looks after what could not be removed.
    mutating func keepHouse() {
        scheduleHousekeeping()
        considerSample()
        forgetStartFailures()
        if reactor.now - operations.sweptAt >= Limits.sweepInterval { sweep() }
        forgetUnannounced()
        keepAverages()
        keepPauses()
        let logs = instances.values.compactMap { $0.running?.cluster.log }
        guard !logs.isEmpty, !isTrimmingLogs else { return }
        isTrimmingLogs = true
        workers.submit { [mailbox] in
            for log in logs { log.trim() }
            mailbox.post(.logsTrimmed)
        }
    }

    /// A failure is kept for as long as clients may be refused because of it.
    private mutating func forgetStartFailures() {
        guard !startFailures.isEmpty else { return }
        let pool = pool
        startFailures = startFailures.filter { pool.state(of: $0.key) != .cold }
    }

    /// A database is new for as long as somebody waits for it or its instance runs.
    private func forgetUnannounced() {
        let pool = pool
        commons.forgetNews { pool.state(of: $0) == .cold }
    }

    mutating func scheduleHousekeeping() {
        _ = reactor.deadline(at: reactor.now + Limits.housekeepingInterval, owner: Owner(.housekeeping).raw)
    }
}
