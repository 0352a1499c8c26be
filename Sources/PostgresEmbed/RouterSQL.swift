/// What a tenant's roles may do.
public enum TenantPrivileges: Sendable, Equatable {
    /// Superusers of an instance that the kernel confines.
    case superuser
    /// Owners of their database, who may create databases and roles, not superusers.
    case owner
    /// Owners who may not create roles: before PostgreSQL 16, CREATEROLE can grant itself the right to run programs.
    case ownerWithoutRoles
}

/// The router's own statements. Names are quoted, everything is fully qualified; sent as simple queries.
public enum RouterSQL {
    /// The reserved role that the router connects as: the bootstrap superuser of every cluster.
    public static let role = "routerd"
    /// The database that the router connects to: nobody renames it, and a claim must not be connected to what it renames.
    public static let adminDatabase = "template1"
    /// The database of a fresh cluster that becomes the tenant's.
    public static let claimableDatabase = "postgres"

    /// One string for one round trip: gives the database its name and creates the roles. May be repeated.
    public static func claim(_ claim: Claim, roles: [String], privileges: TenantPrivileges) -> String {
        fatalError("written next")
    }
    /// One row with one column, `t` or `f`.
    public static func roleExists(_ name: String) -> String { fatalError("written next") }
    /// Creates the role unless it is there; two sessions may run it at once.
    public static func createRole(_ name: String, privileges: TenantPrivileges) -> String { fatalError("written next") }
}
