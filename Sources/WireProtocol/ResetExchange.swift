/// What is said to a backend between two sessions: `DISCARD ALL`, by the simple protocol, and where the session had
/// changed what a client is told at its start, a question whether that is as it was.
///
/// In an open or failed transaction PostgreSQL refuses `DISCARD ALL`: such a backend is not reset but closed, and rolls
/// back as at any disconnect. Source: PostgreSQL manual, "DISCARD".
public struct ResetExchange: Sendable {
    /// What the bytes so far amount to.
    public enum Outcome: Sendable, Equatable {
        case needsMore
        /// The backend is as it was when it began.
        case reset
        /// It is not, or nobody knows: close it.
        case failed
    }

    /// The longest frame that an answer may have, in bytes, and with it what is held of one.
    public static let frameLimit = 64 * 1024

    /// The messages to send.
    public let opening: [UInt8]
    /// What the parameters must be; nil where any that is reported is one too many.
    private let expected: [String]?
    private var frames = FrameAssembler(.backend, limit: Self.frameLimit)
    /// ReadyForQuery that are still owed.
    private var owed: Int
    private var values: [String?] = []
    private var hasFailed = false

    /// The reset of a backend whose session saw no parameter change. One that is reported now was changed from outside.
    public init() {
        opening = Self.discard
        expected = nil
        owed = 1
    }

    /// The reset of a backend whose session saw parameters change: they must come back to these values.
    ///
    /// - Returns: nil where one has a name that no setting has.
    public init?(restoring parameters: [Backend.ParameterStatus]) {
        guard parameters.allSatisfy({ Self.isName($0.name) }) else { return nil }
        let columns = parameters.map { "pg_catalog.current_setting('\($0.name)')" }
        opening = Self.discard + Frontend.query("SELECT " + columns.joined(separator: ", "))
        expected = parameters.map(\.value)
        owed = 2
    }

    private static var discard: [UInt8] { Frontend.query("DISCARD ALL") }

    /// `[A-Za-z0-9_.]+`: what needs no quoting.
    private static func isName(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }

    /// The backend said something.
    public mutating func received(_ bytes: RawSpan) -> Outcome {
        guard !hasFailed, owed > 0 else { return .failed }
        frames.append(bytes)
        while owed > 0, !hasFailed {
            switch frames.next() {
            case .needsMore: return .needsMore
            case .frame(let frame): digest(frame)
            case .violation: hasFailed = true
            }
        }
        // What a backend says unasked is not for the next client.
        if hasFailed || !frames.leftover.isEmpty { return fail() }
        guard let expected else { return .reset }
        return values == expected ? .reset : fail()
    }

    private mutating func fail() -> Outcome {
        hasFailed = true
        return .failed
    }

    private mutating func digest(_ frame: Frame) {
        switch frame.tag {
        case Backend.Tag.commandComplete, Backend.Tag.rowDescription, Backend.Tag.noticeResponse,
            Backend.Tag.notificationResponse:
            break
        case Backend.Tag.parameterStatus: if expected == nil { hasFailed = true }
        case Backend.Tag.dataRow: values = Backend.values(parsing: frame.body) ?? []
        case Backend.Tag.readyForQuery:
            owed -= 1
            if Backend.TransactionStatus(parsing: frame.body) != .idle { hasFailed = true }
        // ErrorResponse, and whatever does not belong here.
        default: hasFailed = true
        }
    }
}
