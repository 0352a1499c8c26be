import Glibc
import Reactor
import Testing

extension ReactorTests {
    /// Several streams at once: back-pressure, subscriptions, fairness, memory.
    @Suite struct FlowTests {
        /// A 64 MB row with a slow reader deadlocked, or was held whole. The relay disarms the source while the sink is
        /// full: memory stays at a few buffers, every byte arrives in order, in both directions at once.
        @Test(arguments: Engines.available) func aSlowSinkHoldsItsSourceBack(_ engine: EngineKind) throws {
            var reactor = try Reactor(engine: engine)
            let total = 8 << 20
            let (a, outerA) = try Peer.tcpPair()
            let (b, outerB) = try Peer.pair()
            let tokens = [
                try reactor.adopt(Descriptor(owning: a), owner: 0), try reactor.adopt(Descriptor(owning: b), owner: 1),
            ]
            let writers = try [outerA, outerB].enumerated().map { index, end in
                try Background {
                    Peer.send(.pattern(total, seed: UInt64(index)), to: end)
                    shutdown(end, CInt(SHUT_WR))
                }
            }
            let readers = try [outerB, outerA].map { end in
                try Background {
                    var bytes: [UInt8] = []
                    while bytes.count < total {
                        let piece = Peer.receive(min(200_000, total - bytes.count), from: end)
                        if piece.isEmpty { break }
                        bytes += piece
                        usleep(1000)
                    }
                    return bytes
                }
            }
            for token in tokens { reactor.receive(token) }
            var unsent = [0, 0]
            var ended = [false, false]
            var mostLent = 0
            var disarms = 0
            let alarm = reactor.deadline(at: .seconds(30), owner: 9)
            while ended != [true, true] || unsent != [0, 0] {
                reactor.wait()
                while let completion = reactor.next() {
                    let source = Int(completion.owner)
                    try #require(source != 9, "the relay got stuck")
                    switch consume completion.event {
                    case .received(let buffer):
                        let sink = 1 - source
                        reactor.send(buffer, to: tokens[sink])
                        unsent[sink] += 1
                        if unsent[sink] == 4 {
                            reactor.disarm(tokens[source])
                            disarms += 1
                        }
                    case .sent:
                        unsent[source] -= 1
                        if unsent[source] == 1 && !ended[1 - source] { reactor.receive(tokens[1 - source]) }
                    case .endOfStream:
                        ended[source] = true
                        reactor.finish(tokens[1 - source])
                    case .disarmed: break
                    case .failed(let errno): Issue.record("\(errno)")
                    default: Issue.record("unexpected")
                    }
                    mostLent = max(mostLent, reactor.buffers.lent)
                }
            }
            reactor.cancel(deadline: alarm)
            for (index, reader) in readers.enumerated() {
                let isWhole = try reader.join() == .pattern(total, seed: UInt64(index))
                #expect(isWhole)
            }
            for writer in writers { try writer.join() }
            #expect(disarms > 10)
            #expect(mostLent <= 24)
            close(outerA)
            close(outerB)
        }

        /// Nothing is received between `.disarmed` and the next `receive`, whatever comes from the kernel; nothing is
        /// lost.
        @Test(arguments: Engines.available) func disarmAndReceiveInterleaveFreely(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            let token = try rig.adopt(ours, owner: 1)
            rig.reactor.receive(token)
            rig.reactor.receive(token)
            rig.reactor.disarm(token)
            try rig.run { $0.seen(by: 1) == [.disarmed] }
            Peer.send([1], to: theirs)
            try rig.run(for: .milliseconds(3))
            #expect(rig.seen(by: 1) == [.disarmed])
            // Armed again before the pending `.disarmed` was told: the subscription lives on.
            rig.reactor.disarm(token)
            rig.reactor.receive(token)
            try rig.run { $0.bytes(of: 1) == [1] }
            #expect(rig.seen(by: 1) == [.disarmed, .disarmed, .received([1])])
            Peer.send([2], to: theirs)
            try rig.run { $0.bytes(of: 1) == [1, 2] }
            // Twice in a row: each is told.
            rig.reactor.disarm(token)
            rig.reactor.disarm(token)
            try rig.run { $0.seen(by: 1).suffix(2) == [.disarmed, .disarmed] }
            close(theirs)
            try rig.run(for: .milliseconds(3))
            #expect(rig.seen(by: 1).last == .disarmed)
            rig.reactor.receive(token)
            try rig.run { $0.seen(by: 1).last == .endOfStream }
        }

