import Logging
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// What an operator asks of a tenant. Each is answered once, when it is done, on the reactor's thread.

extension Router {
    typealias Answer<Value> = (inout Router, Result<Value, ErrorMessage>) -> Void

    /// Who waits for what.
    struct Operations {
        var droppers: [TenantName: [Answer<Bool>]] = [:]
        var hibernators: [TenantName: [Answer<Bool>]] = [:]
        var askers: [WaiterID: Asker] = [:]
        /// Counts down, where sessions' tokens never are.
        var lastWaiter = UInt64.max
        var sweeping = Sweeping.idle
        /// When the last sweep began.
        var sweptAt = Duration.zero

        func isStopping(_ tenant: TenantName) -> Bool { droppers[tenant] != nil || hibernators[tenant] != nil }
    }

    /// Somebody who is no session and waits for a lease.
    struct Asker {
        let tenant: TenantName
        let patience: Duration
        let answer: Answer<InstanceID>
    }

    /// One worker at most deletes old trees: the others are for clients that wait.
    enum Sweeping {
        case idle
        case running
        /// Something has come that the present one may not see.
        case runningAndWanted
    }

    /// Ends the tenant's sessions, stops its instance and deletes its data. False where there was none.
    mutating func drop(_ tenant: TenantName, _ answer: @escaping Answer<Bool>) {
        guard case .serving = lifetime else { return answer(&self, .failure(.shuttingDown)) }
        operations.droppers[tenant, default: []].append(answer)
        poolActions += pool.dropRequested(tenant, now: reactor.now)
    }

    /// Ends the tenant's sessions and stops its instance; whoever connects wakes it. False where none ran.
    mutating func hibernate(_ tenant: TenantName, _ answer: @escaping Answer<Bool>) {
        switch pool.state(of: tenant) {
        case .cold, .queued, .provisioning, .failed, .dropping: answer(&self, .success(false))
        case .booting, .claiming, .ready, .draining, .hibernating:
            operations.hibernators[tenant, default: []].append(answer)
            poolActions += pool.stopRequested(tenant, now: reactor.now)
        }
    }

    /// Has the tenant's instance running, as a client's connect would.
    mutating func wake(_ tenant: TenantName, _ answer: @escaping Answer<Void>) {
        lease(tenant, patience: limits.queueTimeout) { router, result in
            if case .success(let instance) = result { router.returnLease(of: instance) }
            answer(&router, result.map { _ in })
        }
    }

    /// The same, and keeps it running until the lease is returned.
    @discardableResult
    mutating func lease(
        _ tenant: TenantName, patience: Duration, _ answer: @escaping Answer<InstanceID>
    ) -> WaiterID {
        let waiter = WaiterID(operations.lastWaiter)
        operations.lastWaiter -= 1
        operations.askers[waiter] = Asker(tenant: tenant, patience: patience, answer: answer)
        requestLease(waiter, for: tenant, patience: patience)
        return waiter
    }

    /// Whoever asked for the lease does not want it any more, and is not answered.
    mutating func withdraw(_ waiter: WaiterID) {
        operations.askers[waiter] = nil
        withdrawLease(waiter)
    }

    /// Whoever held it has gone, and so has the backend.
    mutating func returnLease(of instance: InstanceID) {
        poolActions += pool.leaseReturned(instance, now: reactor.now)
        noteLeases(of: instance)
        pauses.leaseReturned()
        // A kept backend may have taken over the lease that a statement waited for.
        connectQueries()
    }
}

// MARK: - Done

extension Router {
    /// The tenant's instance is gone.
    mutating func hibernated(_ tenant: TenantName) {
        for answer in operations.hibernators.removeValue(forKey: tenant) ?? [] { answer(&self, .success(true)) }
    }

    mutating func refuse(_ asker: Asker, _ refusal: PoolRefusal) {
        var limits = limits
        limits.queueTimeout = asker.patience
        asker.answer(
            &self,
            .failure(
                .refusal(refusal, tenant: asker.tenant, limits: limits, failure: startFailures[asker.tenant])))
    }

    /// No instance uses the directory; what is left of the last one may still be looked after.
    mutating func remove(_ tenant: TenantName) {
        if retiring[tenant] != nil {
            retiring[tenant] = .remove
        } else {
            submitRemoval(tenant)
        }
    }

    func submitRemoval(_ tenant: TenantName) {
        let (store, mailbox) = (store, mailbox)
        workers.submit {
            mailbox.post(
                .removed(
                    tenant, Result { () throws(EmbedError) in try store.drop(directoryName: tenant.directoryName) }))
        }
    }

    /// The directory is out of sight; its files go behind the asker's back.
    mutating func removed(_ tenant: TenantName, _ result: Result<Bool, EmbedError>) {
        switch result {
        case .success(true):
            log.info("database dropped", metadata: ["tenant": "\(tenant)"])
            forgetTraffic(of: tenant)
            commons.enable(tenant)
            forgetPause(of: tenant)
            sweep()
        case .success(false): break
        case .failure(let error):
            log.error("cannot drop: \(error.message)", metadata: ["tenant": "\(tenant)"])
        }
        poolActions += pool.removed(tenant, now: reactor.now)
        for answer in operations.droppers.removeValue(forKey: tenant) ?? [] {
            answer(&self, result.mapError { ErrorMessage($0) })
        }
    }

    /// Deletes what earlier runs, drops and failures have left.
    mutating func sweep() {
        switch operations.sweeping {
        case .idle:
            operations.sweeping = .running
            operations.sweptAt = reactor.now
            let (store, mailbox, isStopping) = (store, mailbox, isStopping)
            workers.submit {
                store.sweep { isStopping.isRaised }
                mailbox.post(.swept)
            }
        case .running, .runningAndWanted: operations.sweeping = .runningAndWanted
        }
    }

    mutating func swept() {
        let wasWanted = operations.sweeping == .runningAndWanted
        operations.sweeping = .idle
        if wasWanted { sweep() }
    }
}
