import Glibc
import Logging
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// What the pool decides, done: directories made, postmasters spawned, watched and stopped.

extension Router {
    /// Does what the pool has decided during the tick, in its order. What comes of it may make the pool decide more.
    mutating func performPoolActions() {
        guard !poolActions.isEmpty else { return }
        var next = 0
        while next < poolActions.count {
            perform(poolActions[next])
            next += 1
        }
        poolActions.removeAll(keepingCapacity: true)
    }

    private mutating func perform(_ action: PoolAction) {
        switch action {
        case .grant(let waiter, let instance): granted(waiter, instance)
        case .refuse(let waiter, let refusal): refused(waiter, refusal)
        case .prepare(let id, let tenant): prepare(id, tenant)
        case .create(let id, let tenant): submitPreparation(id, tenant, mayCreate: true)
        case .prepareSpare(let id): prepareSpare(id)
        case .claim(let spare, let tenant, let id): claim(spare, for: tenant, insteadOf: id)
        case .boot(let id): boot(id)
        case .ask(let id): ask(id)
        case .stop(let id): stop(id)
        case .terminateSessions(let id): terminateSessions(of: id)
        case .remove(let tenant): remove(tenant)
        }
    }
}

// MARK: - Booting

extension Router {
    private mutating func boot(_ id: InstanceID) {
        guard let instance = instances[id], case .prepared(let cluster) = instance.phase else { return }
        do {
            let readiness = try listenForReadiness(id, cluster)
            let (process, processID) = try spawn(cluster, id, heardBy: readiness)
            instancesEver += 1
            let running = Running(
                cluster: cluster, processID: processID, spawnedAt: reactor.now, process: process,
                readiness: readiness)
            instance.phase = .booting(running)
        } catch {
            startFailed(instance, error.clientMessage)
            retire(instance, cluster)
            poolActions += pool.exited(id, now: reactor.now)
            if let tenant = instance.tenant { hibernated(tenant) }
        }
    }

    /// Before the spawn, so that whatever can fail has failed by then: the socket that the postmaster announces its
    /// readiness on, or for one that announces nothing a watch on its pid file.
    private mutating func listenForReadiness(_ id: InstanceID, _ cluster: PreparedCluster) throws -> Token {
        let descriptor = if let socket = cluster.takeNotifySocket() { socket } else { try cluster.pidFileWatch() }
        let readiness = try reactor.adopt(descriptor, owner: Owner(.readiness, id).raw)
        reactor.receive(readiness)
        return readiness
    }

    /// Nothing is left of a spawn that fails: a process that cannot be watched must not be left alone.
    private mutating func spawn(
        _ cluster: PreparedCluster, _ id: InstanceID, heardBy readiness: Token
    ) throws -> (Token, Int32) {
        do {
            let postmaster = try store.spawn(cluster)
            do {
                let process = try reactor.watch(process: try postmaster.exitWatch(), owner: Owner(.process, id).raw)
                return (process, postmaster.processID)
            } catch {
                postmaster.signal(SIGKILL)
                _ = waitpid(postmaster.processID, nil, 0)
                throw error
            }
        } catch {
            reactor.close(readiness)
            throw error
        }
    }

    /// A datagram of the postmaster's, sd_notify(3), or a change of its pid file.
    mutating func readiness(_ id: InstanceID, _ event: consuming Event) {
        guard let instance = instances[id], case .booting(let running) = instance.phase else { return }
        switch consume event {
        case .received(let bytes): readinessReceived(bytes, instance, running)
        case .failed(let errno):
            // Nobody would ever hear that it is ready, and its clients would wait for that.
            startFailed(
                instance, ErrorMessage(EmbedError.fileSystem(operation: "read", path: "readiness", errno)))
            startLadder(instance, running)
        // What happens to other kinds of sources only, and what asks for nothing.
        default: break
        }
    }

