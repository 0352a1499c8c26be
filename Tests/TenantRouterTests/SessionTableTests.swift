import Reactor
import TenantPool
import Testing
import WireProtocol

@testable import TenantRouter

/// Every stage meets every event.
///
/// A cell is the action, then the next stage where it changes; `·` is no action.
@Suite struct SessionTableTests {
    private static let frontendsBytes = Table(
        """
                          | query   | terminate              | garbage                | sent
        awaitingStartup   | reject  | reject                 | reject                 | ·
        queued            | ·       | ·                      | ·                      | ·
        connecting        | ·       | ·                      | ·                      | ·
        startingUp        | ·       | ·                      | ·                      | ·
        pausing           | ·       | ·                      | ·                      | ·
        awaitingRole      | ·       | ·                      | ·                      | ·
        relaying          | forward | forward                | terminate → flushing   | ·
        reusable          | forward | keepBackend → closed   | terminate → flushing   | ·
        relayingFull      | forward | forward                | terminate → flushing   | readBackend
        frontendEnded     | ·       | ·                      | ·                      | ·
        frontendEndedFull | ·       | ·                      | ·                      | readBackend
        flushing          | ·       | ·                      | ·                      | linger → lingering
        flushingLast      | ·       | ·                      | ·                      | close → closed
        cancelling        | ·       | ·                      | ·                      | ·
        console           | advanceConsole | advanceConsole         | advanceConsole  | advanceConsole
        lingering         | ·       | ·                      | ·                      | ·
        abandoning        | ·       | ·                      | ·                      | ·
        closed            | ·       | ·                      | ·                      | ·
        """)

    private static let ends = Table(
        """
                          | ended                         | failed               | deadline
        awaitingStartup   | close → closed                | close → closed       | close → closed
        queued            | leaveQueue → closed           | leaveQueue → closed  | explainWait
        connecting        | giveUp → closed               | giveUp → closed      | giveUp
        startingUp        | abandon → abandoning          | abandon → abandoning | giveUp
        pausing           | returnLease → closed          | returnLease → closed | reconnect
        awaitingRole      | returnLease → closed          | returnLease → closed | ·
        relaying          | finishBackend → frontendEnded | abandon → abandoning | ·
        reusable          | keepBackend → closed          | abandon → abandoning | ·
        relayingFull      | finishBackend → frontendEnded | abandon → abandoning | ·
        frontendEnded     | ·                             | abandon → abandoning | closeBackend → closed
        frontendEndedFull | ·                             | abandon → abandoning | closeBackend → closed
        flushing          | · → flushingLast              | close → closed       | close → closed
        flushingLast      | ·                             | close → closed       | close → closed
        cancelling        | ·                             | ·                    | closeCancel → closed
        console           | close → closed                | close → closed       | close → closed
        lingering         | close → closed                | close → closed       | close → closed
        abandoning        | ·                             | ·                    | closeBackend → closed
        closed            | ·                             | ·                    | ·
        """)

    private static let backend = Table(
        """
                          | connected                  | message | broken                 | ended                | sent
        awaitingStartup   | ·                          | ·       | ·                      | ·                    | ·
        queued            | ·                          | ·       | ·                      | ·                    | ·
        connecting        | startupPacket → startingUp | ·       | ·                      | pause → pausing      | ·
        startingUp        | ·                          | ·       | reject                 | pause → pausing      | ·
        pausing           | ·                          | ·       | ·                      | ·                    | ·
        awaitingRole      | ·                          | ·       | ·                      | ·                    | ·
        relaying          | ·                          | forward | terminate → abandoning | flush → flushing     | ·
        reusable          | ·                          | forward | terminate → abandoning | flush → flushing     | ·
        relayingFull      | ·                          | forward | terminate → abandoning | flush → flushing     | readFrontend
        frontendEnded     | ·                          | forward | terminate → abandoning | close → closed       | ·
        frontendEndedFull | ·                          | forward | terminate → abandoning | flush → flushingLast | ·
        flushing          | ·                          | ·       | ·                      | ·                    | ·
        flushingLast      | ·                          | ·       | ·                      | ·                    | ·
        cancelling        | cancelRequest              | ·       | ·                      | closeCancel → closed | ·
        console           | ·                          | ·       | ·                      | ·                    | ·
        lingering         | ·                          | ·       | ·                      | ·                    | ·
        abandoning        | ·                          | ·       | ·                      | returnLease → closed | ·
        closed            | ·                          | ·       | ·                      | ·                    | ·
        """)

