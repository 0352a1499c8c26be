import WireProtocol

/// The console's side of a connection: the client's bytes in, replies and commands out. It speaks the simple and the
/// extended protocol, has no transactions and knows no parameters.
///
/// One command at a time: `next()` answers `.perform` and nothing more before `answered`, and nothing more before the
/// last reply has left, so that a client that does not read cannot make the router remember its answers.
///
///     awaitingPassword ─▶ idle ─ Query ─▶ running ⇄ awaitingQueryAnswer
///                          │ ╰── Execute ─▶ awaitingPortalAnswer
///                          ╰─ error in the extended protocol ─▶ skippingToSync
struct ConsoleSession {
    enum Action {
        /// For more bytes, for an answer, for a reply to leave.
        case wait
        case send([UInt8])
        case perform(ConsoleCommand)
        /// The last bytes, and then the end.
        case end([UInt8])
    }

    /// What a command came to.
    enum Answer {
        case rows([[ResultValue]])
        case done
    }

    private enum State {
        case awaitingPassword(token: String)
        case idle
        /// A simple query; what is left of it.
        case running([ConsoleCommand])
        case awaitingQueryAnswer(ConsoleCommand, rest: [ConsoleCommand])
        case awaitingPortalAnswer(ConsoleCommand, portal: String, maxRows: Int32)
        /// An error in the extended protocol: everything up to Sync is skipped.
        case skippingToSync
        case ended
    }

    /// A statement that was bound, with what is left of its result.
    private struct Portal {
        let command: ConsoleCommand?
        let formats: ResultFormats
        var result: ArraySlice<[ResultValue]>?

        /// Whether rows are kept for another Execute.
        var isSuspended: Bool { result?.isEmpty == false }
    }

    /// The longest message, in bytes: commands are short.
    static let messageLimit = 64 * 1024
    /// Prepared statements, and portals, of one session: no driver needs more than a few.
    static let namesLimit = 256
    /// As long as any name in PostgreSQL.
    static let nameBytesLimit = 63
    /// A reply of so many bytes is sent before anything else is done.
    private static let replyLimit = 64 * 1024

    private let access: ConsoleAccess
    private let greeting: [UInt8]
    private var frames = FrameAssembler(.frontend, limit: Self.messageLimit)
    private var state: State
    private var statements: [String: ConsoleCommand?] = [:]
    private var portals: [String: Portal] = [:]
    private var reply: [UInt8]
    /// A reply is on its way.
    private var isSending = false

    /// - Parameters:
    ///   - access: what the client may ask.
    ///   - token: the password it has to give first; nil where none is asked for.
    ///   - greeting: what stands between AuthenticationOk and the first ReadyForQuery.
    init(_ access: ConsoleAccess, token: String?, greeting: [UInt8]) {
        self.access = access
        self.greeting = Backend.authenticationOk + greeting + Backend.readyForQuery(.idle)
        if let token {
            state = .awaitingPassword(token: token)
            reply = Backend.cleartextPasswordRequest
        } else {
            state = .idle
            reply = self.greeting
        }
    }

    mutating func received(_ bytes: RawSpan) { frames.append(bytes) }

    mutating func received(_ bytes: [UInt8]) { frames.append(bytes) }

    /// The last reply has left.
    mutating func sent() { isSending = false }

    /// Whether reading on is of no use: nothing is done with it before something else has happened.
    var isBusy: Bool {
        if isSending { return true }
        switch state {
        case .awaitingQueryAnswer, .awaitingPortalAnswer, .ended: return true
        case .awaitingPassword, .idle, .running, .skippingToSync: return false
        }
    }

    /// Whether the router's word may be a long time coming, and a client that does not wait for it is to be noticed: what it
    /// says meanwhile is kept, within limits.
    var mayWaitLong: Bool {
        guard !isSending, frames.byteCount <= Self.messageLimit else { return false }
        switch state {
        case .awaitingQueryAnswer(let command, rest: _), .awaitingPortalAnswer(let command, portal: _, maxRows: _):
            return command.mayWaitLong
        case .awaitingPassword, .idle, .running, .skippingToSync, .ended: return false
        }
    }

    /// Whether the client has not given the password yet.
    var isAwaitingPassword: Bool {
        if case .awaitingPassword = state { true } else { false }
    }
}

// MARK: - Steps

extension ConsoleSession {
    /// What to do next; called until it says to wait.
    mutating func next() -> Action {
        while !isBusy, reply.count < Self.replyLimit {
            if case .running(let commands) = state {
                if let command = run(commands) { return .perform(command) }
                continue
            }
            switch frames.next() {
            case .needsMore: return flush()
            case .violation(let violation): fail(violation.error)
            case .frame(let frame): if let command = read(frame) { return .perform(command) }
            }
        }
        if case .ended = state { return end() }
        return isBusy ? .wait : flush()
    }

    private mutating func flush() -> Action {
        guard !reply.isEmpty else { return .wait }
        defer { reply = [] }
        isSending = true
        return .send(reply)
    }

    private mutating func end() -> Action {
        defer { reply = [] }
        return .end(reply)
    }

