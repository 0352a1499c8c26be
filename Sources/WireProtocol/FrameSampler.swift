/// A frame of which only the beginning is kept.
struct SampledFrame {
    let tag: UInt8
    /// Bytes behind tag and length, those that were not kept included.
    let bodyLength: Int
    /// The body, or its beginning.
    fileprivate(set) var body: [UInt8] = []

    var isWhole: Bool { body.count == bodyLength }
}

/// Follows one direction of a session and keeps of each frame as much as can be described: a gigabyte in one message
/// takes no more memory than a line about it.
struct FrameSampler {
    private let limit: Int
    private var decoder: FrameDecoder
    /// The frame that has begun and not ended; nil between two, and in one whose header was not seen.
    private var current: SampledFrame?
    /// Bytes of its body that have not come.
    private var missing = 0
    /// The frames cannot be followed any more.
    private var isLost = false

    /// Begins where the decoder stands, which may be inside a frame: that one is left out.
    ///
    /// - Parameter limit: how much of a body is kept, in bytes.
    init(_ decoder: FrameDecoder, limit: Int) {
        self.decoder = decoder
        self.limit = limit
    }

    /// The frames that end in this chunk.
    mutating func received(_ bytes: RawSpan) -> [SampledFrame] {
        var ended: [SampledFrame] = []
        var offset = 0
        take(bytes, 0..<min(missing, bytes.byteCount), &ended)
        while !isLost {
            switch decoder.next(in: bytes, at: &offset) {
            case .needsMore: return ended
            case .violation: isLost = true
            case .frame(let header):
                missing = Int(header.bodyLength)
                current = SampledFrame(tag: header.tag, bodyLength: missing)
                take(bytes, header.bodyRange(in: bytes.byteCount), &ended)
            }
        }
        return ended
    }

    private mutating func take(_ bytes: RawSpan, _ range: Range<Int>, _ ended: inout [SampledFrame]) {
        guard var frame = current else { return }
        // The only reference: the body grows in place.
        current = nil
        missing -= range.count
        let kept = min(range.count, limit - frame.body.count)
        frame.body.append(bytes.extracting(range.lowerBound..<range.lowerBound + kept))
        if missing == 0 { ended.append(frame) } else { current = frame }
    }
}
