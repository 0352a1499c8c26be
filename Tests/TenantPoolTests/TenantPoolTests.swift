import Testing

@testable import TenantPool
