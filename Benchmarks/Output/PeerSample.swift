/// One measurement of one peer in one round.
protocol PeerSample {
    var round: Int { get }
    var peer: Peer.Kind { get }
}

extension Sequence where Element: PeerSample {
    /// The rounds' own ratios of a figure, so that what slows a whole round down drops out. None of a peer to itself,
    /// and none where a round lacks the figure.
    func ratio(of peer: Peer.Kind, to other: Peer.Kind, _ figure: (Element) -> Double?) -> Statistics? {
        guard other != peer else { return nil }
        let own = filter { $0.peer == peer }
        let ratios: [Double] = own.compactMap { sample in
            guard let base = first(where: { $0.peer == other && $0.round == sample.round }),
                let mine = figure(sample), let theirs = figure(base), theirs > 0
            else { return nil }
            return mine / theirs
        }
        return ratios.count == own.count && !ratios.isEmpty ? Statistics(ratios) : nil
    }
}
