import Reactor

// Clients that come, until a lane has them.

extension Router {
    mutating func listener(_ listener: Token, _ event: consuming Event) {
        switch consume event {
        case .accepted(let descriptor): accepted(descriptor, by: listener == controlListener ? .control : .clients)
        case .failed(let error): pauseAccepting(because: error)
        // What happens to other kinds of sources only, and what asks for nothing.
        default: break
        }
    }

    private mutating func accepted(_ descriptor: consuming Descriptor, by entrance: Session.Entrance) {
        if let crowded = commons.crowdedLane { order(.dropSilentClient, lane: crowded) }
        // Past the last place there is no room even for an error message; the descriptor closes with this scope.
        guard accepts(entrance), let place = commons.enter() else { return }
        if let crowding = commons.crowdingLane { order(.discardCrowdingBackend, lane: crowding) }
        order(.accepted(descriptor.release(), entrance, number: place.number), lane: place.lane)
    }

    /// A router that stops can still be asked how far it is, and be hurried.
    private func accepts(_ entrance: Session.Entrance) -> Bool {
        switch lifetime {
        case .serving: true
        case .stopping, .hurrying: entrance == .control
        case .closing: false
        }
    }

    /// Out of descriptors or memory: clients wait in the backlog until some are free again, and nothing spins.
    mutating func pauseAccepting(because error: Errno) {
        guard acceptPause == nil else { return }
        if lastAcceptWarning.map({ reactor.now - $0 > Limits.acceptWarningPause }) ?? true {
            lastAcceptWarning = reactor.now
            log.warning("not accepting for a moment: \(error)")
        }
        acceptPause = reactor.deadline(at: reactor.now + Limits.acceptPause, owner: Owner(.acceptPause).raw)
    }

    mutating func resumeAccepting() {
        acceptPause = nil
        switch lifetime {
        case .serving: for listener in listeners { reactor.receive(listener) }
        // How far it is can still be asked.
        case .stopping, .hurrying: break
        case .closing: return
        }
        if let controlListener { reactor.receive(controlListener) }
        for listener in http.listeners { reactor.receive(listener) }
    }
}