        /// Random disarming, arming and sending from a seed: the bytes are whole and no `.received` comes where none
        /// may.
        @Test(arguments: Engines.available, Seeds.some(4))
        func randomSubscriptionsLoseNothing(_ engine: EngineKind, _ seed: UInt64) throws {
            var random = SeededGenerator(state: seed)
            var reactor = try Reactor(engine: engine)
            let (ours, theirs) = try Peer.pair()
            let token = try reactor.adopt(Descriptor(owning: ours), owner: 1)
            let bytes = [UInt8].pattern(400_000, seed: seed)
            let cuts = (0..<200).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted() + [bytes.count]
            let writer = try Background {
                var start = 0
                for cut in cuts {
                    Peer.send(Array(bytes[start..<cut]), to: theirs)
                    start = cut
                }
                close(theirs)
            }
            /// Bytes may come while the last word was `receive`, and until every `.disarmed` is told.
            enum LastWord {
                case receive
                case disarm
            }
            var lastWord = LastWord.disarm
            var pendingDisarms = 0
            var received: [UInt8] = []
            var isOver = false
            _ = reactor.deadline(at: .seconds(10), owner: 9)
            while !isOver {
                // A nudge per tick, so that a disarmed source does not make the test wait for ever.
                _ = reactor.deadline(at: reactor.now + .microseconds(200), owner: 2)
                if Bool.random(using: &random) {
                    reactor.receive(token)
                    lastWord = .receive
                } else if Int.random(in: 0..<4, using: &random) == 0 {
                    reactor.disarm(token)
                    lastWord = .disarm
                    pendingDisarms += 1
                }
                reactor.wait()
                while let completion = reactor.next() {
                    try #require(completion.owner != 9, "stuck; seed \(seed)")
                    switch consume completion.event {
                    case .received(let buffer):
                        #expect(lastWord == .receive || pendingDisarms > 0, "seed \(seed)")
                        received += buffer.array
                        if Int.random(in: 0..<3, using: &random) == 0 {
                            reactor.disarm(token)
                            lastWord = .disarm
                            pendingDisarms += 1
                        }
                    case .disarmed:
                        pendingDisarms -= 1
                        if Bool.random(using: &random) {
                            reactor.receive(token)
                            lastWord = .receive
                        }
                    case .endOfStream: isOver = true
                    case .expired: break
                    default: Issue.record("unexpected; seed \(seed)")
                    }
                }
            }
            try writer.join()
            #expect(received == bytes, "seed \(seed)")
        }

