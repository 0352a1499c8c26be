import Foundation
import TestSupport
import Testing

@testable import WireProtocol

/// Inputs that are kept: recorded conversations, and whatever a fuzzer has found once.
@Suite struct CorpusTests {
    @Test func everyInputThatIsKeptIsTakenWell() throws {
        let corpus = try Self.corpus()
        #expect(corpus.count >= 10)
        for (name, input) in corpus {
            for chunk in UInt8.min...UInt8.max where input.count >= 2 {
                let complaint = Fuzzing.complaint(about: [input[0], chunk] + input[2...])
                #expect(complaint == nil, "\(name), \(Int(chunk) + 1) bytes at once")
            }
        }
    }

    @Test func whateverIsMadeOfThemIsTakenWell() throws {
        var chance = Chance()
        let corpus = try Self.corpus().map(\.input)
        let clock = ContinuousClock()
        let end = clock.now + .seconds(ProcessInfo.processInfo.environment["ROUTERD_SOAK"] == nil ? 2 : 60)
        var count = 0
        while clock.now < end {
            guard var input = corpus.randomElement(using: &chance) else { return }
            for _ in 0..<Int.random(in: 1...4, using: &chance) { input = chance.mutation(of: input) }
            count += 1
            if let complaint = Fuzzing.complaint(about: input) {
                Issue.record("ROUTERD_TEST_SEED=\(chance.seed), input \(count), \(input): \(complaint)")
                return
            }
        }
        print("WireProtocol: seed \(chance.seed), \(count) inputs")
    }

    private static func corpus() throws -> [(name: String, input: [UInt8])] {
        let directory = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Corpus")
        return try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted().map { name in
            (name, Array(try Data(contentsOf: directory.appending(path: name))))
        }
    }
}
