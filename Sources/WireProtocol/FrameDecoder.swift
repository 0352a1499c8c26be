/// Follows frame boundaries through a byte stream that arrives in arbitrary chunks.
///
/// It never holds a body: the relay forwards the chunk and asks the decoder only what passes by. Its whole memory is
/// what is left of the current body, and at most four bytes of a header that straddles two chunks.
///
///     chunk n:      …… body ──┐┌tag len len│
///     chunk n + 1:  len len┐┌─ body ─┐┌ tag len len len len ┐┌─ body ……
///                          └ frame(start: −3)               └ frame(start: 5 + …)
public struct FrameDecoder: BitwiseCopyable, Sendable {
    /// What `next(in:at:)` found.
    public enum Outcome: BitwiseCopyable, Sendable, Equatable {
        /// The chunk is used up; the next header is complete after this many bytes more.
        case needsMore(Int)
        /// A header; `offset` stands behind it, where its body begins.
        case frame(FrameHeader)
        /// The stream can't be followed any further; `offset` stands behind the header. The decoder must not be asked
        /// again.
        case violation(FrameViolation)
    }

    @usableFromInline let direction: FrameDirection
    /// Of the current body, in bytes.
    @usableFromInline var bodyBytesLeft: UInt32 = 0
    /// The bytes of a straddling header: the tag, then up to three of its length, the first in the highest place used.
    @usableFromInline var straddling: UInt32 = 0
    @usableFromInline var straddlingCount: UInt8 = 0

    /// A decoder at a boundary: the next byte is a tag.
    @inlinable
    public init(_ direction: FrameDirection) { self.direction = direction }

    /// True when no header and no body is partly through: the only place where a message may be injected.
    @inlinable
    public var isAtBoundary: Bool { bodyBytesLeft == 0 && straddlingCount == 0 }

    /// Skips what is left of the current body, then reads the next header.
    ///
    /// `offset` counts from the chunk's first byte and is moved; a chunk is asked about until the outcome is not
    /// `.frame`, and then has been used up.
    @inlinable
    public mutating func next(in bytes: RawSpan, at offset: inout Int) -> Outcome {
        let available = bytes.byteCount &- offset
        precondition(offset >= 0 && available >= 0, "the offset lies within the chunk")
        let left = Int(bodyBytesLeft)
        if straddlingCount != 0 || available < left &+ 5 { return nextAtEdge(in: bytes, at: &offset) }
        let start = offset &+ left
        let tag = unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: start, as: UInt8.self)
        let word = unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: start &+ 1, as: UInt32.self)
        offset = start &+ 5
        return begin(tag: tag, length: UInt32(bigEndian: word), start: start)
    }

    /// The header is complete: judge it, and enter its body.
    @inlinable
    mutating func begin(tag: UInt8, length: UInt32, start: Int) -> Outcome {
        if let violation = direction.violation(tag: tag, length: length) { return .violation(violation) }
        bodyBytesLeft = length &- 4
        return .frame(FrameHeader(tag: tag, bodyLength: length &- 4, start: start))
    }

    /// The chunk ends within the body or the header, or began within a header.
    @usableFromInline
    mutating func nextAtEdge(in bytes: RawSpan, at offset: inout Int) -> Outcome {
        let skipped = min(Int(bodyBytesLeft), bytes.byteCount - offset)
        bodyBytesLeft -= UInt32(skipped)
        offset += skipped
        if bodyBytesLeft > 0 { return .needsMore(Int(bodyBytesLeft) + 5) }
        let start = offset - Int(straddlingCount)
        while offset < bytes.byteCount {
            let byte = unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
            offset += 1
            if straddlingCount == 4 {
                let tag = UInt8(truncatingIfNeeded: straddling >> 24)
                straddlingCount = 0
                return begin(tag: tag, length: straddling << 8 | UInt32(byte), start: start)
            }
            straddling = straddling << 8 | UInt32(byte)
            straddlingCount += 1
        }
        return .needsMore(5 - Int(straddlingCount))
    }
}

/// A frame's tag and length, and where in the chunk they stood.
public struct FrameHeader: BitwiseCopyable, Sendable, Equatable {
    /// Counted from the chunk's first byte; −1 to −4 where so many bytes of the header came with earlier chunks.
    public let start: Int
    /// Bytes behind the header.
    public let bodyLength: UInt32
    /// The message's type.
    public let tag: UInt8

    @inlinable
    init(tag: UInt8, bodyLength: UInt32, start: Int) {
        self.start = start
        self.bodyLength = bodyLength
        self.tag = tag
    }

    /// Where the body begins in the chunk.
    @inlinable
    public var bodyStart: Int { start + 5 }

    /// The part of the body that is present in a chunk of `byteCount` bytes.
    @inlinable
    public func bodyRange(in byteCount: Int) -> Range<Int> {
        bodyStart..<min(bodyStart + Int(bodyLength), byteCount)
    }

    /// True when a chunk of `byteCount` bytes holds the body to its end.
    @inlinable
    public func bodyEnds(in byteCount: Int) -> Bool { bodyStart + Int(bodyLength) <= byteCount }
}
