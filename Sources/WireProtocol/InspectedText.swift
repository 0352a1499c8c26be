/// What a client or PostgreSQL wrote, made fit for one line that a person reads: escaped, and cut where it is long.
enum InspectedText {
    /// An SQL text, an error's message, in bytes as printed.
    static let statementLimit = 4_000
    /// A name, a command tag, a value, in bytes as printed.
    static let nameLimit = 200
    /// Parameters, columns and settings that are listed one by one.
    static let listLimit = 20

    /// - Parameter isWhole: whether the bytes are all there is.
    static func escaped(_ bytes: some Collection<UInt8>, limit: Int, isWhole: Bool = true) -> String {
        // A character takes a byte at least.
        let text = String(decoding: bytes.prefix(limit), as: UTF8.self)
        var result = String.UnicodeScalarView()
        var room = limit
        for scalar in text.unicodeScalars {
            let piece = escape(scalar)
            room -= piece.utf8.count
            guard room >= 0 else { return String(result) + "…" }
            result.append(contentsOf: piece.unicodeScalars)
        }
        return String(result) + (isWhole && bytes.count <= limit ? "" : "…")
    }

    /// Separated by commas, as many as are listed.
    static func list(_ items: [String], isWhole: Bool = true) -> String {
        let isCut = !isWhole || items.count > listLimit
        return items.prefix(listLimit).joined(separator: ", ") + (isCut ? (items.isEmpty ? "…" : ", …") : "")
    }

    /// What a terminal or a line-reading program would act on, and what turns the direction of text: neither may forge
    /// a line or hide a part of one.
    private static func escape(_ scalar: Unicode.Scalar) -> String {
        switch scalar.value {
        case 0x5c: "\\\\"
        case 0x0a: "\\n"
        case 0x0d: "\\r"
        case 0x09: "\\t"
        case 0...0x1f, 0x7f...0x9f, 0x2028...0x202e, 0x2066...0x2069:
            "\\u{\(String(scalar.value, radix: 16))}"
        default: String(scalar)
        }
    }
}

/// What must not be printed: passwords, in whatever they are written.
enum Secrets {
    /// Whether a text speaks of a password: `ALTER ROLE … PASSWORD`, `OPTIONS (password …)`, a connection string, a
    /// column. Too often is harmless.
    static func areIn(_ text: some BidirectionalCollection<UInt8>) -> Bool {
        var matched = 0
        for byte in text {
            let letter = byte | 0x20
            if letter == word[matched] {
                matched += 1
                if matched == word.count { return true }
            } else {
                matched = letter == word[0] ? 1 : 0
            }
        }
        return false
    }

    private static let word = Array("passw".utf8)

    /// Where the first string constant begins. Nothing behind it is shown of a text with a password in it: which of
    /// them is the password depends on comments, on settings and on functions of the client's own.
    static func firstConstant(in text: ArraySlice<UInt8>) -> ArraySlice<UInt8>.Index? {
        text.indices.first { index in
            switch text[index] {
            case UInt8(ascii: "'"): true
            // A parameter is `$` and a digit, which no quote begins with.
            case UInt8(ascii: "$"): index + 1 == text.endIndex || !isDigit(text[index + 1])
            default: false
            }
        }
    }

    /// Where an error message may quote what somebody wrote: translations have quotes of their own, beyond ASCII.
    static func firstQuote(in text: ArraySlice<UInt8>) -> ArraySlice<UInt8>.Index? {
        text.firstIndex { byte in
            byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") || byte == UInt8(ascii: "$") || byte >= 0x80
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
