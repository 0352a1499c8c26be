// The protocol's bytes spelled out by hand: what a test expects must not come from the code that it tests.

package func bigEndian(_ word: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * $0)) } }

package func header(_ tag: Unicode.Scalar, _ length: UInt32) -> [UInt8] { [UInt8(ascii: tag)] + bigEndian(length) }

package func frame(_ tag: Unicode.Scalar, _ body: [UInt8] = []) -> [UInt8] {
    header(tag, UInt32(body.count + 4)) + body
}

/// The bytes one at a time.
package func eachByte(_ bytes: [UInt8]) -> [[UInt8]] { bytes.map { [$0] } }
