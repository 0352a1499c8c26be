import Logging
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// Clusters that are ready before anybody has asked for them, and how one becomes a tenant's.

extension Router {
    mutating func prepareSpare(_ id: InstanceID) {
        instances[id] = Instance(id: id, holder: .nobody, wantedSince: reactor.now)
        let (store, mailbox) = (store, mailbox)
        workers.submit {
            mailbox.post(.sparePrepared(id, Result { () throws(EmbedError) in try store.prepareSpare() }))
        }
    }

    mutating func sparePrepared(_ id: InstanceID, _ result: Result<PreparedCluster, EmbedError>) {
        guard let instance = instances[id] else { return }
        switch result {
        case .success(let cluster):
            instance.phase = .prepared(cluster)
            let actions = pool.sparePrepared(id, now: reactor.now)
            poolActions += actions
            // Without a boot its slot is wanted for somebody.
            if !actions.contains(.boot(id)) { retire(instance, cluster) }
        case .failure(let error):
            instances[id] = nil
            startFailed(instance, ErrorMessage(error))
            poolActions += pool.spareFailed(id, now: reactor.now)
        }
    }

    /// The first connection to a database builds what all later ones read: the clients' first, then the router's own,
    /// which stays, because a backend and its caches are most of what a claim would wait for.
    mutating func warm(_ instance: Instance, _ running: Running, _ socket: InstanceSocket) {
        instance.phase = .warming(running, socket)
        run(Statement(purpose: .warming, text: RouterSQL.warming), on: instance)
    }

    mutating func warmed(_ instance: Instance, _ result: Result<Void, ErrorMessage>) {
        guard case .warming = instance.phase else { return }
        switch result {
        case .success:
            run(Statement(purpose: .rehearsal, text: RouterSQL.rehearsal(privileges: store.privileges)), on: instance)
        case .failure: rehearsed(instance, result)
        }
    }

    mutating func rehearsed(_ instance: Instance, _ result: Result<Void, ErrorMessage>) {
        guard case .warming(let running, let socket) = instance.phase else { return }
        switch result {
        case .success:
            instance.phase = .spare(running, socket)
            log.debug("a spare is ready", metadata: ["pid": "\(running.processID)"])
            poolActions += pool.ready(instance.id, now: reactor.now)
        case .failure(let error):
            startFailed(instance, error)
            startLadder(instance, running)
        }
    }
}

// MARK: - Claiming

extension Router {
    /// The spare's directory gets the tenant's name, journalled, on a worker's time, and at the same time its database
    /// does. Clients enter when both are done: until then nobody has been promised anything, and a spare without a
    /// journal is nobody's, whatever its database is called.
    mutating func claim(_ id: InstanceID, for tenant: TenantName, insteadOf provisional: InstanceID) {
        instances[provisional] = nil
        guard let instance = instances[id], case .spare(let running, let socket) = instance.phase else { return }
        instance.claimed(by: tenant)
        instance.phase = .claiming(running, socket, .nothing)
        running.start = (.claim, reactor.now)
        let claim = Claim(ofSpareFor: tenant.string, directoryName: tenant.directoryName)
        let (store, mailbox, spare) = (store, mailbox, running.cluster)
        workers.submit {
            mailbox.post(.journaled(id, Result { () throws(EmbedError) in try store.claim(spare, by: claim) }))
        }
        runNaming(claim, of: instance, for: tenant)
    }

    mutating func journaled(_ id: InstanceID, _ result: Result<PreparedCluster, EmbedError>) {
        guard let instance = instances[id], case .claiming(let running, let socket, let meanwhile) = instance.phase
        else { return }
        switch result {
        case .success(let cluster):
            running.cluster = cluster
            if let tenant = instance.tenant { announceCreation(of: tenant) }
        case .failure(let error):
            startFailed(instance, ErrorMessage(error))
            if let tenant = instance.tenant { hibernated(tenant) }
            instance.claimFailed()
        }
        switch (meanwhile, instance.tenant) {
        case (.exited(let status), _): ended(instance, running, status)
        case (.stop, _), (.nothing, nil), (.named, nil): startLadder(instance, running)
        case (.nothing, _?): instance.phase = .naming(running, socket)
        case (.named, _?): claimEnded(instance, running, socket)
        }
    }
}

// MARK: - Asking

extension Router {
    /// Clients are not all that may use an instance: a subscription, a vacuum, a worker of an extension.
    mutating func ask(_ id: InstanceID) {
        guard let instance = instances[id], case .serving = instance.phase else { return }
        instance.stopReason = pool.lacksRoom ? .evicted : .idle
        run(Statement(purpose: .occupancy, text: RouterSQL.isOccupied), on: instance)
    }

    /// A failure says nothing of the instance at first: the router may be short of descriptors, the disk slow. One that
    /// never answers is of no use to anybody.
    mutating func occupancyTold(_ instance: Instance, _ result: Result<[AnswerRow], ErrorMessage>) {
        guard case .serving = instance.phase else { return }
        switch result {
        case .success(let rows) where rows.first?.values != ["t"]:
            poolActions += pool.isIdle(instance.id, now: reactor.now)
        case .failure where instance.unansweredQuestions >= Limits.unansweredQuestions:
            poolActions += pool.isIdle(instance.id, now: reactor.now)
        case .success:
            instance.unansweredQuestions = 0
            log.debug("instance stays: something is at work in it", metadata: metadata(instance))
            poolActions += pool.isOccupied(instance.id, now: reactor.now)
        case .failure:
            instance.unansweredQuestions += 1
            poolActions += pool.isOccupied(instance.id, now: reactor.now)
        }
    }
}
