import TestSupport
import Testing

@testable import WireProtocol

/// What a decoder must see in a stream, found out the slow way, with the whole stream at hand.
private struct Reference {
    struct Seen: Equatable {
        let tag: UInt8
        let bodyLength: UInt32
        /// Of the tag, from the stream's first byte.
        let start: Int
    }

    private(set) var seen: [Seen] = []
    private(set) var violation: FrameViolation?
    /// Where each header ends, the last one behind the stream.
    private(set) var headerEnds = [5]

    init(_ stream: [UInt8], _ direction: FrameDirection) {
        let limit: UInt32 = direction == .frontend ? 0x3fff_ffff : 0x7fff_ffff
        while let end = headerEnds.last, end <= stream.count {
            let start = end - 5
            let length = stream[start + 1..<end].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            if direction == .frontend, !"BCDEFHPQSXcdfp".utf8.contains(stream[start]) {
                violation = FrameViolation(.unknownTag, tag: stream[start], length: length)
                return
            }
            guard length >= 4, length <= limit else {
                violation = FrameViolation(.invalidLength, tag: stream[start], length: length)
                return
            }
            seen.append(Seen(tag: stream[start], bodyLength: length - 4, start: start))
            headerEnds.append(end + Int(length) + 1)
        }
    }
}

/// What the decoder tells otherwise than the reference; nil when they agree.
private func discrepancy(_ chunks: [[UInt8]], _ direction: FrameDirection) -> String? {
    let reference = Reference(chunks.flatMap { $0 }, direction)
    var decoder = FrameDecoder(direction)
    var seenCount = 0
    var base = 0
    for chunk in chunks {
        var offset = 0
        decoding: while true {
            switch unsafe decoder.next(in: chunk.span.bytes, at: &offset) {
            case .frame(let header):
                let seen = Reference.Seen(tag: header.tag, bodyLength: header.bodyLength, start: base + header.start)
                guard seenCount < reference.seen.count, seen == reference.seen[seenCount],
                    offset == header.bodyStart, (-4...chunk.count).contains(header.start)
                else { return "\(header) in the chunk at \(base)" }
                seenCount += 1
            case .needsMore(let missing):
                let expected = reference.headerEnds[seenCount] - base - chunk.count
                guard offset == chunk.count, missing == expected, decoder.isAtBoundary == (missing == 5) else {
                    return "needs \(missing) more, not \(expected), after the chunk at \(base)"
                }
                break decoding
            case .violation(let violation):
                return violation == reference.violation && seenCount == reference.seen.count ? nil : "\(violation)"
            }
        }
        base += chunk.count
    }
    return reference.violation == nil && seenCount == reference.seen.count ? nil : "the end came early"
}

@Suite struct FrameDecoderTests {
    static let frontend = Array(Transcript.psqlFrontend[71...]) + Transcript.pgbenchFrontend[74...]
    static let backend = Array(Transcript.psqlBackend[1...]) + Transcript.pgbenchBackend[1...]

