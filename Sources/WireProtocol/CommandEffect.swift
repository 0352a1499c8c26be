/// What a command leaves behind in the backend that ran it, told by its tag: whether `DISCARD ALL` undoes it.
///
/// A tag that is not known to be harmless counts as lasting. What a function does is not told by any tag.
/// Source: PostgreSQL manual, "DISCARD"; "Message Formats", CommandComplete; `src/include/tcop/cmdtaglist.h`.
public enum CommandEffect: BitwiseCopyable, Sendable {
    /// Nothing that `DISCARD ALL` leaves.
    case passing
    /// Something may stay in this backend: a library, a language's variables.
    case lasting
    /// It may change what every backend was given when it began: rights, roles, settings of roles and databases.
    case shared
}

extension CommandEffect {
    /// Of a CommandComplete; a body that the chunk cuts says nothing, and may be anything.
    ///
    /// Four commands and the frame of a transaction are nearly all there is: they are told by one word.
    @inlinable
    public init(of header: FrameHeader, in bytes: RawSpan) {
        let start = header.bodyStart
        guard start >= 0, start &+ 8 <= bytes.byteCount, header.bodyLength >= 6 else {
            self.init(rareTagOf: header, in: bytes)
            return
        }
        let word = unsafe UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: start, as: UInt64.self))
        switch word & 0xffff_ffff_ffff_ff00 {
        // "SELECT ", "INSERT ", "UPDATE ", "DELETE ", "COMMIT\0"
        case 0x5345_4c45_4354_2000, 0x494e_5345_5254_2000, 0x5550_4441_5445_2000, 0x4445_4c45_5445_2000,
            0x434f_4d4d_4954_0000:
            self = .passing
        // "BEGIN\0", whatever follows it
        case let other where other & 0xffff_ffff_ffff_0000 == 0x4245_4749_4e00_0000: self = .passing
        default: self.init(rareTagOf: header, in: bytes)
        }
    }

    @usableFromInline
    init(rareTagOf header: FrameHeader, in bytes: RawSpan) {
        guard header.bodyStart >= 0, header.bodyEnds(in: bytes.byteCount) else {
            self = .shared
            return
        }
        self = unsafe bytes.withUnsafeBytes { all in
            let tag = unsafe CommandTag(UnsafeRawBufferPointer(rebasing: all[header.bodyRange(in: all.count)]))
            return if tag.isPassing { .passing } else if tag.isShared { .shared } else { .lasting }
        }
    }
}

/// A tag where it stands, with its terminator, for as long as its bytes are lent.
@safe
private struct CommandTag {
    private let bytes: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { unsafe self.bytes = bytes }

    /// Words with a count or a second word behind them, or whole ones with their terminator.
    var isPassing: Bool {
        begins("SELECT ") || begins("INSERT ") || begins("UPDATE ") || begins("DELETE ") || begins("MERGE ")
            || begins("BEGIN\0") || begins("START TRANSACTION\0") || begins("COMMIT\0") || begins("ROLLBACK")
            || begins("SAVEPOINT\0") || begins("RELEASE\0") || begins("SET\0") || begins("SET CONSTRAINTS\0")
            || begins("RESET\0") || begins("SHOW\0") || begins("FETCH ") || begins("MOVE ") || begins("COPY ")
            || begins("PREPARE") || begins("DEALLOCATE") || begins("DECLARE CURSOR\0") || begins("CLOSE CURSOR")
            || begins("LISTEN\0") || begins("UNLISTEN\0") || begins("NOTIFY\0") || begins("DISCARD ")
            || begins("EXPLAIN\0") || begins("LOCK TABLE\0") || begins("TRUNCATE TABLE\0") || begins("ANALYZE\0")
            || begins("VACUUM\0") || begins("REFRESH MATERIALIZED VIEW\0") || begins("COMMENT\0")
            || begins("REINDEX\0") || begins("CLUSTER\0") || begins("CHECKPOINT\0") || isDefinition
    }

    /// `CREATE`, `ALTER` and `DROP` of what lives in the catalogs alone.
    private var isDefinition: Bool {
        isDefinition(behind: "CREATE ") || isDefinition(behind: "ALTER ") || isDefinition(behind: "DROP ")
    }

    private func isDefinition(behind verb: StaticString) -> Bool {
        guard begins(verb) else { return false }
        let object = unsafe CommandTag(UnsafeRawBufferPointer(rebasing: bytes[verb.utf8CodeUnitCount...]))
        return object.begins("TABLE\0") || object.begins("TABLE AS\0") || object.begins("INDEX\0")
            || object.begins("VIEW\0") || object.begins("MATERIALIZED VIEW\0") || object.begins("SEQUENCE\0")
            || object.begins("SCHEMA\0") || object.begins("TYPE\0") || object.begins("DOMAIN\0")
            || object.begins("TRIGGER\0") || object.begins("POLICY\0")
    }

    /// What a block or a procedure does is not told: it may be any of the others.
    var isShared: Bool {
        begins("ALTER ROLE") || begins("DROP ROLE") || begins("ALTER DATABASE") || begins("DROP DATABASE")
            || begins("ALTER SYSTEM") || begins("GRANT") || begins("REVOKE") || begins("REASSIGN OWNED")
            || begins("COMMIT PREPARED") || begins("DROP OWNED") || begins("SECURITY LABEL")
            || begins("CREATE EVENT TRIGGER")
            || begins("ALTER EVENT TRIGGER") || begins("DO\0") || begins("CALL\0")
    }

    private func begins(_ word: StaticString) -> Bool {
        guard unsafe word.utf8CodeUnitCount <= bytes.count else { return false }
        for index in 0..<word.utf8CodeUnitCount {
            if unsafe bytes[index] != (unsafe word.utf8Start[index]) { return false }
        }
        return true
    }
}