    /// The router's word on the command that it was asked to perform.
    mutating func answered(_ result: Result<Answer, ErrorMessage>) {
        switch state {
        case .awaitingQueryAnswer(let command, let rest):
            queryAnswered(command, rest: rest, result)
        case .awaitingPortalAnswer(let command, let portal, let maxRows):
            portalAnswered(command, portal, maxRows: maxRows, result)
        case .awaitingPassword, .idle, .running, .skippingToSync, .ended:
            preconditionFailure("an answer that nobody waits for")
        }
    }

    private mutating func read(_ frame: Frame) -> ConsoleCommand? {
        guard let message = FrontendMessage(frame) else {
            fail(ErrorMessage(.protocolViolation, "invalid message format"))
            return nil
        }
        switch state {
        case .awaitingPassword(let token): read(message, token: token)
        case .skippingToSync: skip(message)
        case .idle: return obey(message)
        case .running, .awaitingQueryAnswer, .awaitingPortalAnswer, .ended: break
        }
        return nil
    }

    private mutating func read(_ message: FrontendMessage, token: String) {
        switch message {
        case .password(let password) where ControlToken.matches(password, token):
            reply += greeting
            state = .idle
        case .password: fail(.wrongToken)
        case .terminate: state = .ended
        case .query, .parse, .bind, .describe, .execute, .close, .flush, .sync, .other:
            fail(ErrorMessage(.protocolViolation, "expected a password"))
        }
    }

    private mutating func skip(_ message: FrontendMessage) {
        switch message {
        case .sync: synchronise()
        case .terminate: state = .ended
        case .password, .query, .parse, .bind, .describe, .execute, .close, .flush, .other: break
        }
    }

    private mutating func synchronise() {
        portals = [:]
        reply += Backend.readyForQuery(.idle)
        state = .idle
    }

    private mutating func fail(_ error: ErrorMessage) {
        reply += error.errorResponse()
        state = .ended
    }

    private mutating func obey(_ message: FrontendMessage) -> ConsoleCommand? {
        do throws(ErrorMessage) {
            switch message {
            case .query(let text): query(text)
            case .parse(let parse): try prepare(parse)
            case .bind(let bind): try self.bind(bind)
            case .describe(let target): try describe(target)
            case .execute(let portal, let maxRows): return try execute(portal, maxRows: maxRows)
            case .close(let target): close(target)
            case .sync: synchronise()
            case .flush: break
            case .terminate: state = .ended
            case .password, .other: fail(ErrorMessage(.protocolViolation, "unexpected message"))
            }
        } catch {
            reply += error.errorResponse()
            state = .skippingToSync
        }
        return nil
    }
}

// MARK: - The simple protocol

extension ConsoleSession {
    private mutating func query(_ text: String) {
        do throws(ErrorMessage) {
            let commands = try ConsoleCommand.parse(text)
            if commands.isEmpty { reply += Backend.emptyQueryResponse }
            state = .running(commands)
        } catch {
            reply += error.errorResponse()
            state = .running([])
        }
    }

    /// The next command of a simple query; without one it is done.
    private mutating func run(_ commands: [ConsoleCommand]) -> ConsoleCommand? {
        guard let command = commands.first else {
            synchronise()
            return nil
        }
        guard access.permits(command) else {
            reply += ErrorMessage.notPermitted(command).errorResponse()
            state = .running([])
            return nil
        }
        state = .awaitingQueryAnswer(command, rest: Array(commands.dropFirst()))
        return command
    }

    private mutating func queryAnswered(
        _ command: ConsoleCommand, rest: [ConsoleCommand], _ result: Result<Answer, ErrorMessage>
    ) {
        switch result {
        case .success(.rows(let rows)):
            reply += Backend.rowDescription(command.columns ?? [], .text)
            for row in rows { reply += Backend.dataRow(row, .text) }
            reply += Backend.commandComplete(command.tag)
            state = .running(rest)
        case .success(.done):
            reply += Backend.commandComplete(command.tag)
            state = .running(rest)
        case .failure(let error):
            reply += error.asError.errorResponse()
            state = .running([])
        }
    }
}

// MARK: - The extended protocol

extension ConsoleSession {
    private mutating func prepare(_ parse: FrontendMessage.Parse) throws(ErrorMessage) {
        guard parse.parameterTypes == 0 else { throw .parametersUnknown }
        let commands = try ConsoleCommand.parse(parse.query)
        guard commands.count <= 1 else {
            throw ErrorMessage(
                severity: .error, .syntaxError, "cannot insert multiple commands into a prepared statement")
        }
        try Self.check(parse.statement)
        guard statements.count < Self.namesLimit || statements[parse.statement] != nil else { throw .tooManyNames }
        statements.updateValue(commands.first, forKey: parse.statement)
        reply += Backend.parseComplete
    }