    @Test func recordedSessionsAreFollowed() {
        #expect(
            String(decoding: Reference(Self.frontend, .frontend).seen.map(\.tag), as: UTF8.self)
                == "QQQQdcQQQQQQQQQQQQXPSBDESBDESBDESBDESX")
        #expect(
            String(decoding: Reference(Self.backend, .backend).seen.map(\.tag), as: UTF8.self)
                == "RSSSSSSSSSSSSSKZCZCZHddddddddddddcCZGCZTDDDCZEZTDCZIZCZCAZNCZCSZCZEZCZCZ"
                + "RSSSSSSSSSSSSSKZ1Z2TDCZ2TDCZ2TDCZ2TDCZ")
        for (stream, direction) in [(Self.frontend, FrameDirection.frontend), (Self.backend, .backend)] {
            #expect(discrepancy([stream], direction) == nil, "whole")
            #expect(discrepancy(eachByte(stream), direction) == nil, "byte by byte")
            for cut in 0...min(stream.count, 400) {
                #expect(discrepancy([Array(stream[..<cut]), Array(stream[cut...])], direction) == nil, "cut at \(cut)")
            }
        }
    }

    @Test func randomChunksAreFollowed() {
        var chance = Chance()
        for round in 0..<60 {
            let longest = [1, 3, 7, 40, 900].randomElement(using: &chance) ?? 1
            let comment = Comment("seed \(chance.seed), round \(round)")
            let frontend = chance.chunks(of: Self.frontend, upTo: longest)
            #expect(discrepancy(frontend, .frontend) == nil, comment)
            let backend = chance.chunks(of: Self.backend, upTo: longest)
            #expect(discrepancy(backend, .backend) == nil, comment)
        }
    }

    /// A length field was allocated as given, and one below 4 was taken for "needs more": the session stalled.
    @Test(arguments: [UInt32(0), 1, 3, 4, 5, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])
    func lengthsAreJudged(length: UInt32) {
        for (direction, tag, limit) in [
            (FrameDirection.frontend, Unicode.Scalar("Q"), UInt32(0x3fff_ffff)), (.backend, "D", 0x7fff_ffff),
        ] {
            let isLegal = length >= 4 && length <= limit
            let bad = FrameViolation(.invalidLength, tag: UInt8(ascii: tag), length: length)
            #expect(
                direction.violation(tag: UInt8(ascii: tag), length: length) == (isLegal ? nil : bad),
                "\(direction) \(length)")
            for before in [[], frame(tag), frame(tag, [1, 2, 3]), frame(tag, .init(repeating: 7, count: 300))] {
                let stream = before + header(tag, length) + (length == 5 ? [9] : [])
                #expect(discrepancy([stream], direction) == nil, "\(direction) \(length)")
                #expect(discrepancy(eachByte(stream), direction) == nil, "\(direction) \(length)")
                for cut in before.count..<stream.count {
                    #expect(
                        discrepancy([Array(stream[..<cut]), Array(stream[cut...])], direction) == nil,
                        "\(direction) \(length) \(cut)")
                }
            }
        }
    }

    @Test func everyTagIsJudged() {
        for tag in UInt8.min...UInt8.max {
            let isKnown = "BCDEFHPQSXcdfp".utf8.contains(tag)
            let unknown = FrameViolation(.unknownTag, tag: tag, length: 4)
            #expect(FrameDirection.frontend.violation(tag: tag, length: 4) == (isKnown ? nil : unknown))
            #expect(FrameDirection.backend.violation(tag: tag, length: 4) == nil)
        }
        #expect(
            FrameDirection.frontend.violation(tag: 122, length: 3)?.error
                == ErrorMessage(.protocolViolation, "invalid frontend message type 122"))
        #expect(
            FrameDirection.backend.violation(tag: 122, length: 3)?.error
                == ErrorMessage(.protocolViolation, "invalid message length"))
    }

    @Test func headersSayWhereTheyStood() {
        var decoder = FrameDecoder(.backend)
        var offset = 0
        let first: [UInt8] = frame("C", [1, 2, 3]) + [UInt8(ascii: "D"), 0]
        #expect(
            unsafe decoder.next(in: first.span.bytes, at: &offset)
                == .frame(FrameHeader(tag: UInt8(ascii: "C"), bodyLength: 3, start: 0)))
        #expect(!decoder.isAtBoundary)
        #expect(unsafe decoder.next(in: first.span.bytes, at: &offset) == .needsMore(3))

        let second: [UInt8] = [0, 1, 4] + [UInt8](repeating: 1, count: 100)
        offset = 0
        let straddled = FrameHeader(tag: UInt8(ascii: "D"), bodyLength: 256, start: -2)
        #expect(unsafe decoder.next(in: second.span.bytes, at: &offset) == .frame(straddled))
        #expect(straddled.bodyRange(in: second.count) == 3..<103)
        #expect(!straddled.bodyEnds(in: second.count))
        #expect(unsafe decoder.next(in: second.span.bytes, at: &offset) == .needsMore(161))

        let third = [UInt8](repeating: 1, count: 156) + frame("Z", [0x49])
        offset = 0
        let last = FrameHeader(tag: UInt8(ascii: "Z"), bodyLength: 1, start: 156)
        #expect(unsafe decoder.next(in: third.span.bytes, at: &offset) == .frame(last))
        #expect(last.bodyRange(in: third.count) == 161..<162 && last.bodyEnds(in: third.count))
        #expect(unsafe decoder.next(in: third.span.bytes, at: &offset) == .needsMore(5))
        #expect(decoder.isAtBoundary)
    }

    @Test func anEmptyChunkChangesNothing() {
        var decoder = FrameDecoder(.frontend)
        for (chunk, missing) in [([], 5), (frame("S"), 5), ([], 5), ([0x51, 0], 3), ([], 3)] as [([UInt8], Int)] {
            var offset = 0
            var outcome = unsafe decoder.next(in: chunk.span.bytes, at: &offset)
            if case .frame = outcome { outcome = unsafe decoder.next(in: chunk.span.bytes, at: &offset) }
            #expect(outcome == .needsMore(missing))
        }
    }

    @Test func hostileInputNeverTraps() {
        var chance = Chance()
        for round in 0..<400 {
            let comment = Comment("seed \(chance.seed), round \(round)")
            let (stream, direction) =
                Bool.random(using: &chance) ? (Self.frontend, FrameDirection.frontend) : (Self.backend, .backend)
            let start = Int.random(in: 0..<stream.count, using: &chance)
            let mutated = chance.mutation(of: Array(stream[start..<min(start + 200, stream.count)]))
            let mutatedChunks = chance.chunks(of: mutated, upTo: 30)
            #expect(discrepancy(mutatedChunks, direction) == nil, comment)
            let noise = (0..<60).map { _ in UInt8.random(in: 0...255, using: &chance) }
            let noiseChunks = chance.chunks(of: noise, upTo: 9)
            #expect(discrepancy(noiseChunks, direction) == nil, comment)
        }
    }

    @Test func aDecoderIsSmall() {
        #expect(MemoryLayout<FrameDecoder>.stride <= 16)
    }
}

