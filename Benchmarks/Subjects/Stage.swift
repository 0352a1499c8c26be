import Foundation

/// What every subject has at hand.
struct Stage {
    let tools: Tools
    let directory: WorkDirectory
    let progress: Progress
    /// None where only other peers are measured.
    let program: RouterProgram?
    let lineup: Lineup

    /// Where the tenants stand: in one directory for one server after the other. Removing thousands of files slows a
    /// disk down for minutes, so nothing is removed before the end, and what one subject made the next one uses.
    static let base = "tenants"

    static func tenant(_ index: Int) -> String { "tenant-\(index)" }

    /// Starts a routerd of its own for up to `instances` instances: its default limit, or a higher one where that is
    /// too low.
    ///
    /// - Throws: `Failure.missing` where routerd was left out of the peers.
    func startRouter(
        instances: Int, _ options: RouterServer.Options = .init(spares: 0)
    ) throws(Failure) -> RouterServer {
        guard let program else { throw .missing("routerd", remedy: "Benchmarks --peers routerd,…") }
        var options = options
        // Spares stand in free slots.
        if instances + 10 > 100 { options.maxInstances = instances + 10 }
        return try RouterServer(
            program, tools: tools, directory: directory, base: "\(directory.path)/\(Self.base)", options: options)
    }

    /// The same for each peer in each round, peers in turn. `seconds` is about what one takes.
    func measure<Sample>(
        _ subject: Subject, _ what: String? = nil, rounds: Int, seconds: Int,
        _ measure: (Peer, Int) throws(Failure) -> Sample
    ) throws(Failure) -> [Sample] {
        var samples: [Sample] = []
        for round in 1...rounds {
            for peer in lineup.turns(of: round) {
                let left = Duration.seconds((rounds * lineup.peers.count - samples.count) * seconds)
                progress.note(
                    [subject.rawValue + ":", what.map { $0 + "," }, "round \(round) of \(rounds),", peer.kind.title]
                        .compactMap(\.self).joined(separator: " ") + "; "
                        + "\(left.formatted(.time(pattern: .minuteSecond))) left")
                samples.append(try measure(peer, round))
            }
        }
        return samples
    }
}
