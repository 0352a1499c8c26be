import Glibc

/// One answer of the status page's server.
struct HTTPResponse: Error {
    enum Status: Int {
        case ok = 200
        case badRequest = 400
        case unauthorized = 401
        case forbidden = 403
        case notFound = 404
        case methodNotAllowed = 405
        case conflict = 409
        case contentTooLarge = 413
        case headTooLarge = 431
        case notImplemented = 501
        case unavailable = 503
        case versionNotSupported = 505

        var reason: String {
            switch self {
            case .ok: "OK"
            case .badRequest: "Bad Request"
            case .unauthorized: "Unauthorized"
            case .forbidden: "Forbidden"
            case .notFound: "Not Found"
            case .methodNotAllowed: "Method Not Allowed"
            case .conflict: "Conflict"
            case .contentTooLarge: "Content Too Large"
            case .headTooLarge: "Request Header Fields Too Large"
            case .notImplemented: "Not Implemented"
            case .unavailable: "Service Unavailable"
            case .versionNotSupported: "HTTP Version Not Supported"
            }
        }
    }

    enum Kind: String {
        case text = "text/plain; charset=utf-8"
        case metrics = "text/plain; version=0.0.4; charset=utf-8"
        case json = "application/json"
        case page = "text/html; charset=utf-8"
    }

    let status: Status
    let kind: Kind
    let body: [UInt8]
    /// Beside those that every answer has.
    var fields: [(name: String, value: String)] = []

    init(_ status: Status, _ kind: Kind, _ body: [UInt8]) {
        self.status = status
        self.kind = kind
        self.body = body
    }

    init(_ kind: Kind, _ body: [UInt8]) { self.init(.ok, kind, body) }
    init(_ json: JSON) { self.init(.json, Array(json.text.utf8)) }

    /// For people and programs: `{"error": …}`.
    static func failure(_ status: Status, _ sentence: String, hint: String? = nil) -> HTTPResponse {
        let json = JSON.object([("error", .string(sentence)), ("hint", .optional(hint))])
        return HTTPResponse(status, .json, Array(json.text.utf8))
    }

    init(_ violation: HTTPViolation) {
        switch violation {
        case .malformed(let reason): self = .failure(.badRequest, reason)
        case .headTooLong:
            self = .failure(.headTooLarge, "the request's head is longer than \(HTTPReader.longestHead) bytes")
        case .bodyTooLong:
            self = .failure(.contentTooLarge, "the request's body is longer than \(HTTPReader.longestBody) bytes")
        case .methodUnknown: self = .failure(.notImplemented, "there are GET, HEAD and POST")
        case .versionUnknown: self = .failure(.versionNotSupported, "this is a server of HTTP/1.1")
        case .codingUnknown: self = .failure(.notImplemented, "a body comes with its length, in one piece")
        }
    }

    /// What is sent.
    ///
    /// - Parameters:
    ///   - withBody: false for a HEAD request, which gets the head that a GET would get.
    ///   - keepsAlive: whether another request may follow.
    func bytes(withBody: Bool, keepsAlive: Bool) -> [UInt8] {
        var head = "HTTP/1.1 \(status.rawValue) \(status.reason)\r\n"
        let standard = [
            ("Date", HTTPDate.now), ("Content-Type", kind.rawValue), ("Content-Length", "\(body.count)"),
            ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"), ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Connection", keepsAlive ? "keep-alive" : "close"),
        ]
        for (name, value) in standard + fields { head += "\(name): \(value)\r\n" }
        return Array((head + "\r\n").utf8) + (withBody ? body : [])
    }
}

/// The time of day as RFC 9110, 5.6.7 writes it.
private enum HTTPDate {
    static var now: String {
        var time = time(nil)
        var parts = unsafe tm()
        unsafe gmtime_r(&time, &parts)
        // The program never leaves the locale C, whose names these are.
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
            guard let base = text.baseAddress else { return "" }
            unsafe strftime(base, 64, "%a, %d %b %Y %H:%M:%S GMT", &parts)
            return unsafe String(cString: base)
        }
    }
}
