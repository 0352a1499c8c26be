import TenantPool
import WireProtocol

extension TenantName {
    /// The tenant that a startup packet means: its database, or else its user, as PostgreSQL does.
    ///
    /// A physical replication connection names no database (libpq says `replication`, which nobody means); it says
    /// `options=-c routerd.tenant=NAME`. PostgreSQL takes that for a setting of an extension it does not know, and
    /// keeps it.
    init(chosenBy packet: StartupPacket) throws(ErrorMessage) {
        let name: String
        if packet.isPhysicalReplication {
            guard let tenant = packet.option("routerd.tenant") else { throw .replicationWithoutTenant }
            name = tenant
        } else {
            name = packet.database ?? packet.user
        }
        do throws(TenantNameError) {
            try self.init(name)
        } catch {
            throw .badName(error)
        }
    }
}

extension StartupPacket {
    /// PostgreSQL manual, "Streaming Replication Protocol": `replication` is a boolean, or `database` for logical
    /// replication, which is a session with a database.
    var isPhysicalReplication: Bool {
        guard let value = self["replication"]?.lowercased(), !value.isEmpty else { return false }
        return value == "on" || value == "1" || "true".hasPrefix(value) || "yes".hasPrefix(value)
    }

    /// A setting given in `options`: `-c name=value`, `-cname=value` or `--name=value`, the last one wins.
    func option(_ name: String) -> String? {
        var found: String?
        var words = Self.words(of: self["options"] ?? "")[...]
        while let word = words.popFirst() {
            let setting: Substring? =
                if word == "-c" { words.popFirst()?[...] } else if word.hasPrefix("--") || word.hasPrefix("-c") {
                    word.dropFirst(2)
                } else { nil }
            guard let setting, setting.hasPrefix(name + "=") else { continue }
            found = String(setting.dropFirst(name.count + 1))
        }
        return found
    }

    /// Splits at blanks; a backslash takes the next character as it is (PostgreSQL's `pg_split_opts`).
    private static func words(of options: String) -> [String] {
        var words: [String] = []
        var word = ""
        var isEscaped = false
        for scalar in options.unicodeScalars {
            if isEscaped || !(scalar == "\\" || scalar.properties.isWhitespace) {
                word.unicodeScalars.append(scalar)
                isEscaped = false
            } else if scalar == "\\" {
                isEscaped = true
            } else if !word.isEmpty {
                words.append(word)
                word = ""
            }
        }
        return word.isEmpty ? words : words + [word]
    }
}
