/// What a postmaster says about its readiness.
public enum ReadinessMessage: Sendable, Equatable {
    /// It accepts connections.
    case ready
    /// It began to stop.
    case stopping
    /// Words for a human, such as "starting up".
    case status(String)
    /// Nothing that concerns readiness.
    case ignored

    /// Reads the bytes of one datagram to `NOTIFY_SOCKET`: lines of `NAME=value`. Source: sd_notify(3).
    public init(parsing bytes: RawSpan) {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.byteCount)
        for offset in 0..<bytes.byteCount {
            unsafe text.append(bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self))
        }
        self.init(parsing: String(decoding: text, as: UTF8.self))
    }

    init(parsing text: String) {
        var status: String?
        for line in text.split(separator: "\n") {
            if line == "READY=1" {
                self = .ready
                return
            }
            if line == "STOPPING=1" {
                self = .stopping
                return
            }
            if line.hasPrefix("STATUS=") { status = String(line.dropFirst("STATUS=".count)) }
        }
        self = status.map { .status($0) } ?? .ignored
    }

    /// Reads `postmaster.pid`: its eighth line is the postmaster's state, padded with spaces. Source: PostgreSQL
    /// `src/include/utils/pidfile.h`.
    init(postmasterPID content: [UInt8]) {
        let lines = content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard lines.count >= 8 else {
            self = .ignored
            return
        }
        switch String(decoding: lines[7], as: UTF8.self).split(separator: " ").first {
        case "ready": self = .ready
        case "stopping": self = .stopping
        case .some(let word): self = .status(String(word))
        case nil: self = .ignored
        }
    }
}