    private mutating func readinessReceived(_ bytes: borrowing Buffer, _ instance: Instance, _ running: Running) {
        let message =
            store.installation.announcesReadiness
            ? bytes.withBytes { ReadinessMessage(parsing: $0) } : running.cluster.readiness()
        switch message {
        case .ready: becameReady(instance, running)
        case .status(let status): log.debug("instance: \(status)", metadata: metadata(instance))
        case .stopping, .ignored: break
        }
    }

    private mutating func becameReady(_ instance: Instance, _ running: Running) {
        do throws(EmbedError) {
            let socket = try running.cluster.takeSocket()
            switch instance.holder {
            case .tenant(let tenant): name(instance, running, socket, for: tenant)
            case .nobody: warm(instance, running, socket)
            }
        } catch {
            startFailed(instance, ErrorMessage(error))
            startLadder(instance, running)
        }
    }

    /// The database of a new cluster gets its tenant's name, and the first users become its roles.
    private mutating func name(
        _ instance: Instance, _ running: Running, _ socket: InstanceSocket, for tenant: TenantName
    ) {
        guard let claim = running.cluster.claim else { return serve(instance, running, socket) }
        instance.phase = .naming(running, socket)
        runNaming(claim, of: instance, for: tenant)
    }

    /// As if nothing of it had been done; where that fails, step by step.
    mutating func runNaming(_ claim: Claim, of instance: Instance, for tenant: TenantName) {
        let roles = users(waitingFor: tenant)
        let statement = Statement(
            purpose: .naming, text: RouterSQL.firstClaim(claim, roles: roles, privileges: store.privileges),
            otherwise: RouterSQL.claim(claim, roles: roles, privileges: store.privileges))
        run(statement, on: instance)
    }

    mutating func named(_ instance: Instance, _ result: Result<Void, ErrorMessage>) {
        switch (instance.phase, result) {
        case (.claiming(let running, let socket, .nothing), .success):
            instance.phase = .claiming(running, socket, .named)
        case (.claiming(let running, let socket, .nothing), .failure(let error)):
            startFailed(instance, error)
            instance.phase = .claiming(running, socket, .stop)
        case (.naming(let running, let socket), .success): claimEnded(instance, running, socket)
        case (.naming(let running, _), .failure(let error)):
            startFailed(instance, error)
            startLadder(instance, running)
        // It stops, or has stopped.
        case (.claiming, _), (.preparing, _), (.prepared, _), (.booting, _), (.warming, _), (.spare, _), (.serving, _),
            (.stopping, _):
            break
        }
    }

    /// Directory and database bear their names; the journal that says so is removed behind the client's back, because
    /// doing it again would change nothing.
    mutating func claimEnded(_ instance: Instance, _ running: Running, _ socket: InstanceSocket) {
        let (store, log, cluster, metadata) = (store, log, running.cluster, metadata(instance))
        workers.submit {
            do throws(EmbedError) {
                try store.finishClaim(cluster)
            } catch {
                log.warning("the claim's journal stays until the next boot: \(error.message)", metadata: metadata)
            }
        }
        serve(instance, running, socket)
    }

    /// Clients may enter.
    private mutating func serve(_ instance: Instance, _ running: Running, _ socket: InstanceSocket) {
        instance.phase = .serving(running, socket)
        if let tenant = instance.tenant {
            startFailures[tenant] = nil
            commons.opened(
                instance.id,
                Commons.Served(
                    socket: socket, tenant: tenant, connections: pool.connections(of: tenant)))
        }
        instance.bootTime = reactor.now - running.start.at
        noteStart(of: instance, running)
        var metadata = metadata(instance)
        metadata["pid"] = "\(running.processID)"
        metadata[running.start.kind.rawValue] = "\((reactor.now - running.start.at).inMilliseconds) ms"
        log.info("instance is ready", metadata: metadata)
        logSlowWake(instance, running)
        poolActions += pool.ready(instance.id, now: reactor.now)
    }

