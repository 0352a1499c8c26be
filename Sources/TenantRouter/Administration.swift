import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

/// A statement of the router's own that an instance is to run.
struct Statement {
    enum Purpose {
        /// The tenant's database gets its name, and its first roles.
        case naming
        /// A spare's first connection to the database that a claim renames. Done when its backend has gone.
        case warming
        /// What a claim will do, done and undone, on the connection that the claim will use.
        case rehearsal
        /// Whether something but clients is at work in it.
        case occupancy
        /// The role that these sessions connect as is created.
        case role(String, sessions: [SessionID])
    }

    var purpose: Purpose
    let text: String
    /// What is run in its place when the instance has not executed it.
    var otherwise: String?

    /// What it is run in.
    var database: String {
        switch purpose {
        case .warming: RouterSQL.claimableDatabase
        case .rehearsal, .naming, .occupancy, .role: RouterSQL.adminDatabase
        }
    }

    /// What becomes of its connection.
    var future: AdminExchange.Future {
        switch purpose {
        case .rehearsal: .stays
        case .warming, .naming, .occupancy, .role: .ends
        }
    }
}

/// The connection that runs a statement: opened for it, as the reserved role, and closed after it, but for a spare's,
/// which stays open for the claim.
struct Administration {
    var exchange: AdminExchange
    let connection: Token
    let database: String
    var work: Work

    enum Work {
        case statement(Statement, deadline: Token)
        case none
    }
}
