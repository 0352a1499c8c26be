import TestSupport
import Testing

@testable import WireProtocol

/// The effect of a CommandComplete as the relay meets it: somewhere in a chunk, with something behind it.
private func effect(of tag: String, before: Int = 0, behind: [UInt8] = frame("Z", [0x49])) -> CommandEffect? {
    let bytes = frame("D", .init(repeating: 7, count: before)) + command(tag) + behind
    return effect(in: bytes)
}

private func command(_ tag: String) -> [UInt8] { frame("C", Array(tag.utf8) + [0]) }

/// The effect of the first CommandComplete in a chunk.
private func effect(in bytes: [UInt8]) -> CommandEffect? {
    var (decoder, offset) = (FrameDecoder(.backend), 0)
    let span = unsafe bytes.span.bytes
    while case .frame(let header) = decoder.next(in: span, at: &offset) {
        if header.tag == Backend.Tag.commandComplete { return CommandEffect(of: header, in: span) }
    }
    return nil
}

@Suite struct CommandEffectTests {
    @Test(arguments: [
        "SELECT 1", "SELECT 1000000", "INSERT 0 1", "UPDATE 0", "DELETE 17", "MERGE 2", "BEGIN", "START TRANSACTION",
        "COMMIT", "ROLLBACK", "ROLLBACK PREPARED", "SAVEPOINT", "RELEASE", "SET", "SET CONSTRAINTS",
        "RESET", "SHOW", "FETCH 5", "MOVE 0", "COPY 3", "PREPARE", "PREPARE TRANSACTION", "DEALLOCATE",
        "DEALLOCATE ALL", "DECLARE CURSOR", "CLOSE CURSOR", "CLOSE CURSOR ALL", "LISTEN", "UNLISTEN", "NOTIFY",
        "DISCARD ALL", "DISCARD TEMP", "EXPLAIN", "LOCK TABLE", "TRUNCATE TABLE", "ANALYZE", "VACUUM", "CHECKPOINT",
        "CREATE TABLE", "CREATE TABLE AS", "ALTER TABLE", "DROP TABLE", "CREATE INDEX", "DROP VIEW", "CREATE SCHEMA",
        "REFRESH MATERIALIZED VIEW",
    ]) func whatDiscardAllUndoes(tag: String) { #expect(effect(of: tag) == .passing) }

    @Test(arguments: [
        "LOAD", "CREATE EXTENSION", "ALTER EXTENSION", "CREATE ROLE", "CREATE TABLESPACE", "DROP TABLESPACE",
        "CREATE FUNCTION", "CREATE LANGUAGE", "CREATE SERVER", "CREATE USER MAPPING", "IMPORT FOREIGN SCHEMA",
        "CREATE SUBSCRIPTION", "ALTER DEFAULT PRIVILEGES", "CREATE DATABASE", "SELECTED", "BEGINNING", "SETTLE", "",
        "CREATE", "NOBODY KNOWS IT",
    ]) func whatMayStay(tag: String) { #expect(effect(of: tag) == .lasting) }

    @Test(arguments: [
        "ALTER ROLE", "DROP ROLE", "ALTER DATABASE", "ALTER DATABASE SET", "ALTER SYSTEM", "GRANT", "GRANT ROLE",
        "REVOKE", "REVOKE ROLE", "DO", "CALL", "SECURITY LABEL", "DROP OWNED", "CREATE EVENT TRIGGER",
        "COMMIT PREPARED",
    ]) func whatOthersFeel(tag: String) { #expect(effect(of: tag) == .shared) }

    /// Nothing behind it: the word that would be loaded ends outside the chunk.
    @Test(arguments: ["BEGIN", "COMMIT", "SET", "SELECT 1"]) func atTheEndOfAChunk(tag: String) {
        #expect(effect(of: tag, behind: []) == .passing)
        #expect(effect(of: tag, before: 100, behind: []) == .passing)
    }

    /// What a chunk's end cuts off could have been anything, unless a whole word is there.
    @Test func cutTags() {
        let whole = command("SELECT 1")
        for count in 5..<whole.count - 1 {
            #expect(effect(in: Array(whole[..<count])) == .shared, "after \(count) bytes")
        }
    }

    /// The header came with the chunk before: its tag does not.
    @Test func straddlingHeaders() {
        let whole = command("GRANT")
        for cut in 1..<5 {
            var decoder = FrameDecoder(.backend)
            for part in [Array(whole[..<cut]), Array(whole[cut...])] {
                var offset = 0
                let span = unsafe part.span.bytes
                while case .frame(let header) = decoder.next(in: span, at: &offset) {
                    #expect(CommandEffect(of: header, in: span) == .shared)
                }
            }
        }
    }
}
