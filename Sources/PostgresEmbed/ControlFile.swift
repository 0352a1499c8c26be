import Glibc
import Reactor

/// What `global/pg_control` tells of a cluster: its identity (the system identifier and the nonce of mock
/// authentication, which a copied cluster would share with every other copy) and the kind of build that made it.
///
/// ```
/// 0                8                      40                       crc−32           crc       crc+4 … 8192
/// | identifier u64 | version u32, state … | redo u64, timeline u32 … | nonce 32 bytes | CRC-32C | zeros
/// ```
/// The checksum covers all before it, and its place differs between major versions, so it is found, not assumed.
/// Source: PostgreSQL `src/include/catalog/pg_control.h`.
struct ControlFile {
    private var bytes: [UInt8]
    private let checksumOffset: Int

    /// Nil when no place holds the checksum of what is before it: not a control file, or a damaged one.
    init?(_ bytes: [UInt8]) {
        var checksum = CRC32C()
        var offset = 0
        // Everything fits in the 512 bytes that a disk writes as a whole.
        while offset + 4 <= min(bytes.count, 512) {
            if offset >= 128, checksum.value == Self.word(bytes, at: offset) {
                self.bytes = bytes
                self.checksumOffset = offset
                return
            }
            for index in offset..<offset + 4 { checksum.append(bytes[index]) }
            offset += 4
        }
        return nil
    }

    /// The file's content, always with a valid checksum.
    var content: [UInt8] { bytes }

    var systemIdentifier: UInt64 { Self.number(bytes, at: 0) }

    /// Whether the last postmaster stopped as it should: DB_SHUTDOWNED, or DB_SHUTDOWNED_IN_RECOVERY.
    var wasStoppedCleanly: Bool { [1, 2].contains(Self.word(bytes, at: 16)) }

    /// The name of the write-ahead log's segment that recovery would begin in; of a cluster that was stopped cleanly,
    /// its last. Source: PostgreSQL `src/include/access/xlog_internal.h`, XLogFileName.
    func currentSegment(bytes segmentSize: UInt64) -> String {
        let segment = Self.number(bytes, at: 40) / segmentSize
        let segmentsPerName = 0x1_0000_0000 / segmentSize
        let parts = [UInt64(Self.word(bytes, at: 48)), segment / segmentsPerName, segment % segmentsPerName]
        return parts.map { part in
            let digits = String(part, radix: 16, uppercase: true)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    /// Whether a 32-bit build made it: one that passes values of eight bytes by reference. Nil where the fields are not
    /// found in the place they have had since PostgreSQL 13; then PostgreSQL is the one to judge.
    ///
    /// ```
    /// −48                   −40       −8            −4                   nonce (18 and later: one more byte before it)
    /// | 1234567.0 as double | 8 sizes | by value u8 | page checksums u32 | 32 bytes
    /// ```
    /// Counted from the end, because a 32-bit build may align what is before it otherwise.
    var isOf32BitBuild: Bool? {
        let end = nonceOffset - (isPaddedBehindNonce ? 1 : 0)
        let floatFormat = Double(bitPattern: Self.number(bytes, at: end - 48))
        guard Self.word(bytes, at: 8) >= 1300, floatFormat == 1_234_567 else { return nil }
        return bytes[end - 8] == 0
    }

    /// Gives the cluster an identity of its own. `nonce` has 32 bytes.
    mutating func identify(systemIdentifier: UInt64, nonce: [UInt8]) {
        precondition(nonce.count == 32, "a nonce has 32 bytes")
        for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: systemIdentifier >> (8 * index)) }
        let nonceOffset = nonceOffset
        bytes.replaceSubrange(nonceOffset..<nonceOffset + 32, with: nonce)
        let checksum = CRC32C(of: bytes[..<checksumOffset]).value
        for index in 0..<4 { bytes[checksumOffset + index] = UInt8(truncatingIfNeeded: checksum >> (8 * index)) }
    }

