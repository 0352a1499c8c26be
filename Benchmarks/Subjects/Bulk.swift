/// How much goes through: COPY in, and large rows out, one client.
struct Bulk {
    let rounds: Int
    let stage: Stage

    /// Rows of 1,024 bytes, 64 to a message.
    private static let chunk = [UInt8](String(repeating: String(repeating: "x", count: 1_023) + "\n", count: 64).utf8)
    private static let chunks = 2_048
    /// Rows of 1 MB.
    private static let rows = 256

    func run() throws(Failure) -> BulkReport {
        let samples = try stage.measure(.bulk, rounds: rounds, seconds: 3) { peer, round throws(Failure) in
            try measure(peer, round: round)
        }
        return BulkReport(rounds: rounds, peers: stage.lineup.peers.map(\.kind), samples: samples)
    }

    private func measure(_ peer: Peer, round: Int) throws(Failure) -> BulkReport.Sample {
        let client = try WireClient(port: peer.port, user: Psql.user, database: Psql.database)
        // Neither logged nor written out: it is not the disk that is measured.
        try client.query("SET temp_buffers = '192MB'")
        try client.query("CREATE TEMPORARY TABLE bulk (body text)")
        let copy = try observed(peer) { () throws(Failure) in
            try client.copy("COPY bulk FROM STDIN", chunk: Self.chunk, count: Self.chunks)
            return Self.chunk.count * Self.chunks
        }
        try client.query("TRUNCATE bulk")
        let select = try observed(peer) { () throws(Failure) in
            try client.query("SELECT repeat('x', 1048576) FROM generate_series(1, \(Self.rows))").bytes
        }
        client.terminate()
        return .init(round: round, peer: peer.kind, in: copy, out: select)
    }

    /// `work` returns how many bytes it moved.
    private func observed(_ peer: Peer, _ work: () throws(Failure) -> Int) throws(Failure) -> BulkReport.Transfer {
        let before = try peer.proxy.map(ProcessCPU.init(of:))
        let (bytes, time) = try timed(work)
        let after = try peer.proxy.map(ProcessCPU.init(of:))
        let megabytes = Double(bytes) / Double(1 << 20)
        var cpu: Double?
        if let before, let after { cpu = (after - before).total / .microseconds(1) / megabytes }
        return .init(megabytesPerSecond: megabytes / (time / .seconds(1)), cpu: cpu)
    }
}

/// Megabytes (2^20 bytes) a second.
struct BulkReport: SubjectReport {
    let rounds: Int
    let peers: [Peer.Kind]
    let samples: [Sample]

    struct Sample: Codable, PeerSample {
        let round: Int
        let peer: Peer.Kind
        let `in`: Transfer
        let out: Transfer
    }

    struct Transfer: Codable {
        let megabytesPerSecond: Double
        /// Of the proxy, in microseconds per megabyte.
        let cpu: Double?
    }

    var sections: [Section] {
        var table = Table([
            "peer", "in MB/s", "±", "to direct", "CPU µs/MB", "out MB/s", "±", "to direct", "CPU µs/MB",
        ])
        for peer in peers {
            table.append([peer.title] + figures(of: peer, \.in) + figures(of: peer, \.out))
        }
        return [
            Section(
                title: "bulk: COPY in, large rows out, one client", table: table,
                notes: ["Medians of \(rounds) rounds, ± half the range. CPU: of the proxy alone."],
                charts: [
                    .bars(title: "COPY in, rows of 1 KB", unit: "MB/s", bars(\.in)),
                    .bars(title: "Rows of 1 MB out", unit: "MB/s", bars(\.out)),
                ])
        ]
    }

    private func figures(of peer: Peer.Kind, _ transfer: (Sample) -> Transfer) -> [String] {
        let own = samples.filter { $0.peer == peer }.map(transfer)
        let speed = Statistics(own.map(\.megabytesPerSecond))
        let cpu = own.compactMap(\.cpu)
        return [
            fixed(speed.median, 0), percent(speed.spread),
            fixed(samples.ratio(of: peer, to: .direct) { transfer($0).megabytesPerSecond }?.median, 2),
            cpu.isEmpty ? "" : fixed(Statistics(cpu).median, 0),
        ]
    }

    private func bars(_ transfer: (Sample) -> Transfer) -> [Chart.Bar] {
        peers.map { peer in
            let speeds = samples.filter { $0.peer == peer }.map { transfer($0).megabytesPerSecond }
            return .init(label: peer.title, value: Statistics(speeds).median, peer: peer)
        }
    }
}
