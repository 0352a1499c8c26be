/// Where HTTP is served, as an option says it: `127.0.0.1:9187`, `[::1]:9187`, `localhost:9187`.
struct HTTPPlace: Equatable {
    let host: String
    let port: UInt16

    /// Nil for anything else.
    init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        let host = String(text[..<colon])
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        guard !host.isEmpty, isBracketed || !host.contains(":") else { return nil }
        self.host = host
        self.port = port
    }
}

extension RouterError {
    static func notAnHTTPPlace(_ text: String) -> RouterError {
        RouterError(
            .configuration,
            "--http (ROUTERD_HTTP) is \"\(text)\", and must be an address and a port, such as 127.0.0.1:9187")
    }
}
