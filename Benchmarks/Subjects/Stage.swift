/// What every subject has at hand.
struct Stage {
    let tools: Tools
    let directory: WorkDirectory
    let progress: Progress
    /// None where only other peers are measured.
    let program: RouterProgram?
    let lineup: Lineup

    /// - Throws: `Failure.missing` where routerd was left out of the peers.
    func startRouter(base: String, _ options: RouterServer.Options = .init()) throws(Failure) -> RouterServer {
        guard let program else { throw .missing("routerd", remedy: "Benchmarks --peers routerd,…") }
        return try RouterServer(
            program, tools: tools, directory: directory, base: "\(directory.path)/\(base)", options: options)
    }
}
