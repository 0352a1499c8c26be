import Glibc
import Reactor
import Testing

extension ReactorTests {
    /// One stream and its peer.
    @Suite struct StreamTests {
        /// A startup packet split over many reads was dropped: every byte comes, in order, however it is cut.
        @Test(arguments: Engines.available) func dripFedBytesArriveInOrder(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            rig.reactor.receive(try rig.adopt(ours, owner: 1))
            let bytes = [UInt8].pattern(40)
            for (index, byte) in bytes.enumerated() {
                Peer.send([byte], to: theirs)
                try rig.run { $0.bytes(of: 1).count == index + 1 }
            }
            #expect(rig.bytes(of: 1) == bytes)
            close(theirs)
            try rig.run { $0.seen(by: 1).last == .endOfStream }
        }

        /// One `.sent` per send, in order, also for what was queued while the peer did not read; then the bytes.
        @Test(arguments: Engines.available) func everySendIsToldOnceInOrder(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            Peer.shrink(ours)
            let token = try rig.adopt(ours, owner: 1)
            let small = [UInt8].pattern(100)
            let large = [UInt8].pattern(300_000, seed: 2)
            rig.reactor.send(copying: small, to: token)
            rig.reactor.send(copying: large, to: token)
            rig.reactor.send(copying: [], to: token)
            rig.reactor.send(copying: small, to: token)
            try rig.run { $0.seen(by: 1) == [.sent] }
            let reader = try Background { Peer.receive(300_200, from: theirs) }
            try rig.run { $0.seen(by: 1).count == 4 }
            #expect(rig.seen(by: 1) == [.sent, .sent, .sent, .sent])
            #expect(try reader.join() == small + large + small)
            rig.reactor.close(token)
            try rig.run { $0.seen(by: 1).last == .closed }
        }

        /// The last words of a peer that leaves (a FATAL ErrorResponse) come before its end.
        @Test(arguments: Engines.available) func bytesBeforeTheEndComeBeforeIt(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            for pair in [try Peer.pair(), try Peer.tcpPair()] {
                let bytes = [UInt8].pattern(200_000)
                let writer = try Background {
                    Peer.send(bytes, to: pair.1)
                    close(pair.1)
                }
                rig.reactor.receive(try rig.adopt(pair.0, owner: 1))
                try rig.run { $0.seen(by: 1).last == .endOfStream }
                #expect(rig.bytes(of: 1) == bytes)
                try writer.join()
                rig.forget()
            }
        }

        /// Somebody begins to read along in the middle of a tick: nothing that is told from then on bears the old name,
        /// and nothing is told twice or lost.
        @Test(arguments: Engines.available) func aSourceIsHandedOver(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            let token = try rig.adopt(ours, owner: 1)
            rig.reactor.receive(token)
            Peer.send([1], to: theirs)
            try rig.run { $0.bytes(of: 1) == [1] }
            Peer.send([2], to: theirs)
            rig.reactor.hand(token, to: 2)
            rig.reactor.send(copying: [3], to: token)
            try rig.run { $0.bytes(of: 2) == [2] && $0.seen(by: 2).contains(.sent) }
            rig.reactor.close(token)
            try rig.run { $0.seen(by: 2).last == .closed }
            #expect(rig.seen(by: 1) == [.received([1])])
            rig.reactor.hand(token, to: 3)
            close(theirs)
        }

        /// Whoever can go on at once is told so by the call, and not a second time.
        @Test(arguments: Engines.available) func aPassThatLeavesAtOnceIsToldByTheCall(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            let token = try rig.adopt(ours, owner: 1)
            #expect(rig.pass([1, 2, 3], to: token))
            #expect(Peer.receive(3, from: theirs) == [1, 2, 3])
            try rig.run(for: .milliseconds(2))
            #expect(rig.seen(by: 1).isEmpty)
            let piece = [UInt8].pattern(60_000)
            var left = 0
            while rig.pass(piece, to: token) { left += 1 }
            #expect(!rig.pass([4, 5], to: token), "there is one in front of it")
            let sent = piece.count * (left + 1) + 2
            let reader = try Background { Peer.receive(sent, from: theirs) }
            try rig.run { $0.seen(by: 1).count == 2 }
            let received = try reader.join()
            #expect(received.count == sent && received.suffix(2) == [4, 5])
            #expect(
                received.prefix(piece.count * (left + 1)).elementsEqual(
                    Array(repeating: piece, count: left + 1).joined()))
            try rig.run(for: .milliseconds(2))
            #expect(rig.seen(by: 1) == [.sent, .sent])
            rig.reactor.close(token)
            #expect(!rig.pass([6], to: token))
            try rig.run { $0.seen(by: 1).last == .closed }
            #expect(!rig.pass([6], to: token))
            close(theirs)
        }

        /// A peer that has gone: the failure is told, and once.
        @Test(arguments: Engines.available) func aPassToAPeerThatIsGoneFails(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            let token = try rig.adopt(ours, owner: 1)
            close(theirs)
            #expect(!rig.pass([1], to: token))
            #expect(!rig.pass([2], to: token))
            try rig.run { !$0.seen(by: 1).isEmpty }
            try rig.run(for: .milliseconds(2))
            #expect(rig.seen(by: 1) == [.failed(EPIPE)])
        }

