import Reactor
import TenantPool
import WireProtocol

/// A statement of the router's own that an instance is to run.
struct Statement {
    enum Purpose {
        /// The tenant's database gets its name, and its first roles.
        case claim
        /// The role that these sessions connect as is created.
        case role(String, sessions: [Token])
    }

    var purpose: Purpose
    let text: String
}

/// The connection that runs a statement: opened for it, as the reserved role, and closed after it.
struct Administration {
    let statement: Statement
    var exchange: AdminExchange
    let connection: Token
    let deadline: Token
}