    private static let others = Table(
        """
                          | roleSettled         | roleFailed | keyIssued | stopped          | otherStopped | killed
        awaitingStartup   | ·                   | ·          | ·         | ·                | ·            | leave → closed
        queued            | ·                   | ·          | ·         | ·                | ·            | leave → closed
        connecting        | ·                   | ·          | ·         | requeue → queued | ·            | leave → closed
        startingUp        | ·                   | ·          | ·         | requeue → queued | ·            | leave → abandoning
        pausing           | ·                   | ·          | ·         | requeue → queued | ·            | leave → closed
        awaitingRole      | reconnect → pausing | refuse     | ·         | requeue → queued | ·            | leave → closed
        relaying          | ·                   | ·          | ·         | ·                | ·            | terminate → flushing
        reusable          | ·                   | ·          | ·         | ·                | ·            | terminate → flushing
        relayingFull      | ·                   | ·          | ·         | ·                | ·            | terminate → flushing
        frontendEnded     | ·                   | ·          | ·         | ·                | ·            | leave → abandoning
        frontendEndedFull | ·                   | ·          | ·         | ·                | ·            | leave → abandoning
        flushing          | ·                   | ·          | ·         | ·                | ·            | leave → closed
        flushingLast      | ·                   | ·          | ·         | ·                | ·            | leave → closed
        cancelling        | ·                   | ·          | ·         | ·                | ·            | leave
        console           | ·                   | ·          | ·         | ·                | ·            | leave → closed
        lingering         | ·                   | ·          | ·         | ·                | ·            | leave → closed
        abandoning        | ·                   | ·          | ·         | ·                | ·            | leave
        closed            | ·                   | ·          | ·         | ·                | ·            | leave
        """)

    @Test(arguments: Situation.allCases) func frontendsBytes(_ situation: Situation) throws {
        try Self.frontendsBytes.check(situation) { event, session in
            switch event {
            case "query": name(of: session.frontendReceived(Says.query))
            case "terminate": name(of: session.frontendReceived(Says.terminate))
            case "garbage": name(of: session.frontendReceived([0, 0, 0, 0, 0]))
            case "sent": name(of: session.frontendSent())
            default: nil
            }
        }
    }

    @Test(arguments: Situation.allCases) func ends(_ situation: Situation) throws {
        try Self.ends.check(situation) { event, session in
            switch event {
            case "ended": name(of: session.frontendEnded())
            case "failed": name(of: session.frontendFailed())
            case "deadline": name(of: session.deadlineExpired())
            default: nil
            }
        }
    }

    @Test(arguments: Situation.allCases) func backendsFacts(_ situation: Situation) throws {
        try Self.backend.check(situation) { event, session in
            switch event {
            case "connected": Self.meaning(of: session.backendConnected())
            case "message": name(of: session.backendReceived(Says.done))
            case "broken": name(of: session.backendReceived(Says.broken))
            case "ended": name(of: session.backendEnded())
            case "sent": session.backendSent() ? "readFrontend" : "none"
            default: nil
            }
        }
    }

    @Test(arguments: Situation.allCases) func otherFacts(_ situation: Situation) throws {
        try Self.others.check(situation) { event, session in
            switch event {
            case "roleSettled": session.roleSettled() == nil ? "none" : "reconnect"
            case "roleFailed": session.roleFailed() == nil ? "none" : "refuse"
            case "keyIssued": name(of: session.keyIssued(Says.issuedKey))
            case "stopped": name(of: session.instanceStopped(Situation.instance))
            case "otherStopped": name(of: session.instanceStopped(InstanceID(6)))
            case "killed": name(of: session.killed())
            default: nil
            }
        }
    }

    private static func meaning(of bytes: [UInt8]) -> String {
        switch bytes {
        case []: "none"
        case Situation.packet: "startupPacket"
        case Frontend.cancelRequest(Says.backendKey): "cancelRequest"
        default: "something else"
        }
    }
}

/// A table of situations and events, as text.
private struct Table {
    private let events: [String]
    private let rows: [String: [String]]

    init(_ text: String) {
        let lines = text.split(separator: "\n").map { line in
            line.split(separator: "|", omittingEmptySubsequences: false).map(Self.trimmed)
        }
        events = Array(lines[0].dropFirst())
        rows = Dictionary(uniqueKeysWithValues: lines.dropFirst().map { ($0[0], Array($0.dropFirst())) })
    }

    /// Lets every event of the table happen to a session in this situation.
    func check(_ situation: Situation, _ happen: (String, inout Session) -> String?) throws {
        let cells = try #require(rows[situation.rawValue])
        #expect(rows.count == Situation.allCases.count)
        try #require(cells.count == events.count)
        for (event, cell) in zip(events, cells) {
            var session = situation.session
            let action = try #require(happen(event, &session), "no such event: \(event)")
            let parts = cell.split(separator: "→").map(Self.trimmed)
            let expected = parts[0] == "·" ? "none" : parts[0]
            #expect(action == expected, "\(situation.rawValue), \(event)")
            #expect(session.stageName == (parts.count > 1 ? parts[1] : situation.stageName), "\(situation), \(event)")
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}

extension Situation {
    /// The stage that this is a situation of.
    fileprivate var stageName: String {
        switch self {
        case .relayingFull, .reusable: "relaying"
        case .frontendEndedFull: "frontendEnded"
        case .awaitingStartup, .queued, .connecting, .startingUp, .pausing, .awaitingRole, .relaying, .frontendEnded,
            .flushing, .flushingLast, .cancelling, .console, .lingering, .abandoning, .closed:
            rawValue
        }
    }
}