@Suite struct FrameAssemblerTests {
    @Test func framesComeWholeFromAnyChunks() {
        var chance = Chance()
        let stream = FrameDecoderTests.backend
        let expected = Reference(stream, .backend).seen.map { seen in
            Array(stream[seen.start..<seen.start + 5 + Int(seen.bodyLength)])
        }
        for chunks in [[stream], eachByte(stream)] + (0..<30).map({ _ in chance.chunks(of: stream, upTo: 90) }) {
            var assembler = FrameAssembler(.backend, limit: 10_000)
            var frames: [[UInt8]] = []
            for chunk in chunks {
                unsafe assembler.append(chunk.span.bytes)
                while case .frame(let frame) = assembler.next() {
                    #expect(frame.tag == frame.bytes[0] && Array(frame.body) == Array(frame.bytes[5...]))
                    frames.append(frame.bytes)
                }
            }
            #expect(frames == expected, "seed \(chance.seed)")
            #expect(assembler.next() == .needsMore(5))
            #expect(assembler.leftover.isEmpty)
        }
    }

    @Test func theLimitCountsWholeFrames() {
        var fits = FrameAssembler(.backend, limit: 8)
        fits.append(frame("D", [1, 2, 3]))
        #expect(fits.next() == .frame(Frame(bytes: frame("D", [1, 2, 3]))))
        var exceeds = FrameAssembler(.backend, limit: 8)
        exceeds.append(header("D", 8))
        let violation = FrameViolation(.invalidLength, tag: UInt8(ascii: "D"), length: 8)
        #expect(exceeds.next() == .violation(violation))
        #expect(exceeds.next() == .violation(violation))
    }

    @Test(arguments: [UInt32(0), 3, 0x8000_0000, 0xffff_ffff])
    func lengthsAreJudged(length: UInt32) {
        var assembler = FrameAssembler(.backend, limit: .max)
        assembler.append(frame("Z", [0x49]) + header("D", length))
        #expect(assembler.next() == .frame(Frame(bytes: frame("Z", [0x49]))))
        #expect(
            assembler.next() == .violation(FrameViolation(.invalidLength, tag: UInt8(ascii: "D"), length: length)))
    }

    @Test func leftoverIsWhatWasNotTaken() {
        var assembler = FrameAssembler(.frontend, limit: 100)
        assembler.append(frame("S") + [0x51, 0])
        #expect(assembler.next() == .frame(Frame(bytes: frame("S"))))
        #expect(assembler.next() == .needsMore(3))
        #expect(assembler.leftover == [0x51, 0])
        #expect(assembler.takeLeftover() == [0x51, 0])
        #expect(assembler.next() == .needsMore(5))
        assembler.append(frame("H"))
        #expect(assembler.next() == .frame(Frame(bytes: frame("H"))))
    }
}
