import TenantPool

/// What one can ask the status page's server for.
enum StatusRoute: Equatable {
    case page, metrics, health, readiness, statistics
    /// Samples and starts behind those numbers.
    case history(samples: Int, starts: Int)
    case tenants(sizes: Bool)
    case tenant(TenantName)
    case log(TenantName)
    case wake(TenantName)
    case hibernate(TenantName)

    /// Whether one must know the token: what changes something, and the log of an instance, which holds statements.
    var needsToken: Bool {
        switch self {
        case .page, .metrics, .health, .readiness, .statistics, .history, .tenants, .tenant: false
        case .log, .wake, .hibernate: true
        }
    }

    /// Whether it changes something.
    private var isAct: Bool {
        switch self {
        case .page, .metrics, .health, .readiness, .statistics, .history, .tenants, .tenant, .log: false
        case .wake, .hibernate: true
        }
    }

    init(_ request: HTTPRequest) throws(HTTPResponse) {
        self = try Self.find(request)
        switch request.method {
        case .get, .head: if isAct { throw .wrongMethod("POST") }
        case .post: if !isAct { throw .wrongMethod("GET, HEAD") }
        }
    }

    private static func find(_ request: HTTPRequest) throws(HTTPResponse) -> StatusRoute {
        switch request.path {
        case []: return .page
        case ["metrics"]: return .metrics
        case ["healthz"]: return .health
        case ["readyz"]: return .readiness
        case ["api", "stats"]: return .statistics
        case ["api", "history"]:
            let number = { (name: String) in request.query[name].flatMap { Int($0) } ?? 0 }
            return .history(samples: max(0, number("samples")), starts: max(0, number("starts")))
        case ["api", "tenants"]: return .tenants(sizes: request.query["sizes"] != nil)
        default: return try find(ofTenant: request.path)
        }
    }

    private static func find(ofTenant path: [String]) throws(HTTPResponse) -> StatusRoute {
        guard path.count >= 3, path[0] == "api", path[1] == "tenants" else { throw .nothingThere }
        let tenant: TenantName
        do throws(TenantNameError) {
            tenant = try TenantName(path[2])
        } catch {
            throw .failure(.notFound, "no tenant can have that name")
        }
        switch path.dropFirst(3) {
        case []: return .tenant(tenant)
        case ["log"]: return .log(tenant)
        case ["wake"]: return .wake(tenant)
        case ["hibernate"]: return .hibernate(tenant)
        default: throw .nothingThere
        }
    }
}

/// Who may ask. The server listens on loopback; what is kept out here are pages of other sites, whose requests come from
/// a browser on this machine.
enum StatusAccess {
    static func check(_ request: HTTPRequest) throws(HTTPResponse) {
        // A name that an attacker has made lead to this machine stays in the field: DNS rebinding.
        if let host = request["host"], !isThisMachine(host) {
            throw .failure(.forbidden, "the field host must be an address of this machine, or localhost")
        }
        if let origin = request["origin"], origin != "http://\(request["host"] ?? "")" {
            throw .failure(.forbidden, "pages of other sites may not ask")
        }
    }

    /// `localhost`, or a loopback address, with or without a port.
    static func isThisMachine(_ host: String) -> Bool {
        var name = host[...]
        if let colon = name.lastIndex(of: ":"), !name.hasSuffix("]") {
            guard UInt16(name[name.index(after: colon)...]) != nil else { return false }
            name = name[..<colon]
        }
        if name.lowercased() == "localhost" || name == "[::1]" { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}

extension HTTPResponse {
    static let nothingThere = HTTPResponse.failure(.notFound, "there is nothing here")

    static func wrongMethod(_ allowed: String) -> HTTPResponse {
        var response = HTTPResponse.failure(.methodNotAllowed, "it takes \(allowed)")
        response.fields = [("Allow", allowed)]
        return response
    }

    static let noToken = {
        var response = HTTPResponse.failure(
            .unauthorized, "this needs the token", hint: "It is in the file .routerd/token of the base directory.")
        response.fields = [("WWW-Authenticate", "Bearer")]
        return response
    }()
}
