import Testing

@testable import TenantRouter
