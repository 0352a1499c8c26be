import Foundation

/// How figures are written: the same everywhere, and empty where there is none.
func fixed(_ value: Double?, _ digits: Int) -> String {
    guard let value else { return "" }
    return value.formatted(.number.precision(.fractionLength(digits)).locale(Locale(identifier: "en_US_POSIX")))
}

func percent(_ part: Double?) -> String {
    guard let part else { return "" }
    return fixed(part * 100, 1) + "%"
}

func megabytes(_ bytes: Double?) -> String { fixed(bytes.map { $0 / Double(1 << 20) }, 1) }
