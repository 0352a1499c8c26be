/// A session with PostgreSQL, or with whoever speaks for it: just enough of the frontend's side of the protocol to
/// time it (PostgreSQL's manual, "Frontend/Backend Protocol"). Each call sends all it has to say and waits for
/// ReadyForQuery.
final class WireClient {
    let connection: Connection
    /// What was received and not looked at yet is `buffer[start..<end]`.
    private var buffer = [UInt8](repeating: 0, count: 8_192)
    private var start = 0
    private var end = 0
    /// What the last error said: a server may close without ReadyForQuery.
    private var lastError: String?

    /// What a statement brought.
    struct Answer {
        var rows = 0
        /// Of all DataRow and CopyData messages, their headers included.
        var bytes = 0
        /// The first row's first column.
        var value: String?
    }

    /// Connects and waits for the first ReadyForQuery.
    ///
    /// - Throws: `Failure.refused` with the server's words.
    init(port: Int, user: String, database: String) throws(Failure) {
        connection = try Connection(port: port)
        var body: [UInt8] = [0, 3, 0, 0]
        for word in ["user", user, "database", database] { body += Array(word.utf8) + [0] }
        body.append(0)
        try connection.send(Self.length(of: body) + body)
        _ = try answer()
    }

    /// Terminate. The socket is closed with the last reference.
    func terminate() {
        try? connection.send(Self.message("X", []))
    }

    // MARK: Statements

    /// The simple protocol.
    @discardableResult
    func query(_ statement: String) throws(Failure) -> Answer {
        try connection.send(Self.message("Q", Array(statement.utf8) + [0]))
        return try answer()
    }

    /// Names `statement`, which has one parameter.
    func prepare(_ name: String, _ statement: String) throws(Failure) {
        let words = Array(name.utf8) + [0] + Array(statement.utf8) + [0]
        try connection.send(Self.message("P", words + [0, 0]) + Self.message("S", []))
        _ = try answer()
    }

    /// Executes the statement named `name`, in one flight: Bind, Execute, Sync.
    @discardableResult
    func execute(_ name: String, parameter: String) throws(Failure) -> Answer {
        let value = Array(parameter.utf8)
        let bind =
            [0] + Array(name.utf8) + [0] + [0, 0] + [0, 1] + Self.integer(value.count) + value + [0, 0]
        try connection.send(
            Self.message("B", bind) + Self.message("E", [0, 0, 0, 0, 0]) + Self.message("S", []))
        return try answer()
    }

    /// COPY … FROM STDIN: sends `chunk` `count` times, each as one CopyData.
    func copy(_ statement: String, chunk: [UInt8], count: Int) throws(Failure) {
        try connection.send(Self.message("Q", Array(statement.utf8) + [0]))
        guard try message().tag == UInt8(ascii: "G") else { throw .refused("COPY was not begun.") }
        let data = Self.message("d", chunk)
        for _ in 0..<count { try connection.send(data) }
        try connection.send(Self.message("c", []))
        _ = try answer()
    }

    // MARK: Messages

    /// Reads up to ReadyForQuery.
    private func answer() throws(Failure) -> Answer {
        var answer = Answer()
        var refusal: String?
        while true {
            let (tag, body) = try message()
            switch tag {
            case UInt8(ascii: "Z"):
                if let refusal { throw .refused(refusal) }
                return answer
            case UInt8(ascii: "E"):
                refusal = errorText(in: body)
            case UInt8(ascii: "D"):
                if answer.rows == 0 { answer.value = firstColumn(in: body) }
                answer.rows += 1
                answer.bytes += body.count + 5
            case UInt8(ascii: "d"):
                answer.bytes += body.count + 5
            case UInt8(ascii: "R") where bigEndian(at: body.lowerBound) != 0:
                throw .refused("A password is asked for.")
            default:
                break
            }
        }
    }

    /// The next message, whole; `body` is where it is in the buffer, until the next call.
    private func message() throws(Failure) -> (tag: UInt8, body: Range<Int>) {
        try fill(5)
        let length = bigEndian(at: start + 1)
        guard length >= 4 else { throw .refused("A message of length \(length).") }
        try fill(1 + length)
        let body = start + 5..<start + 1 + length
        start += 1 + length
        return (buffer[body.lowerBound - 5], body)
    }

    /// Receives until `count` bytes are there from `start` on.
    private func fill(_ count: Int) throws(Failure) {
        guard end - start < count else { return }
        if buffer.count - start < count {
            buffer.replaceSubrange(0..<end - start, with: buffer[start..<end])
            (start, end) = (0, end - start)
            if buffer.count < count { buffer += [UInt8](repeating: 0, count: count * 2 - buffer.count) }
        }
        while end - start < count {
            let received = try connection.receive(into: &buffer, at: end)
            guard received > 0 else { throw .refused(lastError ?? "The connection was closed.") }
            end += received
        }
    }

    private func errorText(in body: Range<Int>) -> String {
        let fields = buffer[body].split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        let text = ["C", "M", "D"].compactMap { code in
            fields.first { $0.hasPrefix(code) }?.dropFirst().description
        }.joined(separator: " ")
        lastError = text
        return text
    }

    private func firstColumn(in body: Range<Int>) -> String? {
        guard body.count >= 6 else { return nil }
        let length = bigEndian(at: body.lowerBound + 2)
        // NULL has length -1.
        guard length >= 0, length <= 256, body.count >= 6 + length else { return nil }
        return String(decoding: buffer[body.lowerBound + 6..<body.lowerBound + 6 + length], as: UTF8.self)
    }

    private func bigEndian(at index: Int) -> Int {
        Int(Int32(truncatingIfNeeded: buffer[index..<index + 4].reduce(0) { $0 << 8 | Int($1) }))
    }

    private static func message(_ tag: Unicode.Scalar, _ body: [UInt8]) -> [UInt8] {
        [UInt8(ascii: tag)] + length(of: body) + body
    }

    private static func length(of body: [UInt8]) -> [UInt8] { integer(body.count + 4) }

    private static func integer(_ value: Int) -> [UInt8] {
        [
            UInt8(truncatingIfNeeded: value >> 24), UInt8(truncatingIfNeeded: value >> 16),
            UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value),
        ]
    }
}