    /// A client waits for all of it: what was left of the last life, the directory, PostgreSQL's own recovery.
    private func logSlowWake(_ instance: Instance, _ running: Running) {
        // A spare was made in advance: its client has waited for the claim alone.
        let since =
            switch running.start.kind {
            case .boot: instance.wantedSince
            case .claim: running.start.at
            }
        let took = reactor.now - since
        guard took > Limits.longWait else { return }
        var metadata = metadata(instance)
        metadata["took"] = "\(took.inMilliseconds) ms"
        log.info("instance was slow to wake", metadata: metadata)
    }
}

// MARK: - Stopping

extension Router {
    private mutating func stop(_ id: InstanceID) {
        guard let instance = instances[id] else { return }
        instance.stopReason = stopReason(instance)
        switch instance.phase {
        case .booting(let running), .warming(let running, _), .spare(let running, _), .naming(let running, _),
            .serving(let running, _):
            startLadder(instance, running)
        case .claiming(let running, let socket, .nothing), .claiming(let running, let socket, .named):
            instance.phase = .claiming(running, socket, .stop)
        case .claiming, .preparing, .prepared, .stopping: break
        }
    }

    /// An instance that was asked whether it is idle has its reason already.
    private func stopReason(_ instance: Instance) -> Instance.StopReason {
        switch (lifetime, instance.phase) {
        case (.stopping, _), (.hurrying, _), (.closing, _): return .shutdown
        case (.serving, _): break
        }
        if let tenant = instance.tenant, operations.isStopping(tenant) { return .asked }
        return switch instance.phase {
        case .booting, .naming, .claiming: .bootTimeout
        case .preparing, .prepared, .warming, .spare, .serving, .stopping: instance.stopReason ?? .evicted
        }
    }

    /// The router's own connection first: PostgreSQL would wait for it.
    mutating func startLadder(_ instance: Instance, _ running: Running) {
        instance.phase = .stopping(running, StopLadder())
        commons.closed(instance.id)
        failStatements(of: instance, because: .instanceStopped(instance.name))
        orderAll(.discardBackends(of: instance.id))
        switch lifetime {
        case .stopping: if stopQueue.enter(instance.id) { descend(instance) }
        case .serving, .hurrying, .closing: descend(instance)
        }
    }

    /// The first rung.
    private mutating func descend(_ instance: Instance) {
        guard case .stopping(let running, var ladder) = instance.phase else { return }
        let step = ladder.begin(now: reactor.now, speed: isHurried ? .hurried : .orderly)
        instance.phase = .stopping(running, ladder)
        take(step, instance, running)
    }

    private mutating func take(_ step: StopLadder.Step, _ instance: Instance, _ running: Running) {
        reactor.signal(step.signal, process: running.process)
        arm(running, instance.id, at: step.deadline)
    }

    /// Somebody lost patience.
    mutating func hurryInstances() {
        stopQueue.hurry()
        for instance in instances.values {
            guard case .stopping(let running, var ladder) = instance.phase, let step = ladder.hurry(now: reactor.now)
            else {
                continue
            }
            instance.phase = .stopping(running, ladder)
            take(step, instance, running)
        }
    }

    mutating func instanceDeadlineExpired(_ id: InstanceID) {
        guard let instance = instances[id], let running = instance.running else { return }
        running.deadline = nil
        guard case .stopping(_, var ladder) = instance.phase else { return }
        let step = ladder.expired(now: reactor.now)
        instance.phase = .stopping(running, ladder)
        log.warning("instance does not stop: sending signal \(step.signal)", metadata: metadata(instance))
        take(step, instance, running)
    }