    private mutating func bind(_ bind: FrontendMessage.Bind) throws(ErrorMessage) {
        guard bind.parameters == 0 else { throw .parametersUnknown }
        let command = try statement(bind.statement)
        guard bind.formats.fit(command?.columns?.count ?? 0) else {
            throw ErrorMessage(
                severity: .error, .protocolViolation, "bind message has another number of result formats than columns")
        }
        try Self.check(bind.portal)
        guard portals.count < Self.namesLimit || portals[bind.portal] != nil else { throw .tooManyNames }
        portals[bind.portal] = Portal(command: command, formats: bind.formats)
        reply += Backend.bindComplete
    }

    private mutating func describe(_ target: FrontendMessage.Target) throws(ErrorMessage) {
        switch target {
        case .statement(let name):
            let command = try statement(name)
            reply += Backend.noParameters
            describe(command, .text)
        case .portal(let name):
            let portal = try portal(name)
            describe(portal.command, portal.formats)
        }
    }

    private mutating func describe(_ command: ConsoleCommand?, _ formats: ResultFormats) {
        reply += command?.columns.map { Backend.rowDescription($0, formats) } ?? Backend.noData
    }

    private mutating func execute(_ name: String, maxRows: Int32) throws(ErrorMessage) -> ConsoleCommand? {
        let portal = try portal(name)
        guard let command = portal.command else {
            reply += Backend.emptyQueryResponse
            return nil
        }
        if portal.result != nil {
            fetch(command, name, maxRows: maxRows)
            return nil
        }
        guard access.permits(command) else { throw .notPermitted(command) }
        guard !portals.values.contains(where: \.isSuspended) else { throw .tooManyResults }
        state = .awaitingPortalAnswer(command, portal: name, maxRows: maxRows)
        return command
    }

    private mutating func portalAnswered(
        _ command: ConsoleCommand, _ portal: String, maxRows: Int32, _ result: Result<Answer, ErrorMessage>
    ) {
        state = .idle
        switch result {
        case .success(.rows(let rows)):
            portals[portal]?.result = rows[...]
            fetch(command, portal, maxRows: maxRows)
        case .success(.done):
            reply += Backend.commandComplete(command.tag)
        case .failure(let error):
            reply += error.asError.errorResponse()
            state = .skippingToSync
        }
    }

    /// Zero rows mean all.
    private mutating func fetch(_ command: ConsoleCommand, _ name: String, maxRows: Int32) {
        guard let portal = portals[name], let left = portal.result else { return }
        let count = maxRows > 0 ? min(Int(maxRows), left.count) : left.count
        for row in left.prefix(count) { reply += Backend.dataRow(row, portal.formats) }
        // Not an empty end of all rows: that would keep them.
        portals[name]?.result = count < left.count ? left.dropFirst(count) : []
        reply += count < left.count ? Backend.portalSuspended : Backend.commandComplete(command.tag)
    }

    private mutating func close(_ target: FrontendMessage.Target) {
        switch target {
        case .statement(let name): statements[name] = nil
        case .portal(let name): portals[name] = nil
        }
        reply += Backend.closeComplete
    }

    private static func check(_ name: String) throws(ErrorMessage) {
        guard name.utf8.count <= nameBytesLimit else { throw .nameTooLong }
    }

    private func statement(_ name: String) throws(ErrorMessage) -> ConsoleCommand? {
        guard let statement = statements[name] else {
            throw ErrorMessage(
                severity: .error, .invalidStatementName, "prepared statement \"\(name)\" does not exist")
        }
        return statement
    }

    private func portal(_ name: String) throws(ErrorMessage) -> Portal {
        guard let portal = portals[name] else {
            throw ErrorMessage(severity: .error, .invalidCursorName, "portal \"\(name)\" does not exist")
        }
        return portal
    }
}

// MARK: - Errors

extension ErrorMessage {
    static let wrongToken = ErrorMessage(
        .invalidPassword, "the control socket asks for the token of this run",
        hint: "It is the content of the file token beside the socket, new at each start: PGPASSWORD=$(cat …/token).")

    static func notPermitted(_ command: ConsoleCommand) -> ErrorMessage {
        ErrorMessage(
            severity: .error, .insufficientPrivilege, "\(command.tag) is only possible on the control socket",
            hint: "Connect as the user that routerd runs as: psql -h DIR/.routerd routerd, with the token as password.")
    }

    fileprivate static let parametersUnknown = ErrorMessage(
        severity: .error, .featureNotSupported, "the console's commands take no parameters",
        hint: "Write the name into the command: DROP \"name\".")

    fileprivate static let tooManyNames = ErrorMessage(
        severity: .error, .programLimitExceeded,
        "a console session has at most \(ConsoleSession.namesLimit) prepared statements and as many portals",
        hint: "Close those that are not needed any more.")

    fileprivate static let tooManyResults = ErrorMessage(
        severity: .error, .programLimitExceeded, "a console session keeps the rows of one portal at a time",
        hint: "Fetch the rest of the portal that is suspended, or close it.")

    fileprivate static let nameTooLong = ErrorMessage(
        severity: .error, .programLimitExceeded,
        "names of statements and portals have at most \(ConsoleSession.nameBytesLimit) bytes here")

    /// The same in a session that goes on.
    var asError: ErrorMessage {
        var message = self
        message.severity = .error
        return message
    }
}
