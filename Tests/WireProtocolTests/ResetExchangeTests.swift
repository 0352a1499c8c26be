import TestSupport
import Testing

@testable import WireProtocol

private let discarded = frame("C", Array("DISCARD ALL\0".utf8))
private let idle = frame("Z", [0x49])

private func parameters(_ texts: String...) -> [Backend.ParameterStatus] {
    texts.compactMap { Backend.ParameterStatus(parsing: Array($0.utf8)[...]) }
}

private func status(_ name: String, _ value: String) -> [UInt8] { frame("S", Array("\(name)\0\(value)\0".utf8)) }

private func row(_ values: String...) -> [UInt8] {
    frame("D", [0, UInt8(values.count)] + values.flatMap { bigEndian(UInt32($0.utf8.count)) + Array($0.utf8) })
}

private func answer(_ values: [UInt8]) -> [UInt8] {
    frame("T", [0, 0]) + values + frame("C", Array("SELECT 1\0".utf8)) + idle
}

/// The last outcome, with the bytes in one piece and one by one.
private func outcome(_ exchange: ResetExchange?, of bytes: [UInt8]) -> ResetExchange.Outcome? {
    guard let exchange else { return nil }
    let outcomes = [[bytes], eachByte(bytes)].map { chunks in
        var exchange = exchange
        var outcome = ResetExchange.Outcome.needsMore
        for chunk in chunks where outcome == .needsMore { outcome = unsafe exchange.received(chunk.span.bytes) }
        return outcome
    }
    return outcomes[0] == outcomes[1] ? outcomes[0] : nil
}

@Suite struct ResetExchangeTests {
    @Test func itDiscardsAll() {
        #expect(ResetExchange().opening == frame("Q", Array("DISCARD ALL\0".utf8)))
        #expect(outcome(ResetExchange(), of: discarded + idle) == .reset)
        #expect(outcome(ResetExchange(), of: discarded) == .needsMore)
        #expect(outcome(ResetExchange(), of: []) == .needsMore)
    }

    /// What was on its way to the last client is not for the next one, and says nothing of the reset.
    @Test func noticesAndNotificationsPassBy() {
        let notice = ErrorMessage(severity: .notice, .internalError, "by the way").noticeResponse()
        let notification = frame("A", [0, 0, 0, 1] + Array("channel\0\0".utf8))
        #expect(outcome(ResetExchange(), of: notification + notice + discarded + notification + idle) == .reset)
    }

    @Test func whatIsRefusedHasFailed() {
        let refused = ErrorMessage(severity: .error, SQLState("25001") ?? .internalError, "no").errorResponse()
        for status: UInt8 in [0x49, 0x54, 0x45] {
            #expect(outcome(ResetExchange(), of: refused + frame("Z", [status])) == .failed)
        }
        #expect(outcome(ResetExchange(), of: discarded + frame("Z", [0x54])) == .failed, "a transaction is open")
        #expect(outcome(ResetExchange(), of: header("Z", 3)) == .failed)
        #expect(outcome(ResetExchange(), of: frame("G", [0, 0, 0])) == .failed, "the last statement still runs")
        #expect(outcome(ResetExchange(), of: frame("N", .init(repeating: 0, count: 70_000))) == .failed)
    }

    /// A setting that nobody had changed comes back different: it was changed from outside, and what the next client
    /// would be told is not true any more.
    @Test func aParameterThatNobodyHadChanged() {
        #expect(outcome(ResetExchange(), of: status("TimeZone", "UTC") + discarded + idle) == .failed)
    }

    @Test func changedParametersMustComeBack() {
        let exchange = ResetExchange(restoring: parameters("TimeZone\0UTC\0", "DateStyle\0ISO, MDY\0"))
        let question = "SELECT pg_catalog.current_setting('TimeZone'), pg_catalog.current_setting('DateStyle')\0"
        #expect(
            exchange?.opening == frame("Q", Array("DISCARD ALL\0".utf8)) + frame("Q", Array(question.utf8)))
        let reset = status("TimeZone", "UTC") + discarded + idle
        #expect(outcome(exchange, of: reset) == .needsMore)
        #expect(outcome(exchange, of: reset + answer(row("UTC", "ISO, MDY"))) == .reset)
        #expect(outcome(exchange, of: reset + answer(row("CET", "ISO, MDY"))) == .failed)
        #expect(outcome(exchange, of: reset + answer(row("UTC"))) == .failed)
        #expect(outcome(exchange, of: reset + answer([])) == .failed)
        #expect(ResetExchange(restoring: parameters("it's\0\0")) == nil)
    }

    /// All in one piece: behind the last answer nothing may follow, or the next client would read it.
    @Test func whatFollowsUnasked() {
        var exchange = ResetExchange()
        let bytes = discarded + idle + status("TimeZone", "UTC")
        let outcomes = [bytes, idle].map { unsafe exchange.received($0.span.bytes) }
        #expect(outcomes == [.failed, .failed], "and nothing makes it good again")
    }
}
