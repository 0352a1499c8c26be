import Logging
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// Directories of tenants: found, checked or made by a worker, before a postmaster is spawned in them.

extension Router {
    mutating func prepare(_ id: InstanceID, _ tenant: TenantName) {
        instances[id] = Instance(id: id, holder: .tenant(tenant), wantedSince: reactor.now)
        if retiring[tenant] != nil {
            retiring[tenant] = .prepare(id)
        } else {
            submitPreparation(id, tenant, mayCreate: false)
        }
    }

    func submitPreparation(_ id: InstanceID, _ tenant: TenantName, mayCreate: Bool) {
        let (store, mailbox, isStopping) = (store, mailbox, isStopping)
        workers.submit {
            // A directory that nobody will use any more is not made.
            guard !isStopping.isRaised else {
                return mailbox.post(.prepared(id, .failure(.absent(databaseName: tenant.string))))
            }
            mailbox.post(
                .prepared(
                    id,
                    Result { () throws(EmbedError) in
                        try store.prepare(
                            directoryName: tenant.directoryName, databaseName: tenant.string, mayCreate: mayCreate)
                    }))
        }
    }

    mutating func prepared(_ id: InstanceID, _ result: Result<PreparedCluster, EmbedError>) {
        guard let instance = instances[id], let tenant = instance.tenant else { return }
        switch result {
        case .success(let cluster):
            if cluster.created { announceCreation(of: tenant) }
            instance.phase = .prepared(cluster)
            let actions = pool.prepared(id, now: reactor.now)
            poolActions += actions
            // Without a boot nobody wants it any more: the router is stopping.
            if !actions.contains(.boot(id)) { retire(instance, cluster) }
        case .failure(.absent) where configuration.autoProvision && !isStopping.isRaised:
            let actions = pool.tenantIsNew(id, now: reactor.now)
            poolActions += actions
            if !actions.contains(.create(id, tenant)) { instances[id] = nil }
        case .failure(let error):
            instances[id] = nil
            startFailed(instance, ErrorMessage(error))
            poolActions += pool.prepareFailed(id, error.prepareFailure, now: reactor.now)
        }
    }

    /// The first session is told too, in whichever life of the instance that is: the first boot may fail.
    func announceCreation(of tenant: TenantName) {
        log.info("created new database", metadata: ["tenant": "\(tenant)"])
        commons.announce(tenant)
    }

    mutating func startFailed(_ instance: Instance, _ error: ErrorMessage) {
        guard error.sqlState != .invalidCatalogName else { return }
        metrics.startFailed()
        let reasons = [error.message, error.detail].compactMap(\.self).joined(separator: "; ")
        switch instance.holder {
        case .tenant(let tenant):
            startFailures[tenant] = error
            log.error("cannot start: \(reasons)", metadata: metadata(instance))
        // New names take longer without, and nobody is refused.
        case .nobody: log.warning("cannot keep a spare: \(reasons)")
        }
    }
}

extension EmbedError {
    /// What the pool makes of it.
    var prepareFailure: PrepareFailure {
        if case .absent = self { return .absent }
        return isRetryable ? .retryable : .permanent
    }
}