        /// Random pieces through random buffers over both kinds of stream, echoed: what went in comes out.
        @Test(arguments: Engines.available, Seeds.some(6))
        func randomPiecesAreEchoedWhole(_ engine: EngineKind, _ seed: UInt64) throws {
            var random = SeededGenerator(state: seed)
            var limits = ReactorLimits()
            limits.bufferBytes = [4096, 8192, 65_536].randomElement(using: &random) ?? 4096
            limits.receiveBudgetBytes = [1, 5000, 262_144].randomElement(using: &random) ?? 1
            limits.idleBuffers = Int.random(in: 0...4, using: &random)
            let rig = try Rig(engine, limits: limits)
            let (ours, theirs) = seed % 2 == 0 ? try Peer.pair() : try Peer.tcpPair()
            if seed % 4 == 0 { Peer.shrink(ours) }
            let token = try rig.adopt(ours, owner: 1)
            let bytes = [UInt8].pattern(Int.random(in: 1...600_000, using: &random), seed: seed)
            let cuts = (0..<50).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted() + [bytes.count]
            let peer = try Background {
                let reader = try? Background { Peer.receive(bytes.count + 1, from: theirs) }
                var start = 0
                for cut in cuts {
                    Peer.send(Array(bytes[start..<cut]), to: theirs)
                    start = cut
                }
                shutdown(theirs, CInt(SHUT_WR))
                let echoed = try? reader?.join()
                close(theirs)
                return echoed ?? []
            }
            rig.reactor.receive(token)
            var sends = 0
            var sent = 0
            var told = 0
            var hasEnded = false
            try rig.run("stuck; seed \(seed)") { rig in
                for seen in rig.diary[told...] {
                    switch seen.seen {
                    case .received(let piece):
                        var offset = 0
                        while offset < piece.count {
                            var buffer = rig.reactor.buffer()
                            let end = min(piece.count, offset + Int.random(in: 1...9000, using: &random))
                            offset += buffer.append(Array(piece[offset..<end]))
                            rig.reactor.send(buffer, to: token)
                            sends += 1
                        }
                    case .sent: sent += 1
                    case .endOfStream:
                        hasEnded = true
                        rig.reactor.finish(token)
                    default: Issue.record("unexpected \(seen); seed \(seed)")
                    }
                }
                told = rig.diary.count
                return hasEnded && sent == sends
            }
            let isWhole = try peer.join() == bytes
            #expect(isWhole, "seed \(seed)")
            rig.reactor.close(token)
            try rig.run { $0.diary.last?.seen == .closed }
            #expect(rig.reactor.buffers.lent == 0)
        }

        /// One socket floods; another one's small requests are answered all the same, each within a few ticks.
        @Test(arguments: Engines.available) func aFloodStarvesNobody(_ engine: EngineKind) throws {
            var reactor = try Reactor(engine: engine)
            let (flood, flooder) = try Peer.pair()
            let (quiet, asker) = try Peer.pair()
            let floodToken = try reactor.adopt(Descriptor(owning: flood), owner: 1)
            let quietToken = try reactor.adopt(Descriptor(owning: quiet), owner: 2)
            reactor.receive(floodToken)
            reactor.receive(quietToken)
            let flooding = try Background {
                Peer.send([UInt8](repeating: 1, count: 64 << 20), to: flooder)
                close(flooder)
            }
            Peer.send([1], to: asker)
            var answers = 0
            var mostBetween = 0
            var between = 0
            var hasEnded = false
            _ = reactor.deadline(at: .seconds(20), owner: 9)
            while !hasEnded {
                reactor.wait()
                while let completion = reactor.next() {
                    let owner = completion.owner
                    try #require(owner != 9, "stuck")
                    switch consume completion.event {
                    case .received(let buffer):
                        if owner == 2 {
                            answers += 1
                            mostBetween = max(mostBetween, between)
                            between = 0
                            Peer.send([1], to: asker)
                        } else {
                            between += buffer.count
                        }
                    case .endOfStream: hasEnded = true
                    default: Issue.record("unexpected")
                    }
                }
            }
            try flooding.join()
            #expect(answers >= 20)
            // The question waits for one budget, and for what was pulled before its edge was fetched.
            #expect(mostBetween <= 4 * ReactorLimits().receiveBudgetBytes)
            close(asker)
        }

