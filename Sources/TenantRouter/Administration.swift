import PostgresEmbed
import Reactor
import TenantPool
import WireProtocol

/// A statement of the router's own that an instance is to run.
struct Statement {
    enum Purpose {
        /// The tenant's database gets its name, and its first roles.
        case naming
        /// A spare's first connection to this database. Done when its backend has gone: a claim renames what it was
        /// connected to.
        case warming(String)
        /// Whether something but clients is at work in it.
        case occupancy
        /// The role that these sessions connect as is created.
        case role(String, sessions: [SessionID])
    }

    var purpose: Purpose
    let text: String

    /// What it is run in.
    var database: String {
        switch purpose {
        case .warming(let database): database
        case .naming, .occupancy, .role: RouterSQL.adminDatabase
        }
    }
}

/// The connection that runs a statement: opened for it, as the reserved role, and closed after it.
struct Administration {
    let statement: Statement
    var exchange: AdminExchange
    let connection: Token
    let deadline: Token
}
