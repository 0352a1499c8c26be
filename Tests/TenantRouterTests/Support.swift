import Reactor
import TenantPool
import TestSupport
import WireProtocol

@testable import TenantRouter

// What the tests of this module speak in: frames, startup packets, tokens.

/// The bytes cut in two, at every place.
func eachCut(_ bytes: [UInt8]) -> [[[UInt8]]] {
    (1..<bytes.count).map { [Array(bytes[..<$0]), Array(bytes[$0...])] }
}

/// The name of an enum's case, without what it carries.
func name(of value: Any) -> String { String("\(value)".prefix { $0 != "(" }) }

/// The messages of PostgreSQL that the tests let a backend say.
enum Says {
    static let authenticationOk = Backend.authenticationOk
    static let passwordRequest = frame("R", bigEndian(3))
    static let parameter = frame("S", Array("server_version\015.18\0".utf8))
    static let ready = frame("Z", [0x49])
    static let done = frame("C", Array("SELECT 1\0".utf8))
    static let query = frame("Q", Array("SELECT 1\0".utf8))
    static let terminate = Frontend.terminate
    /// No frame has a length below 4.
    static let broken = header("Z", 3)

    static func key(_ key: CancelKey = backendKey) -> [UInt8] { Backend.backendKeyData(key) }

    static func error(_ state: SQLState, _ message: String = "no") -> [UInt8] {
        ErrorMessage(state, message).errorResponse()
    }

    static let backendKey = CancelKey(processID: 4711, secret: [1, 2, 3, 4])
    static let issuedKey = CancelKey(processID: 4711, secret: [9, 9, 9, 9])
}

extension BackendStartup {
    mutating func append(_ bytes: [UInt8]) { unsafe append(bytes.span.bytes) }
}

extension Relay {
    mutating func frontendReceived(_ bytes: [UInt8]) -> Decision {
        var meter = Meter()
        return unsafe frontendReceived(bytes.span.bytes, &meter, now: 0)
    }

    mutating func backendReceived(_ bytes: [UInt8]) -> Decision {
        var meter = Meter()
        return unsafe backendReceived(bytes.span.bytes, &meter, now: 0)
    }
}

extension Session {
    mutating func frontendReceived(_ bytes: [UInt8], now: Int64 = 0) -> FrontendReceivedAction {
        unsafe frontendReceived(bytes.span.bytes, now: now)
    }

    mutating func backendReceived(_ bytes: [UInt8], now: Int64 = 0) -> BackendReceivedAction {
        unsafe backendReceived(bytes.span.bytes, now: now)
    }
}
