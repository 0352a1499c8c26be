import Foundation
import Glibc

/// What is going on, for a person who waits: one line that is rewritten on a terminal, a line each elsewhere.
struct Progress {
    private let isTerminal = isatty(STDERR_FILENO) == 1

    func note(_ text: String) {
        write(isTerminal ? "\r\u{1B}[K\(text) …" : "\(text) …\n")
    }

    /// Leaves nothing behind on a terminal.
    func clear() {
        if isTerminal { write("\r\u{1B}[K") }
    }

    private func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}
