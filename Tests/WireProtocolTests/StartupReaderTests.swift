import TestSupport
import Testing

@testable import WireProtocol

private let ssl = Frontend.sslRequest
private let gss = Frontend.gssEncRequest
private let key = CancelKey(processID: 4711, secret: [1, 2, 3, 4])

private func startup(_ strings: String..., version: UInt32 = 0x3_0000, behind: [UInt8] = [0]) -> [UInt8] {
    packet(version, strings.flatMap { Array($0.utf8) + [0] } + behind)
}

private func packet(_ code: UInt32, _ body: [UInt8] = []) -> [UInt8] {
    bigEndian(UInt32(body.count + 8)) + bigEndian(code) + body
}

private let plain = startup("user", "alice", "database", "shop")

/// What a connection says, message by message, and the reader's last word.
private struct Row: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let messages: [[UInt8]]
    let end: End

    enum End: Sendable, Equatable {
        case opened(user: String, database: String?)
        case cancelled(CancelKey)
        case violated(StartupViolation)
    }

    init(_ name: String, _ messages: [UInt8]..., end: End) {
        self.testDescription = name
        self.messages = messages
        self.end = end
    }
}

private let opened = Row.End.opened(user: "alice", database: "shop")

private let rows: [Row] = [
    Row("startup", plain, end: opened),
    Row("SSL, startup", ssl, plain, end: opened),
    Row("GSS, startup", gss, plain, end: opened),
    Row("SSL, GSS, startup", ssl, gss, plain, end: opened),
    Row("GSS, SSL, startup", gss, ssl, plain, end: opened),
    Row("SSL, GSS, SSL, startup", ssl, gss, ssl, plain, end: opened),
    Row("SSLRequest with a body", packet(80_877_103, [1, 2]), plain, end: opened),
    Row("SSL, SSL", ssl, ssl, end: .violated(.unsupportedProtocol(.sslRequest))),
    Row("GSS, GSS", gss, gss, end: .violated(.unsupportedProtocol(.gssEncRequest))),
    Row("cancel", Frontend.cancelRequest(key), end: .cancelled(key)),
    Row("SSL, cancel", ssl, Frontend.cancelRequest(key), end: .cancelled(key)),
    Row(
        "cancel, 256 bytes", Frontend.cancelRequest(CancelKey(processID: -1, secret: .init(repeating: 9, count: 256))),
        end: .cancelled(CancelKey(processID: -1, secret: .init(repeating: 9, count: 256)))),
    Row("cancel, 3 bytes", packet(80_877_102, bigEndian(1) + [1, 2, 3]), end: .violated(.invalidCancelLength(15))),
    Row("cancel, no key", packet(80_877_102), end: .violated(.invalidCancelLength(8))),
    Row(
        "cancel, 257 bytes", packet(80_877_102, bigEndian(1) + .init(repeating: 9, count: 257)),
        end: .violated(.invalidCancelLength(269))),
    Row("no database", startup("user", "alice"), end: .opened(user: "alice", database: nil)),
    Row("empty database", startup("user", "alice", "database", ""), end: .opened(user: "alice", database: nil)),
    Row("the last user counts", startup("user", "bob", "user", "alice"), end: .opened(user: "alice", database: nil)),
    Row("protocol 3.2", startup("user", "alice", version: 0x3_0002), end: .opened(user: "alice", database: nil)),
    Row("unknown minor", startup("user", "alice", version: 0x3_270f), end: .opened(user: "alice", database: nil)),
    Row(
        "unknown option", startup("user", "alice", "_pq_.test_protocol_negotiation", ""),
        end: .opened(user: "alice", database: nil)),
    Row(
        "protocol 2", startup("user", "alice", version: 0x2_0000),
        end: .violated(.unsupportedProtocol(ProtocolVersion(major: 2, minor: 0)))),
    Row(
        "protocol 4", packet(0x4_0001), end: .violated(.unsupportedProtocol(ProtocolVersion(major: 4, minor: 1)))),
    Row(
        "an unknown request", packet(80_877_110),
        end: .violated(.unsupportedProtocol(ProtocolVersion(major: 1234, minor: 5686)))),
    Row("no user", startup("database", "shop"), end: .violated(.missingUser)),
    Row("empty user", startup("user", ""), end: .violated(.missingUser)),
    Row("nothing at all", startup(), end: .violated(.missingUser)),
    Row("no terminator", startup("user", "alice", behind: []), end: .violated(.missingTerminator)),
    Row("no body", startup(behind: []), end: .violated(.missingTerminator)),
    Row("behind the terminator", startup("user", "alice", behind: [0, 0]), end: .violated(.missingTerminator)),
    Row("a name without a value", startup("user", "alice", behind: [0x78, 0]), end: .violated(.missingTerminator)),
    Row("an open value", startup("user", "alice", behind: [0x78, 0, 0x79]), end: .violated(.missingTerminator)),
    Row("an open name", startup("user", "alice", behind: [0x78]), end: .violated(.missingTerminator)),
    Row(
        "user not UTF-8", packet(0x3_0000, [0x75, 0x73, 0x65, 0x72, 0, 0xff, 0, 0]),
        end: .violated(.notUTF8(parameter: "user"))),
    Row(
        "database not UTF-8",
        packet(0x3_0000, Array("user".utf8) + [0, 0x61, 0] + Array("database".utf8) + [0, 0xc3, 0, 0]),
        end: .violated(.notUTF8(parameter: "database"))),
    Row("HTTP", Array("GET / HTTP/1.1\r\n".utf8), end: .violated(.invalidLength(0x4745_5420))),
    Row("direct TLS", [0x16, 3, 1, 2, 0], end: .violated(.directTLS)),
    Row("SSL, then a handshake", ssl, [0x16, 3, 1], end: .violated(.directTLS)),
]

