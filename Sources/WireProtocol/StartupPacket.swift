/// A StartupMessage (PostgreSQL manual, "Message Formats"). It goes to the backend byte for byte; the router reads
/// which tenant it names.
public struct StartupPacket: Sendable, Equatable {
    /// One run-time parameter as it came, neither validated nor unique.
    public struct Parameter: Sendable, Equatable {
        /// The name, without its terminator.
        public let name: [UInt8]
        /// The value, without its terminator.
        public let value: [UInt8]
    }

    /// The whole packet as it came, length included.
    public let bytes: [UInt8]
    /// Major is always 3; the minor is whatever the frontend asked for.
    public let version: ProtocolVersion
    /// In the order they came, `user` and `database` among them.
    public let parameters: [Parameter]
    /// The role to connect as; never empty.
    public let user: String
    /// The database asked for; nil where it is absent or empty, which to PostgreSQL means one named like the user.
    public let database: String?

    /// The last value given for a parameter, as PostgreSQL takes it; nil where it is absent or not UTF-8.
    public subscript(name: String) -> String? {
        Self.lastValue(of: name, in: parameters).flatMap { String(validating: $0, as: UTF8.self) }
    }

    /// Reads a packet whose length and major version have been checked.
    init(parsing bytes: [UInt8], version: ProtocolVersion) throws(StartupViolation) {
        let parameters = try Self.parameters(of: bytes[8...])
        guard let user = try Self.name("user", in: parameters) else { throw .missingUser }
        self.bytes = bytes
        self.version = version
        self.parameters = parameters
        self.user = user
        self.database = try Self.name("database", in: parameters)
    }

    /// Pairs of terminated strings, then one more zero byte, which must be the packet's last.
    private static func parameters(of body: ArraySlice<UInt8>) throws(StartupViolation) -> [Parameter] {
        var rest = body
        var parameters: [Parameter] = []
        while let name = rest.popCString() {
            if name.isEmpty {
                guard rest.isEmpty else { throw .missingTerminator }
                return parameters
            }
            guard let value = rest.popCString() else { throw .missingTerminator }
            parameters.append(Parameter(name: Array(name), value: Array(value)))
        }
        throw .missingTerminator
    }

    private static func name(
        _ parameter: String, in parameters: [Parameter]
    ) throws(StartupViolation) -> String? {
        guard let value = lastValue(of: parameter, in: parameters), !value.isEmpty else { return nil }
        guard let name = String(validating: value, as: UTF8.self) else {
            throw .notUTF8(parameter: parameter)
        }
        return name
    }

    private static func lastValue(of name: String, in parameters: [Parameter]) -> [UInt8]? {
        parameters.last { $0.name.elementsEqual(name.utf8) }?.value
    }
}
