import TenantPool
import TestSupport
import Testing
import WireProtocol

@testable import TenantRouter

/// What a session counts while it relays.
@Suite struct TrafficTests {
    /// Inside a transaction block, and in one that has failed.
    private static let inBlock = frame("Z", [UInt8(ascii: "T")])
    private static let failed = frame("Z", [UInt8(ascii: "E")])

    @Test func aFreshSessionHasCountedNothing() {
        #expect(Session.fresh.meter.traffic == Traffic())
        // The ReadyForQuery of its startup answers no query.
        #expect(Situation.relaying.session.meter.traffic == Traffic(sessions: 1))
    }

    @Test func bytesMessagesAndQueries() {
        var session = Situation.relaying.session
        _ = session.frontendReceived(Says.query + Says.query)
        _ = session.backendReceived(Says.done + Says.ready + Says.done + Says.ready)
        let traffic = session.takeTraffic()
        #expect(traffic.bytesFromFrontends == UInt64(2 * Says.query.count))
        #expect(traffic.bytesFromBackends == UInt64(2 * (Says.done.count + Says.ready.count)))
        #expect([traffic.messagesFromFrontends, traffic.messagesFromBackends] == [2, 4])
        #expect([traffic.queries, traffic.transactions] == [2, 2])
        #expect(session.takeTraffic() == Traffic(), "taken twice")
    }

    @Test func aTransactionBlockIsOneTransaction() {
        var session = Situation.relaying.session
        for status in [Self.inBlock, Self.inBlock, Self.failed, Says.ready] {
            _ = session.frontendReceived(Says.query)
            _ = session.backendReceived(Says.done + status)
        }
        #expect([session.meter.traffic.queries, session.meter.traffic.transactions] == [4, 1])
    }

    /// The status of a ReadyForQuery came with the next chunk, and the transaction was not counted.
    @Test func whereverTheBytesAreCut() {
        let said = Says.done + Self.inBlock + Says.done + Says.ready + Says.done + Says.ready
        for chunks in eachCut(said) + [said.map { [$0] }] {
            var session = Situation.relaying.session
            for chunk in chunks { _ = session.backendReceived(chunk) }
            let traffic = session.meter.traffic
            #expect([traffic.queries, traffic.transactions, traffic.messagesFromBackends] == [3, 2, 6])
            #expect(traffic.bytesFromBackends == UInt64(said.count))
        }
    }

    /// Asked at 100 and 300, answered at 150 and 450: the pause of 150 between is the transaction's alone.
    @Test func times() {
        var session = Situation.relaying.session
        _ = session.frontendReceived(Says.query, now: 100)
        // More of the same question.
        _ = session.frontendReceived(Says.query, now: 120)
        _ = session.backendReceived(Says.done, now: 140)
        _ = session.backendReceived(Self.inBlock, now: 150)
        _ = session.frontendReceived(Says.query, now: 300)
        _ = session.backendReceived(Says.done + Says.ready, now: 450)
        #expect(session.meter.traffic.queryTime == 50 + 150)
        #expect(session.meter.traffic.transactionTime == 350)
        // What nobody asked for takes no time.
        _ = session.backendReceived(Says.ready, now: 900)
        #expect(session.meter.traffic.queryTime == 200)
    }

    @Test func whatTheBackendAnswersAfterTheClientHasFinished() {
        var session = Situation.relaying.session
        _ = session.frontendReceived(Says.query)
        _ = session.frontendEnded()
        _ = session.backendReceived(Says.done + Says.ready)
        #expect(session.meter.traffic.queries == 1)
    }

    private func name(_ string: String) throws -> TenantName { try TenantName(string) }

