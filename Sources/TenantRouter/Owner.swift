import TenantPool

/// Who a completion is for: the reactor carries it as one word and never looks into it.
///
///     63      56 55                                   0
///     ┌─────────┬────────────────────────────────────┐
///     │  role   │ session slot or instance number    │
///     └─────────┴────────────────────────────────────┘
///
/// A slot alone is enough for a session, because it is reaped after its last completion and not before.
struct Owner: BitwiseCopyable {
    enum Role: UInt8 {
        /// The doorbell's completions carry no owner.
        case doorbell
        case listener, acceptPause, signals, poolDeadline, housekeeping, closing
        case frontend, backend, sessionDeadline
        case process, readiness, instanceDeadline
        case administration, administrationDeadline
        case query, queryDeadline
        case httpListener, http, httpDeadline
        /// The same as without, and somebody reads along.
        case inspectedFrontend, inspectedBackend
        case keptBackend, keptBackendDeadline
    }

    let raw: UInt64

    init(raw: UInt64) { self.raw = raw }

    init(_ role: Role, _ number: UInt64 = 0) { raw = UInt64(role.rawValue) << 56 | number }

    init(_ role: Role, slot: UInt32) { self.init(role, UInt64(slot)) }

    init(_ role: Role, _ instance: InstanceID) { self.init(role, instance.raw) }

    var role: Role {
        guard let role = Role(rawValue: UInt8(truncatingIfNeeded: raw >> 56)) else {
            preconditionFailure("a completion for an owner that never was")
        }
        return role
    }

    var number: UInt64 { raw & (1 << 56 - 1) }
    var slot: UInt32 { UInt32(truncatingIfNeeded: raw) }
    var instance: InstanceID { InstanceID(number) }
}
