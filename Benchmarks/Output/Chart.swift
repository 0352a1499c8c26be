/// Figures to be drawn.
enum Chart {
    /// A bar for each figure, with its value beside it.
    case bars(title: String, unit: String, [Bar])
    /// A line for each series, over the share of all samples that were as quick.
    case percentiles(title: String, unit: String, [Curve])

    struct Bar {
        let label: String
        let value: Double
        /// What gives it its colour.
        let peer: Peer.Kind
    }

    struct Curve {
        let peer: Peer.Kind
        let points: [Latencies.Point]
    }
}
