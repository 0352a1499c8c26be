import WireProtocol

/// A word of a command, as it was written.
struct ConsoleWord: Equatable {
    enum Kind { case plain, quoted, symbol }

    let kind: Kind
    let text: String

    /// In lower case, where it may be a keyword.
    var keyword: String? { kind == .plain ? text.lowercased() : nil }
    var isName: Bool { kind != .symbol }
}

/// Splits a query into statements of words. Names may be quoted as identifiers or as literals; comments are skipped.
struct ConsoleLexer {
    private var rest: Substring.UnicodeScalarView

    static func statements(of text: String) throws(ErrorMessage) -> [[ConsoleWord]] {
        var lexer = ConsoleLexer(rest: text[...].unicodeScalars)
        var statements: [[ConsoleWord]] = [[]]
        while let word = try lexer.next() {
            if word == ConsoleWord(kind: .symbol, text: ";") {
                statements.append([])
            } else {
                statements[statements.count - 1].append(word)
            }
        }
        return statements
    }

    private mutating func next() throws(ErrorMessage) -> ConsoleWord? {
        try skipSpace()
        guard let first = rest.first else { return nil }
        if first == "\"" || first == "'" { return ConsoleWord(kind: .quoted, text: try quoted(by: first)) }
        guard Self.isPlain(first) else {
            rest.removeFirst()
            return ConsoleWord(kind: .symbol, text: String(first))
        }
        let word = rest.prefix(while: Self.isPlain)
        rest = rest[word.endIndex...]
        return ConsoleWord(kind: .plain, text: String(Substring(word)))
    }

    private mutating func skipSpace() throws(ErrorMessage) {
        while let first = rest.first {
            if first.properties.isWhitespace || first == "\0" {
                rest.removeFirst()
            } else if rest.starts(with: "--".unicodeScalars) {
                rest = rest.drop { $0 != "\n" }
            } else if rest.starts(with: "/*".unicodeScalars) {
                try skipComment()
            } else {
                return
            }
        }
    }

    private mutating func skipComment() throws(ErrorMessage) {
        rest = rest.dropFirst(2)
        while !rest.starts(with: "*/".unicodeScalars) {
            guard !rest.isEmpty else { throw .syntax("a comment has no end", hint: "It ends with */.") }
            rest.removeFirst()
        }
        rest = rest.dropFirst(2)
    }

    /// A quote inside is written twice.
    private mutating func quoted(by quote: Unicode.Scalar) throws(ErrorMessage) -> String {
        rest.removeFirst()
        var text = String.UnicodeScalarView()
        while let scalar = rest.popFirst() {
            if scalar != quote {
                text.append(scalar)
            } else if rest.first == quote {
                rest.removeFirst()
                text.append(quote)
            } else {
                return String(text)
            }
        }
        throw .syntax("a quoted name has no end", hint: "It ends with \(quote); one inside is written twice.")
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_", "-", ".", "$", "%": true
        default: !scalar.isASCII && !scalar.properties.isWhitespace
        }
    }
}
