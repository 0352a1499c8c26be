/// One request, as far as the status page's server understands it. Source: RFC 9112.
struct HTTPRequest: Equatable {
    enum Method: String {
        case get = "GET"
        case head = "HEAD"
        case post = "POST"
    }

    let method: Method
    /// The path's segments, percent-decoded, without the empty ones.
    let path: [String]
    let query: [String: String]
    /// Names in lower case.
    let fields: [String: String]
    /// Whether the client wants to ask more on the same connection.
    var keepsAlive: Bool

    subscript(field: String) -> String? { fields[field] }

    /// What stands behind `Bearer`.
    var bearer: String? {
        guard let text = fields["authorization"], text.lowercased().hasPrefix("bearer ") else { return nil }
        return String(text.dropFirst("bearer ".count))
    }
}

/// Why a request is not answered.
enum HTTPViolation: Error, Equatable {
    case malformed(String)
    case headTooLong
    case bodyTooLong
    case methodUnknown
    case versionUnknown
    case codingUnknown
}

/// Reads requests from bytes, split anywhere.
struct HTTPReader {
    /// Bytes of a request's head: what a browser sends fits several times.
    static let longestHead = 16 * 1024
    /// Bytes of a body, none of which means anything here.
    static let longestBody = 4 * 1024

    enum Outcome: Equatable {
        case needsMore
        case request(HTTPRequest)
        case violation(HTTPViolation)
    }

    private var bytes: [UInt8] = []
    /// How far no end of a head was found.
    private var searched = 0
    /// A head whose body is not complete, and where that begins.
    private var head: (Head, end: Int)?

    var isEmpty: Bool { bytes.isEmpty }

    mutating func append(_ more: RawSpan) {
        unsafe more.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    }

    /// The next request; its bytes are gone then.
    mutating func next() -> Outcome {
        if head == nil { skipEmptyLines() }
        do throws(HTTPViolation) {
            guard let (head, end) = try takeHead() else { return .needsMore }
            guard bytes.count >= end + head.bodyLength else {
                self.head = (head, end)
                return .needsMore
            }
            bytes.removeFirst(end + head.bodyLength)
            searched = 0
            return .request(try head.request())
        } catch {
            return .violation(error)
        }
    }

    /// An empty line may come before a request, RFC 9112, 2.2.
    private mutating func skipEmptyLines() {
        var count = 0
        while count + 1 < bytes.count, bytes[count] == 13, bytes[count + 1] == 10 { count += 2 }
        bytes.removeFirst(count)
    }

    /// The head that is complete; the work of taking it apart is done once, however its body drips.
    private mutating func takeHead() throws(HTTPViolation) -> (Head, end: Int)? {
        if let known = head.take() { return known }
        let end = endOfHead()
        guard end ?? bytes.count <= Self.longestHead else { throw .headTooLong }
        guard let end else { return nil }
        return (try Head(bytes[..<(end - 4)]), end)
    }

    /// Where the body begins.
    private mutating func endOfHead() -> Int? {
        var index = max(0, searched - 3)
        while index + 3 < bytes.count {
            if bytes[index] == 13, bytes[index + 1] == 10, bytes[index + 2] == 13, bytes[index + 3] == 10 {
                return index + 4
            }
            index += 1
        }
        searched = bytes.count
        return nil
    }
}

/// A head, taken apart: a request line and fields.
private struct Head {
    private let words: [Substring]
    private let fields: [String: String]
    let bodyLength: Int

    init(_ bytes: ArraySlice<UInt8>) throws(HTTPViolation) {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .malformed("the head is not UTF-8") }
        // A line break is one Character to Swift.
        let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)
        guard !text.unicodeScalars.contains("\0"), !lines.contains(where: { $0.unicodeScalars.contains("\n") }),
            !lines.contains(where: { $0.unicodeScalars.contains("\r") })
        else { throw .malformed("a line does not end as it must") }
        words = lines[0].split(separator: " ", omittingEmptySubsequences: false)
        fields = try Self.fields(lines.dropFirst())
        bodyLength = try Self.bodyLength(fields)
    }

    private static func fields(_ lines: ArraySlice<Substring>) throws(HTTPViolation) -> [String: String] {
        var fields: [String: String] = [:]
        for line in lines {
            guard let colon = line.firstIndex(of: ":"), colon != line.startIndex else {
                throw .malformed("a field has no name")
            }
            let name = line[..<colon].lowercased()
            guard name.utf8.allSatisfy(isToken) else { throw .malformed("a field's name is none") }
            let value = line[line.index(after: colon)...].trimmed
            guard let earlier = fields[name] else {
                fields[name] = value
                continue
            }
            // Two of these would mean two things to two readers.
            guard !["host", "content-length", "transfer-encoding", "authorization", "origin"].contains(name) else {
                throw .malformed("the field \(name) comes twice")
            }
            fields[name] = "\(earlier), \(value)"
        }
        return fields
    }

    private static func bodyLength(_ fields: [String: String]) throws(HTTPViolation) -> Int {
        guard fields["transfer-encoding"] == nil else { throw .codingUnknown }
        guard let text = fields["content-length"] else { return 0 }
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else {
            throw .malformed("the length of the body is no number")
        }
        guard let length = Int(text), length <= HTTPReader.longestBody else { throw .bodyTooLong }
        return length
    }

    /// RFC 9110, 5.6.2.
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    func request() throws(HTTPViolation) -> HTTPRequest {
        guard words.count == 3 else { throw .malformed("the first line is no request") }
        let isModern: Bool
        switch words[2] {
        case "HTTP/1.1": isModern = true
        case "HTTP/1.0": isModern = false
        default: throw .versionUnknown
        }
        guard let method = HTTPRequest.Method(rawValue: String(words[0])) else { throw .methodUnknown }
        guard words[1].hasPrefix("/") else { throw .malformed("the target is no path") }
        guard !isModern || fields["host"] != nil else { throw .malformed("the field host is missing") }
        let target = words[1].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let options = (fields["connection"] ?? "").lowercased().split(separator: ",").map { $0.trimmed }
        return HTTPRequest(
            method: method, path: try Self.segments(target[0]),
            query: try Self.pairs(target.count > 1 ? target[1] : ""), fields: fields,
            keepsAlive: isModern ? !options.contains("close") : options.contains("keep-alive"))
    }

    private static func segments(_ path: Substring) throws(HTTPViolation) -> [String] {
        var segments: [String] = []
        for segment in path.split(separator: "/") { segments.append(try decoded(segment)) }
        return segments
    }

    private static func pairs(_ query: Substring) throws(HTTPViolation) -> [String: String] {
        var pairs: [String: String] = [:]
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            pairs[try decoded(parts[0])] = parts.count > 1 ? try decoded(parts[1]) : ""
        }
        return pairs
    }

    /// `%41` → `A`.
    private static func decoded(_ text: Substring) throws(HTTPViolation) -> String {
        var (bytes, rest) = ([UInt8](), Array(text.utf8)[...])
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16),
                rest.first != UInt8(ascii: "+")
            else { throw .malformed("the target has a % that means nothing") }
            rest.removeFirst(2)
            bytes.append(value)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else {
            throw .malformed("the target is not UTF-8")
        }
        return decoded
    }
}

extension Substring {
    /// Without the blanks around it.
    fileprivate var trimmed: String {
        let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        var rest = drop(while: isBlank)
        while rest.last.map(isBlank) == true { rest.removeLast() }
        return String(rest)
    }
}
