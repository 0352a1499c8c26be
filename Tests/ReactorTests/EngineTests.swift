import Glibc
import Reactor
import Testing

extension ReactorTests {
    /// What an engine that hands calls to the kernel could get wrong: whose turn it is, and what the kernel still has.
    @Suite struct EngineTests {
        /// Skipped where the kernel refuses, with its reason: then no test of this module ran on io_uring.
        @Test(.enabled(if: Engines.refusal(of: .ioUring) == nil, "\(Engines.refusal(of: .ioUring)?.description ?? "")"))
        func theEngineThatWasAskedForRuns() throws {
            for kind in Engines.available {
                let reactor = try Reactor(engine: kind)
                let running = reactor.engine
                #expect(running == kind)
            }
            let reactor = try Reactor(engine: .auto)
            let chosen = reactor.engine
            #expect(Engines.available.contains(chosen))
        }

        /// "Cannot allocate memory" sends people to buy some: rings count as locked memory on newer kernels, and a
        /// container or a unit file may allow none.
        @Test(.enabled(if: Engines.available.contains(.ioUring), "this kernel refuses io_uring"))
        func theLimitOfLockedMemoryIsNamed() async {
            await #expect(processExitsWith: .success) {
                if geteuid() == 0 { setuid(65_534) }
                var none = rlimit(rlim_cur: 0, rlim_max: 0)
                _ = unsafe setrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &none)
                do {
                    // Where rings do not count, nothing is in the way.
                    _ = try Reactor(engine: .ioUring)
                } catch ReactorError.engineUnavailable(_, let reason) {
                    try #require(reason.contains("locked memory"))
                }
            }
        }

        /// Many streams answer in one tick, so their sends share a call: every byte of each comes back, in order.
        @Test(arguments: Engines.available) func manyStreamsAreEchoedWhole(_ engine: EngineKind) throws {
            var reactor = try Reactor(engine: engine)
            let count = 24
            var tokens: [Token] = []
            var peers: [Background<Bool>] = []
            for index in 0..<count {
                let (ours, theirs) = index % 2 == 0 ? try Peer.pair() : try Peer.tcpPair()
                if index % 4 == 0 { Peer.shrink(ours) }
                let token = try reactor.adopt(Descriptor(owning: ours), owner: UInt64(index))
                reactor.receive(token)
                tokens.append(token)
                peers.append(
                    try Background {
                        let bytes = [UInt8].pattern(120_000 + index, seed: UInt64(index))
                        let reader = try? Background { Peer.receive(bytes.count + 1, from: theirs) }
                        for start in stride(from: 0, to: bytes.count, by: 3000) {
                            Peer.send(Array(bytes[start..<min(bytes.count, start + 3000)]), to: theirs)
                        }
                        shutdown(theirs, CInt(SHUT_WR))
                        let echoed = try? reader?.join()
                        close(theirs)
                        return echoed == bytes
                    })
            }
            _ = reactor.deadline(at: .seconds(20), owner: 999)
            var unsent = 0
            var ended = 0
            while ended < count || unsent > 0 {
                reactor.wait()
                while let completion = reactor.next() {
                    let owner = Int(completion.owner)
                    try #require(owner != 999, "stuck with \(unsent) sends")
                    switch consume completion.event {
                    case .received(let buffer):
                        reactor.send(buffer, to: tokens[owner])
                        unsent += 1
                    case .sent: unsent -= 1
                    case .endOfStream:
                        ended += 1
                        reactor.finish(tokens[owner])
                    case .failed(let errno): Issue.record("\(owner): \(errno)")
                    default: Issue.record("unexpected")
                    }
                }
            }
            for (index, peer) in peers.enumerated() { #expect(try peer.join(), "stream \(index)") }
            #expect(reactor.buffers.lent == 0)
        }

        /// Peers that go while a lot is on its way to them: one failure each, and no buffer stays behind.
        @Test(arguments: Engines.available) func manyPeersLeaveWhileTheyAreSentTo(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            var tokens: [Token] = []
            var peers: [CInt] = []
            for owner in 0..<16 {
                let (ours, theirs) = owner % 2 == 0 ? try Peer.pair() : try Peer.tcpPair()
                let token = try rig.adopt(ours, owner: UInt64(owner))
                // Half of them listen as well.
                if owner < 8 { rig.reactor.receive(token) }
                rig.reactor.send(copying: [UInt8](repeating: 7, count: 8 << 20), to: token)
                tokens.append(token)
                peers.append(theirs)
            }
            try rig.run(for: .milliseconds(5))
            #expect(rig.diary.isEmpty)
            for peer in peers { Peer.reset(peer) }
            try rig.run { $0.diary.count >= 16 }
            try rig.run(for: .milliseconds(5))
            for owner in 0..<16 {
                let seen = rig.seen(by: UInt64(owner))
                #expect(seen == [.failed(EPIPE)] || seen == [.failed(ECONNRESET)], "\(owner)")
            }
            for token in tokens { rig.reactor.close(token) }
            try rig.run { $0.diary.count == 32 }
            #expect(rig.reactor.buffers.lent == 0)
        }

        /// The peer sees the end although a receive and a send were under way when the stream was closed.
        @Test(arguments: Engines.available) func closeEndsWhatIsUnderWay(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            for pair in [try Peer.pair(), try Peer.tcpPair()] {
                let token = try rig.adopt(pair.0, owner: 1)
                rig.reactor.receive(token)
                rig.reactor.send(copying: [UInt8](repeating: 7, count: 16 << 20), to: token)
                try rig.run(for: .milliseconds(2))
                rig.reactor.close(token)
                try rig.run { $0.seen(by: 1) == [.closed] }
                #expect(rig.reactor.buffers.lent == 0)
                #expect(Peer.receive(16 << 20, from: pair.1).count < 16 << 20)
                close(pair.1)
                rig.forget()
            }
        }

        /// A reactor may end with everything under way: the descriptors are closed, and the memory is the kernel's no
        /// more.
        @Test(arguments: Engines.available) func aReactorThatEndsLetsGo(_ engine: EngineKind) throws {
            let (ours, theirs) = try Peer.pair()
            let (_, listening) = try Peer.pair()
            do {
                let rig = try Rig(engine)
                let token = try rig.adopt(ours, owner: 1)
                rig.reactor.receive(token)
                rig.reactor.send(copying: [UInt8](repeating: 7, count: 4 << 20), to: token)
                rig.reactor.receive(try rig.adopt(listening, owner: 2))
                _ = try rig.reactor.accept(
                    on: try Listener.stream(on: .ipv4(address: 0x7F00_0001, port: 0)), owner: 3)
                _ = try rig.reactor.watch(process: Descriptor.process(getpid()), owner: 4)
                try rig.run(for: .milliseconds(2))
            }
            #expect(Peer.receive(4 << 20, from: theirs).count < 4 << 20)
            close(theirs)
        }

        /// A client that had finished sending, and then was gone, kept its session for ever: no read tells it.
        @Test(arguments: Engines.available) func aPeerThatEndedAndThenBreaksIsTold(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.tcpPair()
            let token = try rig.adopt(ours, owner: 1)
            rig.reactor.receive(token)
            shutdown(theirs, CInt(SHUT_WR))
            try rig.run { $0.seen(by: 1) == [.endOfStream] }
            try rig.run(for: .milliseconds(2))
            Peer.reset(theirs)
            try rig.run { $0.seen(by: 1).count == 2 }
            guard case .failed = rig.seen(by: 1).last else {
                Issue.record("\(rig.seen(by: 1))")
                return
            }
            rig.reactor.close(token)
            try rig.run { $0.seen(by: 1).last == .closed }
        }

        /// More sockets have something in one tick than an engine keeps buffers for, and one of them never stops.
        @Test(arguments: Engines.available) func manyAtOnceBesideAFlood(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (flood, flooder) = try Peer.pair()
            rig.reactor.receive(try rig.adopt(flood, owner: 1000))
            let flooding = try Background {
                Peer.send([UInt8](repeating: 1, count: 8 << 20), to: flooder)
                close(flooder)
            }
            var peers: [CInt] = []
            for owner in 0..<200 {
                let (ours, theirs) = try Peer.pair()
                rig.reactor.receive(try rig.adopt(ours, owner: UInt64(owner)))
                Peer.send([UInt8](repeating: 2, count: 100), to: theirs)
                peers.append(theirs)
            }
            try rig.run { rig in (0..<200).allSatisfy { rig.bytes(of: $0).count == 100 } }
            try rig.run { $0.seen(by: 1000).last == .endOfStream }
            try flooding.join()
            for peer in peers { close(peer) }
        }
    }
}
