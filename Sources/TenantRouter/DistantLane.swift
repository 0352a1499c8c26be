import Reactor

/// What a lane is opened with, on the thread that it lives on: a reactor belongs to the thread that made it.
struct LanePlan: Sendable {
    let configuration: RouterConfiguration
    let greeter: Lane.Greeter
    let commons: Commons
    let limits: ReactorLimits

    func open(_ index: Int) throws(ReactorError) -> Lane {
        Lane(
            index, configuration, greeter: greeter, commons: commons,
            reactor: try Reactor(engine: configuration.io.engine, limits: limits))
    }
}

/// A lane on a thread of its own, as the centre knows it.
struct DistantLane: Sendable {
    let orders: Mailbox<LaneOrder>

    /// Returns when the lane takes orders.
    ///
    /// - Parameter threads: takes its thread, which ends after the order to.
    static func start(
        _ index: Int, _ plan: LanePlan, reportingTo centre: Mailbox<Message>, in threads: inout Threads
    ) throws(ReactorError) -> DistantLane {
        let opened = Handover<Result<DistantLane, ReactorError>>()
        threads.insert(
            try Thread.start(name: "routerd-\(index)") {
                do throws(ReactorError) {
                    var lane = try plan.open(index)
                    let orders = Mailbox<LaneOrder>(doorbell: lane.reactor.doorbell)
                    opened.give(.success(DistantLane(orders: orders)))
                    lane.run(orders, reportingTo: centre)
                } catch {
                    opened.give(.failure(error))
                }
            })
        return try opened.take().get()
    }
}
