import WireProtocol

/// What a session leaves in its backend, as far as frames tell: what is still unanswered, and what `DISCARD ALL` would
/// not undo.
struct Traces: BitwiseCopyable {
    /// ReadyForQuery that the backend owes; the first one belongs to its startup.
    private var owed: UInt32 = 1
    private var found: Found = []

    private struct Found: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        /// Messages of the extended protocol without a Sync behind them: whatever is said next would commit them.
        static let unsynced = Found(rawValue: 1)
        /// A command that is not known to leave nothing.
        static let lasting = Found(rawValue: 2)
        /// A command that others may feel, since the last ReadyForQuery of an idle backend.
        static let shared = Found(rawValue: 4)
        /// The same, and it has come into effect.
        static let news = Found(rawValue: 8)
        /// A parameter that clients are told at their start has changed.
        static let parameter = Found(rawValue: 16)
    }

    /// Everything was answered, and `DISCARD ALL` undoes what was done.
    var leaveNothing: Bool { owed == 0 && found.isDisjoint(with: [.unsynced, .lasting]) }

    /// Whether the backend was asked something and has not answered: what comes of that others may feel, and nobody has
    /// heard of it.
    var mayHideNews: Bool { owed != 0 || found.contains(.unsynced) }

    /// Whether what the session was told at its start may not hold any more.
    var changedParameters: Bool { found.contains(.parameter) }

    mutating func frontendSaid(_ tag: UInt8) {
        switch tag {
        case Frontend.Tag.query, Frontend.Tag.sync, Frontend.Tag.functionCall:
            owed &+= 1
            found.remove(.unsynced)
        case Frontend.Tag.parse, Frontend.Tag.bind, Frontend.Tag.execute, Frontend.Tag.describe, Frontend.Tag.close:
            found.insert(.unsynced)
        default: break
        }
    }

    mutating func backendSaid(_ header: FrameHeader, in bytes: RawSpan) {
        switch header.tag {
        case Backend.Tag.readyForQuery:
            owed &-= 1
            guard found.contains(.shared) else { return }
            found.insert(.news)
            // Outside of a transaction it has been committed or rolled back, and is no news again.
            if header.tellsIdle(in: bytes) { found.remove(.shared) }
        case Backend.Tag.commandComplete:
            switch CommandEffect(of: header, in: bytes) {
            case .passing: break
            case .lasting: found.insert(.lasting)
            case .shared: found.formUnion([.lasting, .shared])
            }
        case Backend.Tag.parameterStatus: found.insert(.parameter)
        default: break
        }
    }

    /// Whether something has come into effect that others feel. It may have been inside a transaction, so that every
    /// ReadyForQuery up to its end is news too.
    mutating func takeNews() -> Bool {
        guard found.contains(.news) else { return false }
        found.remove(.news)
        return true
    }
}

extension FrameHeader {
    /// Whether it is a ReadyForQuery whose status is there and says that no transaction is open.
    fileprivate func tellsIdle(in bytes: RawSpan) -> Bool {
        guard bodyLength == 1, bodyStart >= 0, bodyStart < bytes.byteCount else { return false }
        return unsafe bytes.unsafeLoad(fromByteOffset: bodyStart, as: UInt8.self) == UInt8(ascii: "I")
    }
}
