import TenantPool
import TestSupport
import Testing
import WireProtocol

@testable import TenantRouter

@Suite struct RelayTests {
    private static let relay = Relay(backend: Situation.backend, instance: Situation.instance)

    // MARK: - Back-pressure

    @Test func theSecondSendUnderWayPausesTheSource() {
        var relay = Self.relay
        let decisions = (0..<4).map { _ in name(of: relay.frontendReceived(Says.query)) }
        // What had been received before the pause took effect is passed on all the same.
        #expect(decisions == ["forward", "forwardAndPause", "forward", "forward"])
    }

    @Test func aPausedSourceIsReadAgainOnceEverythingHasLeft() {
        var relay = Self.relay
        for _ in 0..<3 { _ = relay.backendReceived(Says.done) }
        #expect((0..<3).map { _ in relay.frontendSent() } == [false, false, true])
        #expect(relay.frontendIsDrained)
        // And it is paused again when it is too fast again.
        #expect((0..<2).map { _ in name(of: relay.backendReceived(Says.done)) } == ["forward", "forwardAndPause"])
    }

    @Test func aSourceThatWasNotPausedIsNotResumed() {
        var relay = Self.relay
        for _ in 0..<10 {
            #expect(name(of: relay.backendReceived(Says.done)) == "forward")
            #expect(relay.frontendSent() == false)
        }
    }

    @Test func theDirectionsDoNotPauseEachOther() {
        var relay = Self.relay
        for _ in 0..<2 { _ = relay.frontendReceived(Says.query) }
        #expect(name(of: relay.backendReceived(Says.done)) == "forward")
        #expect(relay.frontendSent() == false)
        #expect(relay.backendSent() == false)
        #expect(relay.backendSent() == true)
    }

    /// A paused source must be resumed exactly once, however sends and receives interleave: never resumed it hangs for
    /// ever, resumed while full it has no bound.
    @Test func pausesAndResumesAlternateInAnyOrderOfEvents() {
        for seed in 0..<200 as Range<UInt64> {
            var chance = Chance(seed: seed)
            var (relay, underWay, isPaused) = (Self.relay, 0, false)
            for _ in 0..<200 {
                let mayReceive = !isPaused || Int.random(in: 0..<4, using: &chance) == 0
                if underWay == 0 || (mayReceive && Bool.random(using: &chance)) {
                    underWay += 1
                    let pauses = name(of: relay.backendReceived(Says.done)) == "forwardAndPause"
                    #expect(!(pauses && isPaused), "paused twice, seed \(seed)")
                    isPaused = isPaused || pauses
                } else {
                    underWay -= 1
                    let resumes = relay.frontendSent()
                    #expect(resumes == (isPaused && underWay == 0), "seed \(seed)")
                    if resumes { isPaused = false }
                }
                #expect(relay.frontendIsDrained == (underWay == 0), "seed \(seed)")
                #expect(isPaused || underWay < 2, "two under way and the source is read, seed \(seed)")
            }
        }
    }

    @Test func sendsBesideTheRelayedOnesCount() {
        var relay = Self.relay
        relay.countSendToFrontend()
        #expect(!relay.frontendIsDrained)
        #expect(name(of: relay.backendReceived(Says.done)) == "forwardAndPause")
        #expect(relay.frontendSent() == false)
        #expect(relay.frontendSent() == true)
        #expect(relay.frontendIsDrained)
    }

    // MARK: - Boundaries

    @Test func aMessageOfTheRoutersOwnFitsBetweenTwoFramesOnly() {
        let frames = Says.done + Says.ready
        let boundaries: Set = [0, Says.done.count, frames.count]
        for count in 0...frames.count {
            var relay = Self.relay
            if count > 0 { _ = relay.backendReceived(Array(frames[..<count])) }
            #expect(relay.isFrontendAtBoundary == boundaries.contains(count), "after \(count) bytes")
        }
    }

    @Test func anEndIsExplainedInOneOfEightCases() {
        for inside in [false, true] {
            for last in [Says.query, Says.terminate] {
                for said in [Says.done, Says.error(.adminShutdown)] {
                    var relay = Self.relay
                    _ = relay.frontendReceived(last)
                    _ = relay.backendReceived(inside ? said.dropLast() : said)
                    let expected = !inside && last == Says.query && said == Says.done
                    #expect(relay.mayExplainEnd == expected, "\(inside), \(last), \(said)")
                }
            }
        }
    }

    @Test func anEndBeforeAnyMessageIsExplained() { #expect(Self.relay.mayExplainEnd) }

    // MARK: - Frames

    @Test func framesAreFollowedHoweverTheyAreCut() {
        let sent = Says.query + frame("P", [0, 0, 0, 0]) + frame("S") + frame("d", .init(repeating: 0x58, count: 300))
        let said = frame("1") + Says.done + frame("D", .init(repeating: 0x45, count: 300)) + Says.ready
        for chunks in eachCut(sent) + [eachByte(sent), [sent]] {
            var relay = Self.relay
            for chunk in chunks { #expect(name(of: relay.frontendReceived(chunk)).hasPrefix("forward")) }
            #expect(relay.lastFrontendTag == UInt8(ascii: "d"))
        }
        for chunks in eachCut(said) + [eachByte(said), [said]] {
            var relay = Self.relay
            for chunk in chunks { #expect(name(of: relay.backendReceived(chunk)).hasPrefix("forward")) }
            #expect(relay.lastBackendTag == UInt8(ascii: "Z") && relay.isFrontendAtBoundary)
        }
    }

    /// A gigabyte of one row passes by in chunks; nothing of it is kept.
    @Test func aBodyOfAnyLengthStreamsBy() {
        var relay = Self.relay
        let chunk = [UInt8](repeating: 0, count: 1 << 16)
        _ = relay.backendReceived(header("D", 4 + UInt32(chunk.count) * 16_384))
        for _ in 0..<16_384 {
            #expect(!relay.isFrontendAtBoundary)
            guard case .violation = relay.backendReceived(chunk) else { continue }
            Issue.record("a body was taken for a header")
            return
        }
        #expect(relay.isFrontendAtBoundary)
    }

    @Test func brokenFramesAreViolationsOfWhoSentThem() {
        for header in [
            header("Q", 3), header("Q", 0xffff_ffff), header("Q", 0x4000_0000), header("Z", 4), header("\0", 4),
        ] {
            for chunks in [[header], eachByte(header)] {
                var relay = Self.relay
                let decisions = chunks.map { name(of: relay.frontendReceived($0)) }
                #expect(decisions.contains("violation"), "\(header)")
            }
        }
        for header in [header("D", 3), header("D", 0x8000_0000)] {
            var relay = Self.relay
            #expect(name(of: relay.backendReceived(header)) == "violation", "\(header)")
        }
    }
}