    private var nonceOffset: Int { checksumOffset - (isPaddedBehindNonce ? 35 : 32) }

    /// From PostgreSQL 18 on (format 1800) a one-byte field stands before the nonce, and three of padding behind it.
    private var isPaddedBehindNonce: Bool { Self.word(bytes, at: 8) >= 1800 }

    private static func number(_ bytes: [UInt8], at offset: Int) -> UInt64 {
        UInt64(word(bytes, at: offset)) | UInt64(word(bytes, at: offset + 4)) << 32
    }

    private static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * $1) }
    }
}

/// CRC-32C (Castagnoli), reflected, as PostgreSQL computes it. Bit by bit: a few hundred bytes a cluster.
struct CRC32C {
    private var register: UInt32 = 0xffff_ffff

    init() {}
    init(of bytes: some Sequence<UInt8>) { for byte in bytes { append(byte) } }

    var value: UInt32 { register ^ 0xffff_ffff }

    mutating func append(_ byte: UInt8) {
        register ^= UInt32(byte)
        for _ in 0..<8 { register = register & 1 == 0 ? register >> 1 : register >> 1 ^ 0x82f6_3b78 }
    }
}

/// What distinguishes one clone from another.
struct ClusterIdentity {
    let systemIdentifier: UInt64
    let nonce: [UInt8]

    /// The identifier as PostgreSQL makes it, seconds above, with chance below instead of microseconds and a process
    /// id: many clones are made in one microsecond's neighbourhood by one process.
    init() {
        let chance = Random.bytes(4)
        let low = chance.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        self.systemIdentifier = UInt64(time(nil)) << 32 | low
        self.nonce = Random.bytes(32)
    }

    /// Writes it into a copied cluster that no postmaster has seen.
    func apply(to cluster: borrowing Descriptor, path: String) throws(EmbedError) {
        let global = try FileSystem.openDirectory("global", in: cluster)
        let file = try FileSystem.open("pg_control", in: global, O_RDWR | O_NOFOLLOW)
        guard var control = ControlFile(try FileSystem.read(file, path: "pg_control", limit: 8192)) else {
            throw .notACluster(path: path, reason: "global/pg_control has no valid checksum.")
        }
        control.identify(systemIdentifier: systemIdentifier, nonce: nonce)
        try overwrite(file, at: 0, with: control.content, path: "pg_control")
        try applyToWriteAheadLog(of: cluster)
    }

    /// The long page header that each segment begins with names the system at offset 24. Source: PostgreSQL
    /// `src/include/access/xlog_internal.h`, XLogLongPageHeaderData.
    private func applyToWriteAheadLog(of cluster: borrowing Descriptor) throws(EmbedError) {
        let directory = try FileSystem.openDirectory("pg_wal", in: cluster)
        let identifier = (0..<8).map { UInt8(truncatingIfNeeded: systemIdentifier >> (8 * $0)) }
        for name in try FileSystem.entries(of: directory, path: "pg_wal") where WriteAheadLog.isSegment(name) {
            let file = try FileSystem.open(name, in: directory, O_RDWR | O_NOFOLLOW)
            try overwrite(file, at: 24, with: identifier, path: name)
        }
    }

    private func overwrite(
        _ file: borrowing Descriptor, at offset: Int, with bytes: [UInt8], path: String
    ) throws(EmbedError) {
        guard Glibc.lseek(file.number, off_t(offset), SEEK_SET) == off_t(offset) else {
            throw .fileSystem(operation: "write", path: path, .last)
        }
        try FileSystem.write(bytes, to: file, path: path)
    }
}

/// Names in `pg_wal`.
enum WriteAheadLog {
    /// 24 upper-case hexadecimal digits: timeline, and the segment's number in two parts.
    static func isSegment(_ name: String) -> Bool {
        name.utf8.count == 24 && name.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x46).contains($0) }
    }
}
