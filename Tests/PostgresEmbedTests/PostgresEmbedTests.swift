import Testing

@testable import PostgresEmbed