        /// Many at once may share a call, and are told when it was made.
        @Test(arguments: Engines.available) func everyPassIsToldInOneOfTwoWays(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let pairs = try (0..<8).map { _ in try Peer.pair() }
            let tokens = try pairs.map { try rig.adopt($0.0, owner: 1) }
            for token in tokens { rig.reactor.receive(token) }
            try rig.run(for: .milliseconds(1))
            for (_, theirs) in pairs { Peer.send([9], to: theirs) }
            var echoed = 0
            var told = 0
            while told < pairs.count {
                rig.reactor.wait()
                while let completion = rig.reactor.next() {
                    let token = completion.token
                    switch completion.takeEvent() {
                    case .received(let buffer):
                        echoed += 1
                        if rig.reactor.pass(buffer, to: token) { told += 1 }
                    case .sent: told += 1
                    default: Issue.record("neither bytes nor a send")
                    }
                }
            }
            #expect(echoed == pairs.count && told == pairs.count)
            for (_, theirs) in pairs {
                #expect(Peer.receive(1, from: theirs) == [9])
                close(theirs)
            }
        }

        /// The end came together with bytes while the source was disarmed: both are remembered.
        @Test(arguments: Engines.available) func anEndThatCameWhileDisarmedIsRemembered(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            let token = try rig.adopt(ours, owner: 1)
            Peer.send([1, 2, 3], to: theirs)
            close(theirs)
            try rig.run(for: .milliseconds(5))
            #expect(rig.seen(by: 1).isEmpty)
            rig.reactor.receive(token)
            try rig.run { $0.seen(by: 1).last == .endOfStream }
            #expect(rig.seen(by: 1) == [.received([1, 2, 3]), .endOfStream])
        }

        /// A peer that has finished sending still hears us; our own end comes behind every queued byte.
        @Test(arguments: Engines.available) func bothHalvesCloseByThemselves(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            for pair in [try Peer.pair(), try Peer.tcpPair()] {
                let (ours, theirs) = pair
                let token = try rig.adopt(ours, owner: 1)
                rig.reactor.receive(token)
                Peer.send([7], to: theirs)
                shutdown(theirs, CInt(SHUT_WR))
                try rig.run { $0.seen(by: 1) == [.received([7]), .endOfStream] }
                let bytes = [UInt8].pattern(500_000)
                rig.reactor.send(copying: bytes, to: token)
                rig.reactor.finish(token)
                let reader = try Background { Peer.receive(bytes.count + 1, from: theirs) }
                try rig.run { $0.seen(by: 1).last == .sent }
                #expect(try reader.join() == bytes)
                rig.reactor.close(token)
                try rig.run { $0.seen(by: 1).last == .closed }
                #expect(rig.seen(by: 1).count == 4)
                rig.forget()
            }
        }

        @Test(arguments: Engines.available) func finishWithNothingQueuedEndsAtOnce(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            let token = try rig.adopt(ours, owner: 1)
            rig.reactor.receive(token)
            rig.reactor.finish(token)
            rig.reactor.finish(token)
            try rig.run(for: .milliseconds(1))
            #expect(Peer.receive(1, from: theirs) == [])
            Peer.send([5], to: theirs)
            try rig.run { $0.seen(by: 1) == [.received([5])] }
            close(theirs)
        }

        /// A reset is a failure, told once; what is sent afterwards vanishes and only `.closed` follows.
        @Test(arguments: Engines.available) func aResetFailsOnce(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.tcpPair()
            let token = try rig.adopt(ours, owner: 1)
            rig.reactor.receive(token)
            try rig.run(for: .milliseconds(1))
            Peer.reset(theirs)
            try rig.run { !$0.seen(by: 1).isEmpty }
            #expect(rig.seen(by: 1) == [.failed(ECONNRESET)])
            rig.reactor.send(copying: [1], to: token)
            rig.reactor.receive(token)
            rig.reactor.disarm(token)
            rig.reactor.finish(token)
            try rig.run(for: .milliseconds(2))
            rig.reactor.close(token)
            rig.reactor.close(token)
            try rig.run(for: .milliseconds(2))
            #expect(rig.seen(by: 1) == [.failed(ECONNRESET), .closed])
            #expect(rig.reactor.buffers.lent == 0)
        }

        /// A backend says why it ends and goes; meanwhile we send. The reason must not be lost to the failed send.
        @Test(arguments: Engines.available) func theLastWordsComeBeforeTheFailureOfASend(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            let token = try rig.adopt(ours, owner: 1)
            rig.reactor.receive(token)
            let words = [UInt8].pattern(100_000)
            Peer.send(words, to: theirs)
            close(theirs)
            rig.reactor.send(copying: [1, 2, 3], to: token)
            try rig.run { rig in rig.seen(by: 1).contains { $0 == .failed(EPIPE) || $0 == .failed(ECONNRESET) } }
            #expect(rig.bytes(of: 1) == words)
            #expect(!rig.seen(by: 1).contains(.sent))
        }

