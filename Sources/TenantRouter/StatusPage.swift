/// The status page: one document that needs nothing else.
enum StatusPage {
    /// The place of the number that lets the page's own script and style in, and nothing that anybody may smuggle into
    /// it.
    private static let mark = Array("NONCE".utf8)

    static func response() -> HTTPResponse {
        let nonce = ControlToken.make().prefix(32)
        var response = HTTPResponse(.page, marked(with: Array(nonce.utf8)))
        response.fields = [
            (
                "Content-Security-Policy",
                "default-src 'none'; script-src 'nonce-\(nonce)'; style-src 'nonce-\(nonce)'; connect-src 'self'; "
                    + "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
        ]
        return response
    }

    /// The document around each mark.
    private static let pieces: [ArraySlice<UInt8>] = {
        var (pieces, rest) = ([ArraySlice<UInt8>](), PackageResources.status_html[...])
        while let start = rest.firstRange(of: mark) {
            pieces.append(rest[..<start.lowerBound])
            rest = rest[start.upperBound...]
        }
        return pieces + [rest]
    }()

    private static func marked(with nonce: [UInt8]) -> [UInt8] { Array(pieces.joined(separator: nonce)) }
}
