/// Who speaks, which decides what a frame may be.
public enum FrameDirection: BitwiseCopyable, Sendable {
    /// From the client: its tags are known and its lengths bounded as PostgreSQL bounds them.
    case frontend
    /// From PostgreSQL: any tag, for new ones come with new versions, and any length that fits its signed field.
    case backend

    /// The greatest length field of a frame, which counts itself, in bytes.
    ///
    /// PostgreSQL takes one byte less from a frontend (`PQ_LARGE_MESSAGE_LIMIT`): at the edge it answers itself.
    @inlinable
    public var lengthLimit: UInt32 {
        switch self {
        case .frontend: 0x3fff_ffff
        case .backend: 0x7fff_ffff
        }
    }

    /// The tags a frontend may send, by their low six bits; all lie between `@` and DEL:
    /// `B C D E F H P Q S X c d f p`, written out because a stored constant is reached through a once-guard.
    @inlinable static var frontendTags: UInt64 { 0x0001_0058_010b_017c }

    /// What is wrong with a header, the tag first, as PostgreSQL looks at them.
    @inlinable
    func violation(tag: UInt8, length: UInt32) -> FrameViolation? {
        switch self {
        case .frontend:
            if tag & 0xc0 != 0x40 || Self.frontendTags &>> UInt64(tag & 63) & 1 == 0 {
                return FrameViolation(.unknownTag, tag: tag, length: length)
            }
        case .backend: break
        }
        if length &- 4 > lengthLimit &- 4 { return FrameViolation(.invalidLength, tag: tag, length: length) }
        return nil
    }
}

/// Why a stream of frames can't be followed any further. The sender causes it.
public struct FrameViolation: Error, BitwiseCopyable, Sendable, Equatable {
    /// What is wrong.
    public enum Kind: BitwiseCopyable, Sendable {
        /// No frontend message has this tag.
        case unknownTag
        /// The length is below 4 or above the limit.
        case invalidLength
    }

    /// What is wrong.
    public let kind: Kind
    /// The header's tag.
    public let tag: UInt8
    /// The header's length field, which counts itself, in bytes.
    public let length: UInt32

    @inlinable
    init(_ kind: Kind, tag: UInt8, length: UInt32) {
        self.kind = kind
        self.tag = tag
        self.length = length
    }

    /// The error in PostgreSQL's words.
    public var error: ErrorMessage {
        switch kind {
        case .unknownTag: ErrorMessage(.protocolViolation, "invalid frontend message type \(tag)")
        case .invalidLength: ErrorMessage(.protocolViolation, "invalid message length")
        }
    }
}