private func end(_ outcome: StartupReader.Outcome) -> Row.End? {
    switch outcome {
    case .needsMore, .packet(.sslRequest), .packet(.gssEncRequest): nil
    case .packet(.cancel(let key)): .cancelled(key)
    case .packet(.startup(let packet)): .opened(user: packet.user, database: packet.database)
    case .violation(let violation): .violated(violation)
    }
}

@Suite struct StartupReaderTests {
    /// GSSENC, then SSL, then startup on one socket was misread.
    @Test(arguments: rows)
    private func firstPacketsWhole(row: Row) {
        var reader = StartupReader()
        for (index, message) in row.messages.enumerated() {
            reader.append(message)
            let outcome = reader.next()
            #expect(end(outcome) == (index == row.messages.count - 1 ? row.end : nil))
        }
    }

    /// A startup packet split over two reads was dropped.
    @Test(arguments: rows)
    private func firstPacketsByteByByte(row: Row) {
        var reader = StartupReader()
        var last: Row.End?
        for message in row.messages {
            for (sent, byte) in message.enumerated() {
                #expect(last == nil || last == row.end)
                unsafe reader.append([byte].span.bytes)
                let outcome = reader.next()
                if case .needsMore(let missing) = outcome, case .opened = row.end {
                    #expect(missing == (sent < 3 ? 3 - sent : message.count - sent - 1))
                }
                last = last ?? end(outcome)
            }
        }
        #expect(last == row.end)
    }

    @Test(arguments: rows)
    private func aViolationIsRepeated(row: Row) {
        guard case .violated(let violation) = row.end else { return }
        var reader = StartupReader()
        for message in row.messages {
            reader.append(message)
            _ = reader.next()
        }
        reader.append(plain)
        #expect(reader.next() == .violation(violation))
        #expect(reader.leftover.isEmpty)
    }

    @Test(arguments: [UInt32(0), 3, 4, 7, 8, 10_004, 10_005, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])
    func lengthsAreJudgedAtOnce(length: UInt32) {
        for before in [[], [ssl], [ssl, gss]] as [[[UInt8]]] {
            var reader = StartupReader()
            for request in before {
                reader.append(request)
                _ = reader.next()
            }
            reader.append(bigEndian(length))
            let isLegal = (8...10_004).contains(length)
            #expect(reader.next() == (isLegal ? .needsMore(Int(length) - 4) : .violation(.invalidLength(length))))
        }
    }

    @Test func theLongestPacketIsTaken() {
        let value = String(repeating: "x", count: 10_004 - plain.count - 2)
        let packet = startup("user", "alice", "database", "shop", "o", value.dropLast().description)
        #expect(packet.count == 10_004)
        var reader = StartupReader()
        reader.append(packet)
        #expect(end(reader.next()) == opened)
    }

