/// One whole frame.
public struct Frame: Sendable, Equatable {
    /// Header and body.
    public let bytes: [UInt8]

    /// The message's type.
    public var tag: UInt8 { bytes[0] }

    /// What follows tag and length.
    public var body: ArraySlice<UInt8> { bytes[5...] }
}

/// Gathers whole frames on the cold paths: a session's start, the router's own statements, `inspect`.
public struct FrameAssembler: Sendable {
    /// What `next()` found.
    public enum Outcome: Sendable, Equatable {
        /// At least this many bytes are missing.
        case needsMore(Int)
        /// One whole frame, taken out of the assembler.
        case frame(Frame)
        /// The stream can't be followed any further. The assembler repeats it.
        case violation(FrameViolation)
    }

    private let direction: FrameDirection
    private let limit: Int
    private var held: [UInt8] = []
    /// Where the first frame not yet taken begins in `held`.
    private var start = 0

    /// `limit` bounds a whole frame, header included, in bytes; a longer one is an `.invalidLength` violation.
    public init(_ direction: FrameDirection, limit: Int) {
        self.direction = direction
        self.limit = limit
    }

    /// Bytes that are held and in no frame that was taken.
    public var byteCount: Int { held.count - start }

    /// Takes a chunk of the stream.
    public mutating func append(_ bytes: RawSpan) {
        dropTaken()
        held.append(bytes)
    }

    /// Takes a chunk of the stream.
    public mutating func append(_ bytes: [UInt8]) {
        dropTaken()
        held += bytes
    }

    /// The next whole frame.
    public mutating func next() -> Outcome {
        let available = held.count - start
        guard available >= 5 else { return .needsMore(5 - available) }
        let tag = held[start]
        let length = held[...].bigEndianWord(at: start + 1)
        if let violation = direction.violation(tag: tag, length: length) { return .violation(violation) }
        let whole = Int(length) + 1
        guard whole <= limit else {
            return .violation(FrameViolation(.invalidLength, tag: tag, length: length))
        }
        guard available >= whole else { return .needsMore(whole - available) }
        defer { start += whole }
        return .frame(Frame(bytes: Array(held[start..<start + whole])))
    }

    /// What came behind the last frame taken.
    public var leftover: [UInt8] { Array(held[start...]) }

    /// Gives `leftover` away.
    public mutating func takeLeftover() -> [UInt8] {
        dropTaken()
        defer { held = [] }
        return held
    }

    private mutating func dropTaken() {
        guard start > 0 else { return }
        held.removeSubrange(..<start)
        start = 0
    }
}
