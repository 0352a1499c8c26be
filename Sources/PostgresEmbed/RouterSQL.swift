/// What a tenant's roles may do.
public enum TenantPrivileges: Sendable, Equatable {
    /// Superusers of an instance that the kernel confines.
    case superuser
    /// Owners of their database, who may create databases and roles, not superusers.
    case owner
    /// Owners who may not create roles: before PostgreSQL 16, CREATEROLE can grant itself the right to run programs
    /// (`pg_execute_server_program`) as the server's user.
    case ownerWithoutRoles
}

/// The router's own statements. Names are quoted, everything is fully qualified; sent as simple queries.
public enum RouterSQL {
    /// The reserved role that the router connects as: the bootstrap superuser of every cluster.
    public static let role = "routerd"
    /// The database that the router connects to: nobody renames it, and a claim must not be connected to what it
    /// renames.
    public static let adminDatabase = "template1"
    /// The database of a fresh cluster that becomes the tenant's.
    public static let claimableDatabase = "postgres"
    /// The role that owns a tenant's database where the tenant's roles are not superusers.
    public static let ownerRole = "routerd_owner"

    /// One string for one round trip: gives the database its name and creates the roles. May be repeated, whatever part
    /// of it was done before: a claim that a power cut interrupted is run again.
    public static func claim(_ claim: Claim, roles: [String], privileges: TenantPrivileges) -> String {
        self.claim(claim, roles: roles, privileges: privileges, .unknown)
    }

    /// The same for a cluster of which nobody has claimed anything yet, and nothing at all where that is not so: plain
    /// statements, without the 3 ms that PL/pgSQL takes to load.
    public static func firstClaim(_ claim: Claim, roles: [String], privileges: TenantPrivileges) -> String {
        self.claim(claim, roles: roles, privileges: privileges, .none)
    }

    /// A claim that is taken back: it leaves nothing but the caches of the backend that has run it.
    public static func rehearsal(privileges: TenantPrivileges) -> String {
        let name = "routerd_rehearsal"
        let claim = Claim(ofSpareFor: name, directoryName: name)
        return "BEGIN;\n\(firstClaim(claim, roles: [name], privileges: privileges));\nROLLBACK"
    }

    /// What is known of earlier attempts at a claim.
    private enum History { case none, unknown }

    private static func claim(
        _ claim: Claim, roles: [String], privileges: TenantPrivileges, _ history: History
    ) -> String {
        var statements: [String] = []
        if claim.databaseName != claim.oldName && claim.databaseName != adminDatabase {
            // The claim's journal goes when this is answered, so it must be on the disk then, whatever the settings say
            // of commits; a standby that the tenant may wait for is another matter.
            statements.append("SET synchronous_commit TO local")
            statements.append(rename(claim.oldName, to: claim.databaseName, history))
        }
        switch privileges {
        case .superuser: break
        case .owner, .ownerWithoutRoles:
            statements.append(creation(of: ownerRole, "CREATE ROLE \(identifier(ownerRole)) NOLOGIN", history))
            statements.append(
                "ALTER DATABASE \(identifier(claim.databaseName)) OWNER TO \(identifier(ownerRole))")
        }
        statements += roles.filter { !isReserved($0) }.map { createRole($0, privileges: privileges, history) }
        return statements.isEmpty ? "SELECT 1" : statements.joined(separator: ";\n")
    }

    /// A spare's first statement. That there was a connection is what counts: it builds the relation cache's files.
    public static let warming = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles"

    /// One row with one column, `t` or `f`: whether anything but clients is at work in the instance, or waits for work
    /// from outside. What belongs to every idle instance is listed, so that whatever an extension brings counts.
    /// Source: PostgreSQL manual, section 28.2.3, `backend_type`.
    public static let isOccupied = """
        SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity
            WHERE backend_type OPERATOR(pg_catalog.<>) ALL (ARRAY[
              'client backend', 'checkpointer', 'background writer', 'walwriter', 'archiver', 'startup',
              'autovacuum launcher', 'logical replication launcher', 'stats collector', 'walsummarizer',
              'io worker', 'slotsync worker']::pg_catalog.text[]))
          OR EXISTS (SELECT FROM pg_catalog.pg_subscription WHERE subenabled)
        """

