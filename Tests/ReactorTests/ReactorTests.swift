import Reactor
import Testing

@Suite struct Shape {
    @Test func eventsCanBeTakenApart() {
        func take(_ reactor: inout Reactor) {
            while let completion = reactor.next() {
                let owner = completion.owner
                switch consume completion.event {
                case .received(let buffer): reactor.send(buffer, to: Token(raw: owner))
                case .accepted(let descriptor): _ = try? reactor.adopt(descriptor, owner: owner)
                case .failed(let errno): print(errno)
                case .exited(let status): print(status)
                case .signalled(let number): print(number)
                case .connected: break
                case .endOfStream: break
                case .sent: break
                case .disarmed: break
                case .closed: break
                case .expired: break
                case .woken: break
                }
            }
        }
        _ = take
    }
}