    @Test func theLedgerForgetsTenantsButNotWhatTheyDid() throws {
        var ledger = TrafficLedger()
        ledger.add(Traffic(sessions: 1, queries: 5), of: "a")
        ledger.add(Traffic(sessions: 1, queries: 2), of: "a")
        ledger.add(Traffic(sessions: 1, queries: 1), of: "b")
        ledger.add(Traffic(), of: "c")
        #expect(try ledger.databases.mapValues(\.queries) == [name("a"): 7, name("b"): 1])
        ledger.forget(try name("a"))
        #expect(try ledger.databases.mapValues(\.queries) == [name("b"): 1])
        #expect(ledger.total == Traffic(sessions: 3, queries: 8))
    }

    /// A look at ten thousand tenants for the figures of one, or for the sum.
    @Test func theLedgerCanBeNarrowed() throws {
        var ledger = TrafficLedger()
        for tenant in ["a", "b"] { ledger.add(Traffic(sessions: 1, queries: 5), of: tenant) }
        var (some, none) = (ledger.narrowed(to: .of(try [name("a"), name("c")])), ledger.narrowed(to: .total))
        for tenant in ["a", "b", "c"] {
            some.add(Traffic(queries: 1), of: tenant)
            none.add(Traffic(queries: 1), of: tenant)
        }
        #expect(try some.databases.mapValues(\.queries) == [name("a"): 6, name("c"): 1])
        #expect(none.databases.isEmpty)
        #expect(some.total == Traffic(sessions: 2, queries: 13) && none.total == some.total)
        some.add(none)
        some.add(ledger)
        #expect(try some.databases.mapValues(\.queries) == [name("a"): 11, name("c"): 1])
    }

    /// Unicode holds both equivalent; PostgreSQL does not, and neither do tenants' figures.
    @Test func namesAreToldApartByTheirBytes() {
        var ledger = TrafficLedger()
        ledger.add(Traffic(sessions: 1, queries: 5), of: "\u{e9}")
        ledger.add(Traffic(sessions: 1, queries: 2), of: "e\u{301}")
        #expect(ledger.traffic(of: "\u{e9}")?.queries == 5 && ledger.traffic(of: "e\u{301}")?.queries == 2)
    }

    /// 5 − 1,000 was told as 18,446,744,073,709,550,621 queries.
    @Test func aTenantThatIsMadeAnewIsCountedFromZero() throws {
        var averages = Averages()
        let a = try name("a")
        averages.periodEnded(.init(databases: [a: Traffic(sessions: 9, queries: 1_000)]), now: .seconds(60))
        averages.periodEnded(.init(databases: [a: Traffic(sessions: 1, queries: 5)]), now: .seconds(120))
        #expect(averages.databases[a]?.queries == 5)
    }

    @Test func averagesAreOfTheLastPeriod() throws {
        var averages = Averages()
        #expect(!averages.isDue(now: Limits.averagePeriod - .nanoseconds(1)))
        averages.periodEnded(
            .init(total: Traffic(queries: 10), databases: try [name("a"): Traffic(queries: 10)]),
            now: Limits.averagePeriod)
        #expect(!averages.isDue(now: Limits.averagePeriod))
        // A tenant that was dropped is in the total only.
        averages.periodEnded(
            .init(total: Traffic(queries: 17), databases: try [name("b"): Traffic(queries: 4)]),
            now: Limits.averagePeriod * 3)
        #expect(averages.total.queries == 7)
        #expect(try averages.databases.mapValues(\.queries) == [name("b"): 4])
        #expect(averages.length == Limits.averagePeriod * 2)
    }

    @Test func theLedgerIsBounded() {
        var ledger = TrafficLedger()
        for number in 0..<Limits.countedTenants + 5 { ledger.add(Traffic(sessions: 1), of: "tenant\(number)") }
        ledger.add(Traffic(sessions: 1), of: "tenant0")
        #expect(ledger.databases.count == Limits.countedTenants)
        #expect(ledger.traffic(of: "tenant0")?.sessions == 2)
        #expect(ledger.total.sessions == UInt64(Limits.countedTenants + 6))
    }
}