    /// Creates the role unless it is there. Two sessions may run it at once: the loser finds the role made (42710, or
    /// 23505 of the catalog's index) and is content.
    public static func createRole(_ name: String, privileges: TenantPrivileges) -> String {
        createRole(name, privileges: privileges, .unknown)
    }

    private static func createRole(_ name: String, privileges: TenantPrivileges, _ history: History) -> String {
        let role = identifier(name)
        let statement =
            switch privileges {
            case .superuser: "CREATE ROLE \(role) LOGIN SUPERUSER"
            case .owner: "CREATE ROLE \(role) LOGIN CREATEDB CREATEROLE IN ROLE \(identifier(ownerRole))"
            case .ownerWithoutRoles: "CREATE ROLE \(role) LOGIN CREATEDB IN ROLE \(identifier(ownerRole))"
            }
        return creation(of: name, statement, history)
    }

    /// Names that no client can have created as a role: the router's own, and those that PostgreSQL keeps (42939).
    public static func isReserved(_ name: String) -> Bool {
        name == role || name == ownerRole || name.hasPrefix("pg_") || name == "public" || name == "none"
    }

    // MARK: Parts

    /// Renames unless it is done, and takes away the comment that says "default administrative connection database".
    private static func rename(_ old: String, to new: String, _ history: History) -> String {
        let statements = [
            "ALTER DATABASE \(identifier(old)) RENAME TO \(identifier(new))",
            "COMMENT ON DATABASE \(identifier(new)) IS NULL",
        ]
        switch history {
        case .none: return statements.joined(separator: ";\n")
        case .unknown: break
        }
        let isThere = { (name: String) in
            "EXISTS (SELECT FROM pg_catalog.pg_database"
                + " WHERE datname OPERATOR(pg_catalog.=) \(literal(name))::pg_catalog.name)"
        }
        let body = """
            BEGIN
              IF \(isThere(old)) AND NOT \(isThere(new)) THEN
                \(statements.map { $0 + ";" }.joined(separator: " "))
              END IF;
            END
            """
        return "DO \(literal(body)) LANGUAGE plpgsql"
    }

    /// Runs a CREATE ROLE, unless the role may be there and is.
    private static func creation(of name: String, _ statement: String, _ history: History) -> String {
        switch history {
        case .none: return statement
        case .unknown: break
        }
        let body = """
            BEGIN
              IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles
                WHERE rolname OPERATOR(pg_catalog.=) \(literal(name))::pg_catalog.name) THEN
                \(statement);
              END IF;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END
            """
        return "DO \(literal(body)) LANGUAGE plpgsql"
    }

    /// A quoted identifier. Source: PostgreSQL manual, section 4.1.1.
    static func identifier(_ name: String) -> String { quoted(name, by: "\"") }

    /// A string constant that reads the same whatever `standard_conforming_strings` says. Source: section 4.1.2.2.
    static func literal(_ text: String) -> String {
        guard text.unicodeScalars.contains("\\") else { return quoted(text, by: "'") }
        var escaped = " E'"
        for scalar in text.unicodeScalars {
            if scalar == "'" || scalar == "\\" { escaped.unicodeScalars.append(scalar) }
            escaped.unicodeScalars.append(scalar)
        }
        return escaped + "'"
    }

    /// By scalars: a combining mark behind a quote makes another *character* of it, and the quote must still be
    /// doubled.
    private static func quoted(_ text: String, by quote: Unicode.Scalar) -> String {
        var result = String(quote)
        for scalar in text.unicodeScalars {
            if scalar == quote { result.unicodeScalars.append(quote) }
            result.unicodeScalars.append(scalar)
        }
        result.unicodeScalars.append(quote)
        return result
    }
}
