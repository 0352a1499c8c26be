import TenantPool
import WireProtocol

// What an administrator does to a tenant. Each is answered once, at once or later, on the reactor's thread.

extension Router {
    /// Stops and removes a tenant; false: there was none.
    mutating func drop(_ tenant: TenantName, _ answer: @escaping (inout Router, Result<Bool, ErrorMessage>) -> Void) {
        answer(&self, .failure(.notYet("DROP")))
    }

    /// Stops a tenant's instance until somebody connects; false: there is no such tenant.
    mutating func hibernate(
        _ tenant: TenantName, _ answer: @escaping (inout Router, Result<Bool, ErrorMessage>) -> Void
    ) {
        answer(&self, .failure(.notYet("HIBERNATE")))
    }

    /// Starts a tenant's instance without a client.
    mutating func wake(_ tenant: TenantName, _ answer: @escaping (inout Router, Result<Void, ErrorMessage>) -> Void) {
        answer(&self, .failure(.notYet("WAKE")))
    }
}

extension ErrorMessage {
    fileprivate static func notYet(_ command: String) -> ErrorMessage {
        ErrorMessage(severity: .error, .featureNotSupported, "\(command) is not possible yet")
    }
}
