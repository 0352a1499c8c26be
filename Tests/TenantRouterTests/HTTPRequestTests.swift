import Testing

@testable import TenantRouter

@Suite struct HTTPRequestTests {
    private func read(_ text: String) -> HTTPReader.Outcome {
        var reader = HTTPReader()
        unsafe reader.append(Array(text.utf8).span.bytes)
        return reader.next()
    }

    private func request(_ text: String) throws -> HTTPRequest {
        guard case .request(let request) = read(text) else {
            Issue.record("no request: \(text)")
            throw HTTPViolation.malformed("")
        }
        return request
    }

    @Test func readsWhatABrowserSends() throws {
        let request = try request(
            "GET /api/tenants/a%2Fb%20%E2%82%AC?sizes&x=1%262 HTTP/1.1\r\nHost: localhost:9187\r\nACCEPT: */*\r\n\r\n")
        #expect(request.method == .get && request.path == ["api", "tenants", "a/b €"])
        #expect(request.query == ["sizes": "", "x": "1&2"])
        #expect(request["host"] == "localhost:9187" && request["accept"] == "*/*" && request.keepsAlive)
    }

    /// Bytes come as the network likes it, and several requests may come in one piece.
    @Test func whateverTheyAreSplitInto() throws {
        let text = "\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /y HTTP/1.0\r\n\r\n"
        var (reader, paths) = (HTTPReader(), [[String]]())
        for byte in text.utf8 {
            unsafe reader.append([byte].span.bytes)
            if case .request(let request) = reader.next() { paths.append(request.path) }
        }
        #expect(paths == [["x"], ["y"]] && reader.isEmpty)
    }

    /// Each of them once moved all that was behind it.
    @Test func emptyLinesCostNothing() {
        var reader = HTTPReader()
        let lines = Array(repeating: [UInt8]("\r\n".utf8), count: 500_000).flatMap(\.self)
        unsafe reader.append(lines.span.bytes)
        #expect(reader.next() == .needsMore && reader.isEmpty)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", "the field host is missing"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "the field host comes twice"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "comes twice"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "no number"),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "no name"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "name"),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "line"),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "no path"),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "%"),
        ("GET /%+1 HTTP/1.1\r\nHost: a\r\n\r\n", "%"),
        ("GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", "UTF-8"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "no request"),
    ])
    func sayWhatIsWrong(_ text: String, _ reason: String) throws {
        guard case .violation(.malformed(let found)) = read(text) else {
            Issue.record("\(read(text))")
            return
        }
        #expect(found.contains(reason))
    }

    /// What two readers may understand in two ways, or what grows without end, is not read at all.
    @Test(arguments: [
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", HTTPViolation.codingUnknown),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4097\r\n\r\n", .bodyTooLong),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", .bodyTooLong),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .versionUnknown),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", .methodUnknown),
        ("GET / HTTP/1.1\r\nX: " + String(repeating: "a", count: 20_000), .headTooLong),
        ("GET / HTTP/1.1\r\nX: " + String(repeating: "a", count: 20_000) + "\r\n\r\n", .headTooLong),
    ])
    func refuseTheRest(_ text: String, _ violation: HTTPViolation) {
        #expect(read(text) == .violation(violation))
    }

    @Test(arguments: [
        ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false), ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive, x\r\n", true),
    ])
    func keepTheConnectionOrNot(_ version: String, _ field: String, _ keepsAlive: Bool) throws {
        #expect(try request("GET / \(version)\r\nHost: a\r\n\(field)\r\n").keepsAlive == keepsAlive)
    }

    @Test(arguments: ["localhost", "LOCALHOST:80", "127.0.0.1:9187", "127.1.2.3", "[::1]", "[::1]:9187"])
    func thisMachineHasTheseNames(_ host: String) {
        #expect(StatusAccess.isThisMachine(host))
    }

    /// A name that somebody has made lead to 127.0.0.1, or that only looks like it.
    @Test(arguments: [
        "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0", "127.0.0.256", "10.0.0.1",
        "[::1", "::1", "localhost:", "localhost:99999", "[::2]", "1270.0.0.1",
    ])
    func andNoOthers(_ host: String) {
        #expect(!StatusAccess.isThisMachine(host))
    }

    @Test(arguments: [
        ("127.0.0.1:9187", HTTPPlace("127.0.0.1:9187")?.host == "127.0.0.1"),
        ("[::1]:0", HTTPPlace("[::1]:0")?.port == 0),
        ("localhost:1", HTTPPlace("localhost:1")?.host == "localhost"), ("9187", HTTPPlace("9187") == nil),
        (":9187", HTTPPlace(":9187") == nil), ("::1:9187", HTTPPlace("::1:9187") == nil),
        ("127.0.0.1:", HTTPPlace("127.0.0.1:") == nil), ("127.0.0.1:65536", HTTPPlace("127.0.0.1:65536") == nil),
    ])
    func aPlaceIsAnAddressAndAPort(_ text: String, _ isRight: Bool) {
        #expect(isRight, "\(text)")
    }
}