        /// A source that has used its budget up waits for the next tick, however much more the kernel holds for it.
        @Test(arguments: Engines.available) func oneTickTakesNoMoreThanTheBudget(_ engine: EngineKind) throws {
            var limits = ReactorLimits()
            limits.bufferBytes = 4096
            limits.receiveBudgetBytes = 10_000
            var reactor = try Reactor(engine: engine, limits: limits)
            let (ours, theirs) = try Peer.pair()
            Peer.send(.pattern(100_000), to: theirs)
            close(theirs)
            reactor.receive(try reactor.adopt(Descriptor(owning: ours), owner: 1))
            _ = reactor.deadline(at: .seconds(10), owner: 9)
            var received = 0
            var hasEnded = false
            while !hasEnded {
                reactor.wait()
                var inThisTick = 0
                while let completion = reactor.next() {
                    try #require(completion.owner != 9, "stuck")
                    switch consume completion.event {
                    case .received(let buffer): inThisTick += buffer.count
                    case .endOfStream: hasEnded = true
                    default: Issue.record("unexpected")
                    }
                }
                #expect(inThisTick <= limits.receiveBudgetBytes + limits.bufferBytes)
                received += inThisTick
            }
            #expect(received == 100_000)
        }

        /// An idle session owns no buffer: a thousand sockets that were all served hold none.
        @Test(arguments: Engines.available) func aThousandIdleSocketsHoldNoBuffers(_ engine: EngineKind) throws {
            var limit = rlimit()
            _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            let count = min(1000, Int(limit.rlim_cur) / 2 - 100)
            let rig = try Rig(engine)
            var peers: [CInt] = []
            for index in 0..<count {
                let (ours, theirs) = try Peer.pair()
                rig.reactor.receive(try rig.adopt(ours, owner: UInt64(index)))
                peers.append(theirs)
            }
            for peer in peers { Peer.send([1, 2, 3], to: peer) }
            try rig.run { $0.diary.count == count }
            #expect(rig.reactor.buffers.lent == 0)
            #expect(rig.reactor.buffers.idle <= ReactorLimits().idleBuffers)
            for peer in peers { close(peer) }
            try rig.run { $0.diary.count == 2 * count }
        }

        /// Memory that one busy moment needed goes back to the kernel when nobody needs it for a while.
        @Test(arguments: Engines.available) func idleBuffersGoBack(_ engine: EngineKind) throws {
            var limits = ReactorLimits()
            limits.idleBuffers = 8
            let rig = try Rig(engine, limits: limits)
            do {
                var busy = Slab<Buffer>(capacity: 100)
                for _ in 0..<100 { _ = busy.insert(rig.reactor.buffer()) }
                #expect(rig.reactor.buffers.lent == 100)
            }
            #expect(rig.reactor.buffers == (0, 8))
            for _ in 0..<3 { try rig.run(for: .milliseconds(600)) }
            #expect(rig.reactor.buffers.idle <= 4)
        }

        /// A buffer may end after its reactor.
        @Test(arguments: Engines.available) func aBufferOutlivesItsReactor(_ engine: EngineKind) throws {
            func lend() throws -> Buffer {
                var reactor = try Reactor(engine: engine)
                return reactor.buffer()
            }
            var buffer = try lend()
            buffer.append([1, 2, 3])
            let bytes = buffer.array
            #expect(bytes == [1, 2, 3])
        }
    }

    @Suite struct BufferTests {
        @Test func sentParsedReceivedCapacity() throws {
            var reactor = try Reactor(engine: .auto)
            var buffer = reactor.buffer()
            let capacity = buffer.capacity
            #expect(capacity > 60_000)
            let taken = buffer.append([1, 2, 3, 4, 5])
            #expect(taken == 5)
            buffer.markParsed(3)
            buffer.removeFirst(2)
            var (count, unparsed) = (buffer.count, buffer.unparsedCount)
            #expect((count, unparsed) == (3, 2))
            buffer.removeFirst(2)
            (count, unparsed) = (buffer.count, buffer.unparsedCount)
            #expect((count, unparsed) == (1, 1))
            buffer.removeFirst(1)
            let remaining = buffer.remainingCapacity
            #expect(remaining == capacity)
            let overflow = buffer.append([UInt8](repeating: 7, count: capacity + 10))
            #expect(overflow == capacity)
            buffer.removeLast(capacity - 2)
            buffer.withMutableBytes { bytes in
                unsafe bytes.withUnsafeMutableBytes { unsafe $0[1] = 9 }
            }
            let bytes = buffer.array
            #expect(bytes == [7, 9])
        }
    }
}
