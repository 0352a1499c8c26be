/// A row of an answer.
public struct AnswerRow: Sendable, Equatable {
    /// The names of its columns, which need not differ.
    public let columns: [String]
    /// As many values, as text; nil is a null.
    public let values: [String?]
}

/// The router's own SQL on a connection of its own: connect, run statements by the simple protocol, gather what comes,
/// and terminate, or stay for more.
///
/// The instance trusts whoever reaches its socket, so any request for a password is a failure. What it sends is not
/// trusted: a frame and the sum of all rows are bounded.
public struct AdminExchange: Sendable {
    /// What to do next, in order.
    public enum Action: Sendable, Equatable {
        /// Write these bytes.
        case send([UInt8])
        /// All statements were executed; the rows of all of them. Close the connection, unless it stays.
        case finished([AnswerRow])
        /// They were not, or nobody knows; while there are none, the instance has ended it. Close the connection.
        case failed(ErrorMessage)
    }

    /// What becomes of the connection once its statements were executed. After a failure it is always closed.
    public enum Future: Sendable {
        case ends
        /// It waits for ``AdminExchange/run(_:then:)``.
        case stays
    }

    /// The most that all rows together, and the longest frame, may have, in bytes: far more than a catalog lookup has,
    /// far less than a tenant would need to hurt the router.
    public static let answerLimit = 1 << 20

    private enum State {
        case authenticating
        case startingUp
        case querying(Future)
        case idle
        case done
    }

    /// Gathered while querying; beside the state, or every row would copy the rows before it.
    private struct Answer {
        var rows: [AnswerRow] = []
        /// Of the statement that is answered.
        var columns: [String] = []
        var byteCount = 0
        var error: ErrorMessage?
    }

    /// The StartupMessage to send first.
    public let opening: [UInt8]
    private let statement: (text: String, future: Future)
    private var frames = FrameAssembler(.backend, limit: Self.answerLimit)
    private var state = State.authenticating
    private var answer = Answer()

    /// An exchange that will run `statement`, which may be several, as one implicit transaction. Whatever the database's
    /// own settings are, text comes as UTF-8.
    public init(user: String, database: String, statement: String, then future: Future = .ends) {
        self.opening = Frontend.startupMessage(
            user: user, database: database,
            parameters: [("application_name", "routerd"), ("client_encoding", "UTF8")])
        self.statement = (statement, future)
    }

    /// True once `.finished` or `.failed` was returned; whatever comes later is ignored.
    public var isDone: Bool {
        switch state {
        case .done: true
        case .authenticating, .startingUp, .querying, .idle: false
        }
    }

    /// True while it waits for another statement.
    public var isIdle: Bool {
        switch state {
        case .idle: true
        case .authenticating, .startingUp, .querying, .done: false
        }
    }

    /// Another statement on a connection that has stayed and is done with the one before it.
    public mutating func run(_ statement: String, then future: Future) -> [Action] {
        guard case .idle = state else { preconditionFailure("a statement at a time, and none after the end") }
        answer = Answer()
        state = .querying(future)
        return [.send(Frontend.query(statement))]
    }

    /// The instance sent something.
    public mutating func received(_ bytes: RawSpan) -> [Action] {
        guard !isDone else { return [] }
        frames.append(bytes)
        var actions: [Action] = []
        while !isDone {
            switch frames.next() {
            case .needsMore: return actions
            case .frame(let frame): actions += frameReceived(frame)
            case .violation(let violation): actions += fail(violation.error)
            }
        }
        return actions
    }

    /// The instance closed the connection.
    public mutating func endOfStream() -> [Action] {
        guard !isDone else { return [] }
        state = .done
        return [.failed(ErrorMessage(.connectionFailure, "the instance closed the connection before it answered"))]
    }

    private mutating func frameReceived(_ frame: Frame) -> [Action] {
        switch frame.tag {
        // These may come at any time and say nothing about the statement.
        case Backend.Tag.noticeResponse, Backend.Tag.parameterStatus, Backend.Tag.notificationResponse: return []
        case Backend.Tag.errorResponse: return errorReceived(ErrorMessage(parsing: frame.body))
        default: break
        }
        switch state {
        case .authenticating: return authenticationReceived(frame)
        case .startingUp: return startupAnswerReceived(frame)
        case .querying(let future): return queryAnswerReceived(frame, then: future)
        case .idle: return unexpected(frame)
        case .done: return []
        }
    }

    private mutating func authenticationReceived(_ frame: Frame) -> [Action] {
        guard frame.tag == Backend.Tag.authentication,
            let request = Backend.AuthenticationRequest(parsing: frame.body)
        else { return unexpected(frame) }
        guard request == .ok else {
            return fail(
                ErrorMessage(
                    .invalidAuthorization, "the instance asks the router for authentication (code \(request.code))"))
        }
        state = .startingUp
        return []
    }

    private mutating func startupAnswerReceived(_ frame: Frame) -> [Action] {
        switch frame.tag {
        case Backend.Tag.backendKeyData: return []
        case Backend.Tag.readyForQuery:
            state = .querying(statement.future)
            return [.send(Frontend.query(statement.text))]
        default: return unexpected(frame)
        }
    }

    private mutating func queryAnswerReceived(_ frame: Frame, then future: Future) -> [Action] {
        switch frame.tag {
        case Backend.Tag.commandComplete, Backend.Tag.emptyQueryResponse: return []
        case Backend.Tag.rowDescription: return columnsReceived(frame)
        case Backend.Tag.dataRow: return rowReceived(frame)
        case Backend.Tag.readyForQuery: return statementEnded(then: future)
        default: return unexpected(frame)
        }
    }

    private mutating func statementEnded(then future: Future) -> [Action] {
        switch (answer.error, future) {
        case (let error?, _): return fail(error)
        case (nil, .ends):
            state = .done
            return [.send(Frontend.terminate), .finished(answer.rows)]
        case (nil, .stays):
            state = .idle
            return [.finished(answer.rows)]
        }
    }

    private mutating func columnsReceived(_ frame: Frame) -> [Action] {
        guard let names = Backend.columnNames(parsing: frame.body) else { return unexpected(frame) }
        answer.columns = names
        return count(frame)
    }

    private mutating func rowReceived(_ frame: Frame) -> [Action] {
        guard let values = Backend.values(parsing: frame.body), values.count == answer.columns.count else {
            return unexpected(frame)
        }
        answer.rows.append(AnswerRow(columns: answer.columns, values: values))
        return count(frame)
    }

    private mutating func count(_ frame: Frame) -> [Action] {
        answer.byteCount += frame.bytes.count
        guard answer.byteCount > Self.answerLimit else { return [] }
        return fail(
            ErrorMessage(
                .programLimitExceeded, "the instance's answer is too long",
                detail: "The router reads at most \(Self.answerLimit) bytes of rows."))
    }

    /// An error while a statement runs is followed by ReadyForQuery; before that, and when it is fatal, by the end.
    private mutating func errorReceived(_ error: ErrorMessage?) -> [Action] {
        guard let error else {
            return fail(ErrorMessage(.protocolViolation, "the instance sent an error that can't be read"))
        }
        switch (state, error.severity) {
        case (.querying, .error):
            answer.error = error
            return []
        default: return fail(error)
        }
    }

    private mutating func unexpected(_ frame: Frame) -> [Action] {
        let tag = Unicode.Scalar(frame.tag)
        return fail(ErrorMessage(.protocolViolation, "unexpected message \"\(tag)\" from the instance"))
    }

    private mutating func fail(_ error: ErrorMessage) -> [Action] {
        state = .done
        return [.send(Frontend.terminate), .failed(error)]
    }
}