    /// Whoever sits in the middle could put a startup packet behind the SSLRequest before the handshake.
    @Test func bytesBehindAnEncryptionRequestAreRefused() {
        for (request, version) in [(ssl, ProtocolVersion.sslRequest), (gss, .gssEncRequest)] {
            for behind in [[0], plain, request] as [[UInt8]] {
                var reader = StartupReader()
                reader.append(request + behind)
                #expect(reader.next() == .violation(.bytesBehindEncryptionRequest(version)))
            }
        }
    }

    @Test func bytesBehindAStartupPacketAreLeftOver() {
        var reader = StartupReader()
        reader.append(plain + frame("Q", [0x78, 0]))
        #expect(reader.leftover.isEmpty)
        #expect(end(reader.next()) == opened)
        reader.append(frame("S"))
        #expect(reader.leftover == frame("Q", [0x78, 0]) + frame("S"))
        #expect(reader.takeLeftover() == frame("Q", [0x78, 0]) + frame("S"))
        #expect(reader.leftover.isEmpty)
    }

    @Test func aPacketKeepsItsBytes() throws {
        let bytes = startup("user", "alice", "options", "-c a=b", "options", "-c c=d", version: 0x3_0002)
        var reader = StartupReader()
        reader.append(bytes)
        guard case .packet(.startup(let packet)) = reader.next() else {
            Issue.record("no startup packet")
            return
        }
        #expect(packet.bytes == bytes)
        #expect(packet.version == ProtocolVersion(major: 3, minor: 2))
        #expect(packet["options"] == "-c c=d" && packet["user"] == "alice" && packet["database"] == nil)
        #expect(packet.parameters.map { String(decoding: $0.name, as: UTF8.self) } == ["user", "options", "options"])
    }

    @Test func recordedFirstPacketsAreRead() {
        for (transcript, database) in [(Transcript.psqlFrontend, "postgres"), (Transcript.pgbenchFrontend, "postgres")]
        {
            var reader = StartupReader()
            reader.append(Array(transcript[..<8]))
            #expect(reader.next() == .packet(.sslRequest))
            reader.append(Array(transcript[8...]))
            #expect(end(reader.next()) == .opened(user: "postgres", database: database))
            #expect(reader.leftover.first == transcript[8 + Int(transcript[11])])
        }
    }

    @Test func hostileInputNeverTraps() {
        var chance = Chance()
        print("StartupReader: seed \(chance.seed)")
        for _ in 0..<3_000 {
            let row = rows.randomElement(using: &chance) ?? rows[0]
            let bytes = chance.mutation(of: row.messages.flatMap { $0 })
            var reader = StartupReader()
            for chunk in chance.chunks(of: bytes, upTo: 20) {
                reader.append(chunk)
                while case .packet(.sslRequest) = reader.next() {}
            }
        }
    }

    /// The words of PostgreSQL 15, recorded.
    @Test func violationsSpeakAsPostgreSQLDoes() {
        let expected: [(StartupViolation, String, String)] = [
            (.invalidLength(3), "08P01", "invalid length of startup packet"),
            (
                .unsupportedProtocol(ProtocolVersion(major: 4, minor: 0)), "0A000",
                "unsupported frontend protocol 4.0: server supports 3.0 to 3.0"
            ),
            (
                .unsupportedProtocol(.sslRequest), "0A000",
                "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.0"
            ),
            (.missingTerminator, "08P01", "invalid startup packet layout: expected terminator as last byte"),
            (.missingUser, "28000", "no PostgreSQL user name specified in startup packet"),
            (
                .bytesBehindEncryptionRequest(.sslRequest), "08P01", "received unencrypted data after SSL request"
            ),
            (
                .bytesBehindEncryptionRequest(.gssEncRequest), "08P01",
                "received unencrypted data after GSSAPI encryption request"
            ),
        ]
        for (violation, code, message) in expected {
            #expect(violation.error.sqlState.description == code && violation.error.message == message)
            #expect(violation.error.severity == .fatal)
            #expect(violation.response == violation.error.errorResponse())
        }
        #expect(
            StartupViolation.unsupportedProtocol(ProtocolVersion(major: 2, minor: 0)).response
                == Array("EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.0\n\0".utf8))
        #expect(StartupViolation.directTLS.response.isEmpty && StartupViolation.invalidCancelLength(8).response.isEmpty)
    }

    @Test func anUnansweredConnectionHoldsNoBuffer() {
        #expect(MemoryLayout<StartupReader>.stride <= 64)
    }
}