        @Test(arguments: Engines.available) func aSendToAPeerThatIsGoneFailsWhileDisarmed(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            let token = try rig.adopt(ours, owner: 1)
            close(theirs)
            rig.reactor.send(copying: [1], to: token)
            rig.reactor.send(copying: [2], to: token)
            try rig.run { !$0.seen(by: 1).isEmpty }
            try rig.run(for: .milliseconds(2))
            #expect(rig.seen(by: 1) == [.failed(EPIPE)])
        }

        /// Closing drops what is queued: nothing but `.closed` is told, no buffer is kept, the peer sees the end.
        @Test(arguments: Engines.available) func closeDropsQueuedSends(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            Peer.shrink(ours)
            let token = try rig.adopt(ours, owner: 1)
            rig.reactor.send(copying: [UInt8].pattern(1_000_000), to: token)
            rig.reactor.send(copying: [1], to: token)
            rig.reactor.receive(token)
            rig.reactor.disarm(token)
            try rig.run(for: .milliseconds(2))
            #expect(rig.seen(by: 1) == [.disarmed])
            rig.reactor.close(token)
            rig.reactor.send(copying: [1], to: token)
            try rig.run { $0.seen(by: 1).last == .closed }
            try rig.run(for: .milliseconds(2))
            #expect(rig.seen(by: 1) == [.disarmed, .closed])
            #expect(rig.reactor.buffers.lent == 0)
            #expect(Peer.receive(1_000_001, from: theirs).count < 1_000_001)
            close(theirs)
        }

        /// The kernel's number of a closed descriptor goes to the next one in the same tick. Events of the first must
        /// not reach the second.
        @Test(arguments: Engines.available) func aReusedNumberInheritsNoEvents(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            var sameNumbers = 0
            for round in 0..<50 {
                let (first, firstPeer) = try Peer.pair()
                let (waker, wakerPeer) = try Peer.pair()
                let firstToken = try rig.adopt(first, owner: 1)
                let wakerToken = try rig.adopt(waker, owner: 2)
                rig.reactor.receive(firstToken)
                rig.reactor.receive(wakerToken)
                Peer.send([1], to: wakerPeer)
                Peer.send([UInt8](repeating: 66, count: 10), to: firstPeer)
                // Both edges are in one batch; the owner closes the first before its turn.
                rig.reactor.wait()
                rig.reactor.close(firstToken)
                let (second, secondPeer) = try Peer.pair()
                if second == first { sameNumbers += 1 }
                let secondToken = try rig.adopt(second, owner: 3)
                rig.reactor.receive(secondToken)
                Peer.send([UInt8(round)], to: secondPeer)
                try rig.run { !$0.seen(by: 3).isEmpty && $0.seen(by: 2) == [.received([1])] }
                #expect(rig.seen(by: 1) == [.closed])
                #expect(rig.seen(by: 3) == [.received([UInt8(round)])])
                #expect(firstToken != secondToken)
                rig.reactor.close(wakerToken)
                rig.reactor.close(secondToken)
                try rig.run { $0.seen(by: 3).last == .closed && $0.seen(by: 2).last == .closed }
                for end in [firstPeer, wakerPeer, secondPeer] { close(end) }
                rig.forget()
            }
            // An engine that closes later leaves the number taken; where it comes back, the test has teeth.
            if engine == .epoll { #expect(sameNumbers > 0) }
        }

        /// Operations with a token that is gone are late decisions, not mistakes.
        @Test(arguments: Engines.available) func operationsOnAGoneTokenAreIgnored(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair()
            let token = try rig.adopt(ours, owner: 1)
            rig.reactor.close(token)
            try rig.run { $0.seen(by: 1) == [.closed] }
            try rig.run(for: .milliseconds(1))
            rig.reactor.receive(token)
            rig.reactor.disarm(token)
            rig.reactor.send(copying: [1], to: token)
            rig.reactor.finish(token)
            rig.reactor.close(token)
            rig.reactor.configure(token, StreamOptions())
            #expect(rig.reactor.peer(of: token) == nil)
            try rig.run(for: .milliseconds(1))
            #expect(rig.seen(by: 1) == [.closed])
            close(theirs)
        }

        /// A pipe and what comes through it, its end included.
        @Test(arguments: Engines.available) func aPipeIsReadToItsEnd(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            var ends: [CInt] = [0, 0]
            try #require(unsafe pipe(&ends) == 0)
            rig.reactor.receive(try rig.adopt(ends[0], owner: 1))
            let bytes = [UInt8].pattern(50_000)
            _ = unsafe write(ends[1], bytes, bytes.count)
            try rig.run { $0.bytes(of: 1).count == bytes.count }
            _ = unsafe write(ends[1], bytes, 10)
            close(ends[1])
            try rig.run { $0.seen(by: 1).last == .endOfStream }
            #expect(rig.bytes(of: 1) == bytes + bytes[0..<10])
        }
    }
}
