import TestSupport
import WireProtocol

/// What clients and backends of the fuzzer say: transcripts that are right, and the same ones damaged.
enum Script {
    /// First packets in some order, then queries.
    static func client(_ chance: inout Chance) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 0...2, using: &chance) where chance.happens(40) {
            bytes += chance.happens(50) ? Frontend.sslRequest : Frontend.gssEncRequest
        }
        if chance.happens(8) {
            bytes += Frontend.cancelRequest(CancelKey(processID: 7, secret: blob(&chance, 4...256)))
        } else {
            bytes += Frontend.startupMessage(user: "ann", database: "shop", parameters: [("options", "-c a=b")])
            if chance.happens(5) { bytes = chance.mutation(of: bytes) }
        }
        // More than is kept for a client that waits; rarely, for it is the slowest of all.
        var talk = chance.happens(5) ? frame("Q", [UInt8](repeating: 1, count: 70_000)) : []
        for _ in 0..<Int.random(in: 0...12, using: &chance) {
            let body = blob(&chance, 0...200)
            talk += frame(["Q", "P", "B", "E", "S", "d", "c"].randomElement(using: &chance) ?? "Q", body)
        }
        if talk.count < 70_000, chance.happens(20) { talk = [] }
        if chance.happens(40) { talk += Says.terminate }
        return bytes + (chance.happens(15) ? chance.mutation(of: talk) : talk)
    }

    /// A startup that ends one way or another, then answers.
    static func backend(_ chance: inout Chance) -> [UInt8] {
        var bytes = Says.authenticationOk
        switch Int.random(in: 0..<20, using: &chance) {
        case 0, 1: return bytes + Says.error(.invalidAuthorization)
        case 6: return Says.error(.cannotConnectNow)
        case 2: return bytes + Says.error(.tooManyConnections)
        case 3: return Says.passwordRequest
        case 4: return Says.broken
        case 5: return []
        default: break
        }
        bytes += Says.parameter + Says.key(CancelKey(processID: 7, secret: blob(&chance, 4...256))) + Says.ready
        if chance.happens(20) { return bytes }
        if chance.happens(20) { bytes += frame("C", Array("GRANT\0".utf8)) + Says.ready }
        for _ in 0..<Int.random(in: 0...12, using: &chance) {
            if chance.happens(5) { bytes += Says.broken }
            bytes += frame(["T", "D", "C", "Z", "N", "v"].randomElement(using: &chance) ?? "D", blob(&chance, 0...300))
        }
        if chance.happens(15) { bytes += Says.error(.adminShutdown) }
        if chance.happens(10) { bytes.removeLast(Int.random(in: 0...7, using: &chance)) }
        return chance.happens(15) ? chance.mutation(of: bytes) : bytes
    }

    static let tidyClient =
        Frontend.startupMessage(user: "ann", database: "shop") + Says.query + Says.terminate
    static let tidyBackend =
        Says.authenticationOk + Says.key(CancelKey(processID: 7, secret: [1, 2, 3, 4])) + Says.ready + Says.done
        + Says.ready

    /// What a backend says to a cancel request.
    static func silence(_ chance: inout Chance) -> [UInt8] { chance.happens(10) ? blob(&chance, 0...20) : [] }

    /// Whether these frames end where a frame ends; counted the plain way, from the first to the last.
    static func isBoundary(_ bytes: [UInt8]) -> Bool {
        var offset = 0
        while offset + 5 <= bytes.count { offset += 1 + length(bytes, at: offset + 1) }
        return offset == bytes.count
    }

    /// The tags of these frames, the last of which may be cut.
    static func tags(of bytes: [UInt8]) -> [UInt8] {
        var (offset, tags) = (0, [UInt8]())
        while offset + 5 <= bytes.count {
            tags.append(bytes[offset])
            offset += 1 + length(bytes, at: offset + 1)
        }
        return tags
    }

    /// Bytes of the packet without a tag that a stream begins with.
    static func startupLength(_ bytes: [UInt8]) -> Int { bytes.count < 4 ? bytes.count : length(bytes, at: 0) }

    private static func length(_ bytes: [UInt8], at offset: Int) -> Int {
        bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
    }

    private static func blob(_ chance: inout Chance, _ count: ClosedRange<Int>) -> [UInt8] {
        let count = Int.random(in: count, using: &chance)
        let start = Int.random(in: 0..<251, using: &chance)
        var bytes: [UInt8] = []
        while bytes.count < count { bytes += pattern[start..<start + min(251, count - bytes.count)] }
        return bytes
    }

    /// Long enough that a byte in a wrong place is seen.
    private static let pattern: [UInt8] = (0..<502).map { UInt8($0 % 251) }
}