    /// The postmaster has exited and is reaped.
    mutating func process(_ id: InstanceID, _ event: consuming Event) {
        guard case .exited(let status) = consume event, let instance = instances[id], let running = instance.running
        else {
            return
        }
        reactor.close(running.process)
        reactor.close(running.readiness)
        disarm(running)
        if case .claiming(_, let socket, _) = instance.phase {
            instance.phase = .claiming(running, socket, .exited(status))
        } else {
            ended(instance, running, status)
        }
    }

    /// Nobody uses the directory of an exited postmaster any more.
    mutating func ended(_ instance: Instance, _ running: Running, _ status: ExitStatus) {
        logExit(instance, running, status)
        failStatements(of: instance, because: .instanceStopped(instance.name))
        retire(instance, running.cluster)
        orderAll(.discardBackends(of: instance.id))
        poolActions += pool.exited(instance.id, now: reactor.now)
        if let next = stopQueue.left(instance.id).flatMap({ instances[$0] }) { descend(next) }
        failQueries(of: instance)
        if let tenant = instance.tenant { hibernated(tenant) }
    }

    private mutating func logExit(_ instance: Instance, _ running: Running, _ status: ExitStatus) {
        var metadata = metadata(instance)
        metadata["status"] = "\(status)"
        switch instance.phase {
        case .stopping:
            metadata["reason"] = instance.stopReason.map { "\($0.rawValue)" }
            if let reason = instance.stopReason { metrics.stopped(reason) }
            log.log(level: instance.tenant == nil ? .debug : .info, "instance has stopped", metadata: metadata)
        case .booting, .naming, .claiming: startFailed(instance, bootFailure(instance, running))
        case .serving, .warming, .spare:
            if let line = running.cluster.log.lastLine() { metadata["log"] = "\(line)" }
            log.error("instance died", metadata: metadata)
            metrics.died()
        case .preparing, .prepared: break
        }
    }

    private func bootFailure(_ instance: Instance, _ running: Running) -> ErrorMessage {
        .bootFailed(
            instance.name, lastLine: running.cluster.log.lastLine(), log: running.cluster.log.path,
            baseDirectory: store.baseDirectory)
    }

    /// What is left of an instance is looked after by a worker; only then is its directory touched again.
    mutating func retire(_ instance: Instance, _ cluster: PreparedCluster) {
        instances[instance.id] = nil
        commons.closed(instance.id)
        let (store, mailbox) = (store, mailbox)
        switch instance.holder {
        case .tenant(let tenant):
            retiring[tenant] = .rest
            workers.submit {
                store.retire(cluster)
                mailbox.post(.retired(tenant))
            }
        case .nobody: workers.submit { store.discard(cluster) }
        }
    }

    mutating func retired(_ tenant: TenantName) {
        switch retiring.removeValue(forKey: tenant) {
        case .rest, nil: break
        case .prepare(let id): submitPreparation(id, tenant, mayCreate: false)
        case .remove: submitRemoval(tenant)
        }
    }

    /// The instance is gone, or about to be. Established sessions hear it from their backends (PostgreSQL sends `57P01`
    /// itself where it still can); those that are being connected hear it here.
    private mutating func terminateSessions(of id: InstanceID) {
        orderAll(.instanceStopped(id))
    }

    private mutating func arm(_ running: Running, _ id: InstanceID, at time: Duration) {
        disarm(running)
        running.deadline = reactor.deadline(at: time, owner: Owner(.instanceDeadline, id).raw)
    }

    private mutating func disarm(_ running: Running) {
        if let deadline = running.deadline { reactor.cancel(deadline: deadline) }
        running.deadline = nil
    }
}

extension Router {
    func metadata(_ instance: Instance) -> Logger.Metadata { ["tenant": "\(instance.name)"] }
}

extension Error {
    /// What a client is told of it.
    fileprivate var clientMessage: ErrorMessage {
        switch self {
        case let error as EmbedError: ErrorMessage(error)
        case let error as ReactorError: .outOfDescriptors("\(error)")
        default: .outOfDescriptors("\(self)")
        }
    }
}
