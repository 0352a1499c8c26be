import Logging
import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

// What the lanes report, and what they are told. The centre's own lane is called, the others get mail.

/// Something that every lane is asked: they answer one by one.
struct Inquiry {
    var missing: Int
    var view = LaneView()
    let done: (inout Router, LaneView) -> Void
}

extension Router {
    mutating func order(_ order: LaneOrder, lane index: Int) {
        guard index == lane.index else { return distantLanes[index - 1].orders.post(order) }
        lane.perform(order)
        hearLane()
    }

    mutating func orderAll(_ order: LaneOrder) {
        for distant in distantLanes { distant.orders.post(order) }
        self.order(order, lane: lane.index)
    }

    /// What the centre's own lane has to report. What comes of one report may bring more, which are heard in turn.
    mutating func hearLane() {
        guard lane.hasReports, !isHearing else { return }
        isHearing = true
        while lane.hasReports { hear(lane.takeReports()) }
        isHearing = false
    }

    mutating func hear(_ reports: [LaneReport]) {
        for report in reports { hear(report) }
    }

    private mutating func hear(_ report: LaneReport) {
        switch report {
        case .leaseRequested(let session, let tenant, let user):
            applicants[session.waiter] = Applicant(tenant: tenant, user: user)
            requestLease(session.waiter, for: tenant)
        case .waiterLeft(let session):
            applicants[session.waiter] = nil
            withdrawLease(session.waiter)
        case .leaseReturned(let instance): returnLease(of: instance)
        case .roleWanted(let session, let user, let instance): createRole(user, for: session, of: instance)
        case .waitsLong(let session, let tenant): explainWait(session, tenant)
        case .command(let command, let client): perform(command, for: client)
        case .answered(let number, let view): answered(number, view)
        case .backendsOutdated(let instance): orderAll(.dismissOutdatedBackends(of: instance))
        case .crowded(let instance): orderAll(.dismissExcessBackends(of: instance))
        case .placeFreed: connectQueries()
        // The tick looks whether that was the last.
        case .emptied: break
        }
    }
}

// MARK: - Clients that wait

extension Router {
    /// A client that waits for a lease.
    struct Applicant {
        let tenant: TenantName
        let user: String
    }

    /// The pool's answer is yes.
    mutating func granted(_ waiter: WaiterID, _ instance: InstanceID) {
        noteLeases(of: instance)
        if let asker = operations.askers.removeValue(forKey: waiter) { return asker.answer(&self, .success(instance)) }
        applicants[waiter] = nil
        let session = SessionID(waiter)
        order(.granted(session.token, instance), lane: session.lane)
    }

    /// Kept backends must not be in the way of leases.
    func noteLeases(of instance: InstanceID) {
        guard let tenant = instances[instance]?.tenant else { return }
        commons.note(leases: pool.leases(of: tenant), of: instance)
    }

    /// Whether a lease of the centre's own can have its connection; see `Lane.makeRoom`.
    mutating func makeRoom(in instance: InstanceID) -> Bool {
        guard commons.excess(of: instance) > 0 else { return true }
        orderAll(.dismissExcessBackends(of: instance))
        return false
    }

    /// The pool's answer is no.
    mutating func refused(_ waiter: WaiterID, _ refusal: PoolRefusal) {
        if let asker = operations.askers.removeValue(forKey: waiter) { return refuse(asker, refusal) }
        guard let applicant = applicants.removeValue(forKey: waiter) else { return }
        let session = SessionID(waiter)
        let error = ErrorMessage.refusal(
            refusal, tenant: applicant.tenant, limits: limits, failure: startFailures[applicant.tenant])
        order(.refused(session.token, error), lane: session.lane)
    }

    /// Whoever waits gets another answer than the pool's.
    mutating func refused(_ waiter: WaiterID, because error: ErrorMessage) {
        if let asker = operations.askers.removeValue(forKey: waiter) { return asker.answer(&self, .failure(error)) }
        guard applicants.removeValue(forKey: waiter) != nil else { return }
        let session = SessionID(waiter)
        order(.refused(session.token, error), lane: session.lane)
    }

    /// The users that are to be roles before the first of them enters.
    func users(waitingFor tenant: TenantName) -> [String] {
        let users = Set(applicants.values.filter { $0.tenant == tenant }.map(\.user))
        return users.sorted().prefix(Limits.rolesOfAClaim).map(\.self)
    }

    private mutating func explainWait(_ session: SessionID, _ tenant: TenantName) {
        let notice =
            pauses.holds(tenant)
            ? .waitingForResume(tenant)
            : pool.limit(holding: tenant).map { ErrorMessage.waiting(for: $0, tenant: tenant, limits: limits) }
        if let notice { order(.waitExplained(session.token, notice), lane: session.lane) }
    }

    /// The role that a client needs has been looked after, for better or worse.
    mutating func roleSettled(_ session: SessionID, _ result: Result<Void, ErrorMessage>, of id: InstanceID) {
        let outcome: RoleOutcome =
            switch result {
            case .success: .created
            case .failure where instances[id]?.socket == nil: .instanceStopped
            case .failure(let error): .failed(error)
            }
        order(.roleSettled(session.token, outcome), lane: session.lane)
    }
}

// MARK: - All lanes

extension Router {
    /// Calls back when the last lane has answered: at once where there is one.
    mutating func ask(_ question: LaneQuestion, _ done: @escaping (inout Router, LaneView) -> Void) {
        lastInquiry += 1
        inquiries[lastInquiry] = Inquiry(missing: distantLanes.count + 1, done: done)
        orderAll(.ask(lastInquiry, question))
    }

    private mutating func answered(_ number: UInt64, _ view: LaneView) {
        guard var inquiry = inquiries[number] else { return }
        inquiry.view.add(view)
        inquiry.missing -= 1
        inquiries[number] = inquiry.missing > 0 ? inquiry : nil
        guard inquiry.missing == 0 else { return }
        // In the order in which they came, where slots do not tell.
        if !distantLanes.isEmpty { inquiry.view.sessions.sort { $0.number < $1.number } }
        inquiry.done(&self, inquiry.view)
    }

    /// Prints a tenant's messages from now on, or no longer; sessions that are under way included.
    mutating func inspect(_ tenant: TenantName, isOn: Bool) { orderAll(.inspect(tenant, isOn: isOn)) }
}

extension ConsoleTopic {
    /// What the lanes have to be asked for it; nil where the centre knows all.
    var question: LaneQuestion? {
        switch self {
        case .clients, .servers: .sessions(.full)
        case .queue, .pools, .users, .lists: .sessions(.plain)
        case .stats, .statsTotals, .statsAverages: .traffic(.all)
        case .totals: .traffic(.total)
        case .mem: .memory
        case .help, .version, .router, .tenants, .sizes, .instances, .databases, .config, .state: nil
        }
    }
}
