@testable import WireProtocol

/// What a fuzzer feeds: one input for any of the parsers, and what must hold for every input. Compiled into the tests,
/// which replay the corpus, and into libFuzzer's program.
///
///     byte 0: which parser     byte 1: how many bytes come at once     the rest: what comes
enum Fuzzing {
    /// Feeds one input.
    ///
    /// - Returns: what is wrong; nil when nothing is. A trap is the other way to find something.
    static func complaint(about input: [UInt8]) -> String? {
        guard input.count >= 2 else { return nil }
        let bytes = Array(input[2...])
        let chunks = chunks(of: bytes, length: Int(input[1]) + 1)
        switch input[0] & 3 {
        case 0: return firstPackets(bytes, chunks)
        case 1: return frames(bytes, chunks, .frontend)
        case 2: return frames(bytes, chunks, .backend)
        default: return administration(bytes, chunks)
        }
    }

    /// An input for the parser of this number.
    static func input(for parser: UInt8, chunk: UInt8, _ bytes: [UInt8]) -> [UInt8] { [parser, chunk] + bytes }

    private static func chunks(of bytes: [UInt8], length: Int) -> [ArraySlice<UInt8>] {
        stride(from: 0, to: bytes.count, by: length).map { bytes[$0..<min($0 + length, bytes.count)] }
    }

    // MARK: - First packets

    /// However they are cut, the same packets, the same violation, and what came behind them.
    private static func firstPackets(_ bytes: [UInt8], _ chunks: [ArraySlice<UInt8>]) -> String? {
        let (whole, cut) = (packets(in: [bytes[...]]), packets(in: chunks))
        // Bytes behind a request for encryption are a violation only when they came with it.
        if whole.outcomes.contains(where: isBytesBehindRequest) || cut.outcomes.contains(where: isBytesBehindRequest) {
            return nil
        }
        guard whole.outcomes == cut.outcomes else { return "\(whole.outcomes) whole, \(cut.outcomes) cut" }
        guard whole.leftover == cut.leftover else { return "\(whole.leftover) left whole, \(cut.leftover) cut" }
        return nil
    }

    private static func packets(
        in chunks: [ArraySlice<UInt8>]
    ) -> (outcomes: [StartupReader.Outcome], leftover: [UInt8]) {
        var reader = StartupReader()
        var outcomes: [StartupReader.Outcome] = []
        for chunk in chunks {
            reader.append(Array(chunk))
            reading: while true {
                let outcome = reader.next()
                switch outcome {
                case .needsMore(let count):
                    precondition(count > 0, "needs \(count) more")
                    break reading
                case .packet(let packet):
                    outcomes.append(outcome)
                    visit(packet)
                case .violation(let violation):
                    _ = violation.response
                    return (outcomes + [outcome], [])
                }
            }
        }
        return (outcomes, reader.leftover)
    }

    /// What the router asks of a packet.
    private static func visit(_ packet: FirstPacket) {
        guard case .startup(let startup) = packet else { return }
        _ = (startup.user, startup.database, startup["options"])
    }

    private static func isBytesBehindRequest(_ outcome: StartupReader.Outcome) -> Bool {
        if case .violation(.bytesBehindEncryptionRequest) = outcome { return true }
        return false
    }

    // MARK: - Frames

    /// The decoder finds the same headers at the same places however the stream is cut, and the assembler the same
    /// frames as the decoder.
    private static func frames(
        _ bytes: [UInt8], _ chunks: [ArraySlice<UInt8>], _ direction: FrameDirection
    ) -> String? {
        let (whole, cut) = (headers(in: [bytes[...]], direction), headers(in: chunks, direction))
        guard whole == cut else { return "\(whole) whole, \(cut) cut" }
        let assembled = assembledFrames(in: chunks, direction)
        let complete = whole.filter { $0.end <= bytes.count }
        guard assembled.count == complete.count else { return "\(assembled.count) frames of \(complete.count)" }
        for (frame, place) in zip(assembled, complete) {
            guard frame.bytes == Array(bytes[place.start..<place.end]) else { return "\(frame) at \(place)" }
            // What is read of a backend's messages.
            switch frame.tag {
            case Backend.Tag.errorResponse: _ = ErrorMessage(parsing: frame.body)
            case Backend.Tag.authentication: _ = Backend.AuthenticationRequest(parsing: frame.body)
            default: break
            }
        }
        return nil
    }

    private struct Place: Equatable {
        let tag: UInt8
        let start: Int
        let end: Int
    }

    private static func headers(in chunks: [ArraySlice<UInt8>], _ direction: FrameDirection) -> [Place] {
        var decoder = FrameDecoder(direction)
        var places: [Place] = []
        var base = 0
        for chunk in chunks.map(Array.init) {
            var offset = 0
            decoding: while true {
                switch unsafe decoder.next(in: chunk.span.bytes, at: &offset) {
                case .needsMore: break decoding
                case .violation: return places
                case .frame(let header):
                    let start = base + header.start
                    places.append(Place(tag: header.tag, start: start, end: start + 5 + Int(header.bodyLength)))
                }
            }
            base += chunk.count
        }
        return places
    }

    private static func assembledFrames(in chunks: [ArraySlice<UInt8>], _ direction: FrameDirection) -> [Frame] {
        var assembler = FrameAssembler(direction, limit: .max)
        var frames: [Frame] = []
        for chunk in chunks {
            assembler.append(Array(chunk))
            while case .frame(let frame) = assembler.next() { frames.append(frame) }
        }
        return frames
    }

    // MARK: - The router's own statements

    /// However the answer is cut, the same is done, and the exchange ends once.
    private static func administration(_ bytes: [UInt8], _ chunks: [ArraySlice<UInt8>]) -> String? {
        let (whole, cut) = (actions(on: [bytes[...]]), actions(on: chunks))
        guard whole == cut else { return "\(whole) whole, \(cut) cut" }
        let ends = whole.filter { action in
            switch action {
            case .send: false
            case .finished, .failed: true
            }
        }
        return ends.count == 1 ? nil : "\(ends.count) ends"
    }

    private static func actions(on chunks: [ArraySlice<UInt8>]) -> [AdminExchange.Action] {
        var exchange = AdminExchange(user: "routerd", database: "template1", statement: "SELECT 1")
        var actions: [AdminExchange.Action] = []
        for chunk in chunks.map(Array.init) { actions += unsafe exchange.received(chunk.span.bytes) }
        return actions + exchange.endOfStream()
    }
}
