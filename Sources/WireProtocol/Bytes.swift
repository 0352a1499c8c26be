// Network byte order, both ways, for the cold paths; the frame decoder loads its words itself.

extension ArraySlice<UInt8> {
    /// The 32-bit word whose first byte is at `index`; the caller has checked that four bytes are there.
    func bigEndianWord(at index: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 << 8 | UInt32(self[index + $1]) }
    }

    /// The bytes up to the next zero byte, which is consumed too; nil, and nothing consumed, where there is none.
    mutating func popCString() -> ArraySlice<UInt8>? {
        guard let end = firstIndex(of: 0) else { return nil }
        defer { self = self[(end + 1)...] }
        return self[..<end]
    }
}

extension Array<UInt8> {
    mutating func appendBigEndian<Word: FixedWidthInteger>(_ word: Word) {
        for shift in stride(from: Word.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: word >> Word(shift)))
        }
    }

    /// Appends a zero-terminated string. Zero bytes inside are left out: they would end the field early and turn the
    /// rest of it into fields of the sender's choosing.
    mutating func appendCString(_ string: String) {
        append(contentsOf: string.utf8.lazy.filter { $0 != 0 })
        append(0)
    }

    mutating func append(_ bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { unsafe append(contentsOf: $0) }
    }

    /// One frame: tag, length and the body that `fill` appends.
    static func frame(_ tag: UInt8, _ fill: (inout [UInt8]) -> Void = { _ in }) -> [UInt8] {
        [tag] + lengthPrefixed(fill)
    }

    /// A frame without a tag, as all first packets are.
    static func lengthPrefixed(_ fill: (inout [UInt8]) -> Void) -> [UInt8] {
        var bytes: [UInt8] = [0, 0, 0, 0]
        fill(&bytes)
        let length = UInt32(bytes.count)
        for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: length >> (8 * (3 - UInt32(index)))) }
        return bytes
    }
}
