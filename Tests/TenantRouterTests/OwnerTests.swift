import TenantPool
import Testing

@testable import TenantRouter

@Suite struct OwnerTests {
    private static let roles = (0...UInt8.max).compactMap(Owner.Role.init(rawValue:))

    @Test func everyRoleSurvivesTheWordWithItsNumber() {
        #expect(!Self.roles.isEmpty)
        for role in Self.roles {
            for slot in [0, 1, 0x7fff_ffff, UInt32.max] {
                let owner = Owner(raw: Owner(role, slot: slot).raw)
                #expect(owner.role == role && owner.slot == slot && owner.number == UInt64(slot))
            }
            for number: UInt64 in [0, 1, 1 << 32, 1 << 56 - 1] {
                let owner = Owner(raw: Owner(role, InstanceID(number)).raw)
                #expect(owner.role == role && owner.instance == InstanceID(number))
            }
        }
    }

    @Test func noTwoOwnersShareAWord() {
        let words = Self.roles.flatMap { role in (0..<4).map { Owner(role, slot: $0).raw } }
        #expect(Set(words).count == words.count)
    }

    /// The reactor's doorbell reports to owner 0.
    @Test func noOwnerIsTheDoorbell() { #expect(Owner(raw: 0).role == .doorbell) }
}
