import Glibc
import Reactor
import TenantPool
import TestSupport
import Testing
import WireProtocol

@testable import TenantRouter

/// What a lane reports of its sessions, and what it does on orders, without a centre.
@Suite struct LaneTests {
    /// A lane's client: the other end of a socket.
    private struct Client: ~Copyable {
        let end: CInt

        deinit { close(end) }

        func say(_ bytes: [UInt8]) { #expect(unsafe write(end, bytes, bytes.count) == bytes.count) }

        /// What has come for it; empty at the end of the stream as well.
        func heard() -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = unsafe recv(end, &bytes, bytes.count, CInt(MSG_DONTWAIT))
            return count > 0 ? Array(bytes[..<count]) : []
        }
    }

    private static let startup = Frontend.startupMessage(user: "ann", database: "shop")

    private static func lane(maxClients: Int = 10) throws -> Lane {
        Lane(
            2, RouterConfiguration(), greeter: .init(postgresVersion: "15", controlToken: "secret"),
            commons: Commons(lanes: 3, maxClients: maxClients), reactor: try Reactor(engine: .epoll))
    }

    private static func client(of lane: inout Lane, number: UInt64 = 1) throws -> Client {
        var ends: [CInt] = [-1, -1]
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        try #require(unsafe socketpair(AF_UNIX, type, 0, &ends) == 0)
        _ = lane.commons.enter()
        lane.perform(.accepted(ends[0], .clients, number: number))
        return Client(end: ends[1])
    }

    /// Ticks until it has something to report, and takes that.
    private static func reports(of lane: inout Lane, _ count: Int = 1) -> [LaneReport] {
        var reports: [LaneReport] = []
        let alarm = lane.reactor.deadline(at: lane.reactor.now + .seconds(5), owner: 0)
        var isLate = false
        while reports.count < count, !isLate {
            lane.tick { _ in isLate = true }
            reports += lane.takeReports()
        }
        #expect(!isLate)
        lane.reactor.cancel(deadline: alarm)
        return reports
    }

    /// A session that waits for its lease.
    private static func waiting(_ lane: inout Lane, _ client: borrowing Client) throws -> SessionID {
        client.say(startup)
        guard case .leaseRequested(let session, let tenant, user: "ann") = reports(of: &lane).first else {
            throw Unexpected.report
        }
        #expect(tenant.string == "shop" && session.lane == 2)
        return session
    }

    private enum Unexpected: Error { case report }

    @Test func aClientWantsALease() throws {
        var lane = try Self.lane()
        let client = try Self.client(of: &lane)
        let session = try Self.waiting(&lane, client)
        #expect(lane.commons.counts.admitted == 1)
        #expect(SessionID(session.waiter) == session)
    }

    @Test func aRefusalIsRead() throws {
        var lane = try Self.lane()
        let client = try Self.client(of: &lane)
        let session = try Self.waiting(&lane, client)
        let error = ErrorMessage(.tooManyConnections, "no")
        lane.perform(.refused(session.token, error))
        #expect(client.heard() == error.errorResponse())
        lane.perform(.refused(session.token, error))
        #expect(client.heard() == [], "an answer is heard once")
    }

    /// The client had gone when the pool said yes: whoever does not want the lease returns it.
    @Test func aLeaseThatComesTooLateGoesBack() throws {
        var lane = try Self.lane()
        let session = try Self.leftWhileWaiting(&lane)
        #expect(lane.takeReports().isEmpty)
        lane.perform(.granted(session.token, InstanceID(7)))
        guard case .leaseReturned(InstanceID(7)) = lane.takeReports().first else { throw Unexpected.report }
    }

    private static func leftWhileWaiting(_ lane: inout Lane) throws -> SessionID {
        let client = try client(of: &lane)
        let session = try waiting(&lane, client)
        _ = consume client
        guard case .waiterLeft(session) = reports(of: &lane).first else { throw Unexpected.report }
        return session
    }

    /// It stopped between the pool's decision and the order: nobody can connect, and the client waits once more.
    @Test func anInstanceThatIsGoneSendsTheClientBackToTheQueue() throws {
        var lane = try Self.lane()
        let client = try Self.client(of: &lane)
        let session = try Self.waiting(&lane, client)
        lane.perform(.granted(session.token, InstanceID(7)))
        let reports = lane.takeReports()
        guard reports.count == 2, case .leaseReturned(InstanceID(7)) = reports[0],
            case .leaseRequested(session, _, user: "ann") = reports[1]
        else { throw Unexpected.report }
    }

    @Test func sessionsAreListed() throws {
        var lane = try Self.lane()
        let waiting = try Self.client(of: &lane, number: 11)
        _ = try Self.waiting(&lane, waiting)
        let silent = try Self.client(of: &lane, number: 12)
        lane.perform(.ask(4, .sessions(.full)))
        guard case .answered(4, let view) = lane.takeReports().first else { throw Unexpected.report }
        let sessions = view.sessions
        #expect(sessions.map(\.number) == [11, 12])
        #expect(sessions.map(\.state) == [.waiting, .login])
        #expect(sessions.map(\.tenant) == ["shop", ""])
        #expect(sessions.allSatisfy { $0.session.lane == 2 && $0.serverState == nil })
        #expect(silent.heard() == [])
    }

    @Test func aKilledClientLeavesTheQueueWithAWord() throws {
        var lane = try Self.lane()
        let client = try Self.client(of: &lane)
        let session = try Self.waiting(&lane, client)
        lane.perform(.kill(session.token))
        #expect(client.heard() == ErrorMessage.killed.errorResponse())
        guard case .waiterLeft(session) = lane.takeReports().first else { throw Unexpected.report }
        lane.perform(.kill(session.token))
        #expect(lane.takeReports().isEmpty)
    }

    @Test func theLongestSilentClientMakesRoom() throws {
        var lane = try Self.lane()
        let first = try Self.client(of: &lane)
        let second = try Self.client(of: &lane, number: 2)
        lane.perform(.dropSilentClient)
        lane.perform(.close)
        guard case .emptied = Self.reports(of: &lane).first else { throw Unexpected.report }
        #expect(lane.commons.counts.sessions == 0)
        #expect(first.heard() == [] && second.heard() == [])
    }

    @Test func theConsolesCommandsAreTheCentres() throws {
        var lane = try Self.lane()
        let client = try Self.client(of: &lane)
        client.say(
            Frontend.startupMessage(user: "ann", database: "routerd") + frame("Q", Array("SHOW VERSION\0".utf8)))
        guard case .command(_, let console) = Self.reports(of: &lane).first else { throw Unexpected.report }
        #expect(console.session.lane == 2)
    }
}

@Suite struct SessionIDTests {
    @Test func everySessionSurvivesTheWord() {
        for lane in 0..<Limits.workers {
            for slot: UInt64 in [0, 1, 1 << 28 - 1] {
                for generation: UInt64 in [1, 0x7fff_ffff, 0xffff_ffff] {
                    let token = Token(raw: generation << 32 | slot)
                    let session = SessionID(token, lane: lane)
                    #expect(session.lane == lane && session.token == token)
                    #expect(SessionID(session.waiter) == session)
                }
            }
        }
    }

    /// They are told apart by one bit mask.
    @Test func theMostWorkersAreAPowerOfTwo() { #expect(Limits.workers & (Limits.workers - 1) == 0) }
}
