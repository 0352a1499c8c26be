import TestSupport
import Testing

@testable import WireProtocol

@Suite struct ErrorMessageTests {
    static let full = ErrorMessage(
        .tooManyConnections, "sorry", detail: "The limit is 40.", hint: "Raise --max-connections.")

    @Test func anErrorIsWrittenAsTheManualSays() {
        let body = "SFATAL\0VFATAL\0C53300\0Msorry\0DThe limit is 40.\0HRaise --max-connections.\0\0"
        #expect(Self.full.errorResponse() == frame("E", Array(body.utf8)))
        #expect(Self.full.noticeResponse() == frame("N", Array(body.utf8)))
        #expect(
            ErrorMessage(severity: .notice, .internalError, "m").noticeResponse()
                == frame("N", Array("SNOTICE\0VNOTICE\0CXX000\0Mm\0\0".utf8)))
    }

    @Test func whatIsWrittenIsReadAgain() {
        #expect(ErrorMessage(parsing: Self.full.errorResponse()[5...]) == Self.full)
    }

    /// A name that ends a field early would let its sender write the fields behind it.
    @Test func zeroBytesEndNoField() {
        let message = ErrorMessage(.invalidCatalogName, "database \"x\0CXX000\0\" does not exist")
        let parsed = ErrorMessage(parsing: message.errorResponse()[5...])
        #expect(parsed?.sqlState == .invalidCatalogName)
        #expect(parsed?.message == "database \"xCXX000\" does not exist")
    }

    @Test func aRecordedErrorIsRead() {
        let response = Transcript.unknownRole[9...]
        #expect(response.first == UInt8(ascii: "E"))
        #expect(
            ErrorMessage(parsing: response.dropFirst(5))
                == ErrorMessage(.invalidAuthorization, "role \"nobody\" does not exist"))
    }

    @Test(arguments: [
        "", "\0", "SFATAL\0C53300\0Mx\0", "SFATAL\0C53300\0Mx", "SFATAL\0C5330\0Mx\0\0", "SFATAL\0Mx\0\0",
        "SFATAL\0C53300\0\0", "S",
    ])
    func aMutilatedErrorIsNil(body: String) { #expect(ErrorMessage(parsing: Array(body.utf8)[...]) == nil) }

    @Test func theUntranslatedSeverityCounts() {
        func severity(_ body: String) -> ErrorMessage.Severity? {
            ErrorMessage(parsing: Array(body.utf8)[...])?.severity
        }
        #expect(severity("SSCHWERWIEGEND\0VFATAL\0C53300\0Mx\0\0") == .fatal)
        #expect(severity("SPANIC\0C53300\0Mx\0\0") == .panic)
        #expect(severity("C53300\0Mx\0\0") == .error)
    }

    @Test func mutatedErrorsNeverTrap() {
        var chance = Chance()
        print("ErrorMessage: seed \(chance.seed)")
        for _ in 0..<3_000 {
            _ = ErrorMessage(parsing: chance.mutation(of: Array(Self.full.errorResponse()[5...]))[...])
        }
    }
}

@Suite struct MessageTests {
    @Test func sqlStatesAreFiveCharacters() {
        #expect(SQLState("57P01") == .adminShutdown && SQLState.adminShutdown.description == "57P01")
        for code in ["", "5330", "533000", "5330x", "53é0", "53 00"] { #expect(SQLState(code) == nil, "\(code)") }
    }

    @Test func firstPacketsAreWritten() {
        #expect(Frontend.sslRequest == [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f])
        #expect(Frontend.gssEncRequest == [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30])
        #expect(
            Frontend.cancelRequest(CancelKey(processID: 258, secret: [9, 8, 7, 6]))
                == [0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e, 0, 0, 1, 2, 9, 8, 7, 6])
        let startup = Frontend.startupMessage(user: "u", database: "d", parameters: [("a", "b")])
        #expect(startup[..<8].elementsEqual([0, 0, 0, 31, 0, 3, 0, 0]))
        #expect(Array(startup[8...]) == Array("user\0u\0database\0d\0a\0b\0\0".utf8))
    }

    @Test func framesAreWritten() {
        #expect(Frontend.terminate == [0x58, 0, 0, 0, 4])
        #expect(Frontend.query("é") == [0x51, 0, 0, 0, 7, 0xc3, 0xa9, 0])
        #expect(Backend.authenticationOk == [0x52, 0, 0, 0, 8, 0, 0, 0, 0])
        #expect(
            Backend.backendKeyData(CancelKey(processID: 1, secret: [1, 2, 3, 4]))
                == [0x4b, 0, 0, 0, 12, 0, 0, 0, 1, 1, 2, 3, 4])
    }

    @Test func bodiesAreRead() {
        let key = CancelKey(processID: -2, secret: Array(0..<32))
        #expect(Backend.cancelKey(parsing: Backend.backendKeyData(key)[5...]) == key)
        for count in [0, 3, 7, 261] { #expect(Backend.cancelKey(parsing: .init(repeating: 0, count: count)) == nil) }
        #expect(Backend.AuthenticationRequest(parsing: [0, 0, 0, 10, 1]) == .init(code: 10))
        #expect(Backend.AuthenticationRequest(parsing: [0, 0, 0]) == nil)
        #expect(Backend.TransactionStatus(parsing: [0x54]) == .inTransaction)
        #expect(Backend.TransactionStatus(parsing: [0x55]) == nil && Backend.TransactionStatus(parsing: []) == nil)
        let status = Backend.ParameterStatus(parsing: Array("TimeZone\0Etc/UTC\0".utf8)[...])
        #expect(status?.name == "TimeZone" && status?.value == "Etc/UTC")
        for body in ["", "a", "a\0", "a\0b", "a\0b\0c"] {
            #expect(Backend.ParameterStatus(parsing: Array(body.utf8)[...]) == nil, "\(body)")
        }
    }
}
