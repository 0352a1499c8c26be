import Foundation

extension Chart {
    /// As SVG; colours come from the page's style. Empty where there is nothing to draw.
    var svg: String {
        switch self {
        case .bars(let title, let unit, let bars):
            bars.isEmpty ? "" : Self.drawing(of: bars, title: title, unit: unit)
        case .percentiles(let title, let unit, let curves):
            curves.allSatisfy(\.points.isEmpty) ? "" : Self.drawing(of: curves, title: title, unit: unit)
        }
    }

    private static let width = 480.0

    // MARK: Bars

    private static func drawing(of bars: [Bar], title: String, unit: String) -> String {
        let (step, top) = (24.0, 34.0)
        // Names are written before the bars; a letter of theirs is about 6.5 wide.
        let left = min(220, 16 + 6.5 * Double(bars.map(\.label.count).max() ?? 0))
        // Values are written behind the bars.
        let scale = (width - left - 70) / max(bars.map(\.value).max() ?? 1, .leastNormalMagnitude)
        let rows = bars.enumerated().map { index, bar in
            let y = top + Double(index) * step
            let length = max(1, bar.value * scale)
            return """
                <text x="\(left - 8)" y="\(y + 13)" text-anchor="end">\(escaped(bar.label))</text>
                <rect class="\(bar.peer.rawValue)" x="\(left)" y="\(y)" width="\(short(length))" height="17" rx="3"/>
                <text class="faint" x="\(short(left + length + 6))" y="\(y + 13)">\(figure(bar.value))</text>
                """
        }
        return frame(title: "\(title), \(unit)", height: top + Double(bars.count) * step + 6, rows)
    }

    // MARK: Percentiles

    /// To the right, each "nine" takes the same room; upwards, each factor of ten.
    private static func drawing(of curves: [Curve], title: String, unit: String) -> String {
        let (left, right, top, bottom) = (48.0, width - 14, 38.0, 230.0)
        let points = curves.flatMap(\.points)
        let most = nines(min(99.999, max(90, points.map(\.percentile).max() ?? 90)))
        let least = log10(max(1e-4, points.map(\.milliseconds).min() ?? 1))
        let height = max(0.3, log10(max(1e-4, points.map(\.milliseconds).max() ?? 1)) - least)
        func x(_ percentile: Double) -> Double { left + (right - left) * nines(percentile) / most }
        func y(_ milliseconds: Double) -> Double {
            bottom - (bottom - top) * (log10(max(1e-4, milliseconds)) - least) / height
        }
        let named = [50: "p50", 90: "p90", 99: "p99", 99.9: "p99.9", 99.99: "p99.99", 99.999: "p99.999"]
        let columns = named.filter { nines($0.key) <= most + 0.01 }.map { percentile, name in
            """
            <path class="grid" d="M\(short(x(percentile))) \(top)V\(bottom)"/>
            <text class="faint" x="\(short(x(percentile)))" y="\(bottom + 18)" text-anchor="middle">\(name)</text>
            """
        }
        let steps = ticks(from: least, height).map { value in
            """
            <path class="grid" d="M\(left) \(short(y(value)))H\(right)"/>
            <text class="faint" x="\(left - 6)" y="\(short(y(value) + 4))" text-anchor="end">\(figure(value))</text>
            """
        }
        let lines = curves.filter { !$0.points.isEmpty }.map { curve in
            let path = curve.points.map { "\(short(x($0.percentile))) \(short(y($0.milliseconds)))" }
            return #"<path class="curve \#(curve.peer.rawValue)" d="M\#(path.joined(separator: "L"))"/>"#
        }
        return frame(title: "\(title), \(unit)", height: bottom + 28, columns + steps + lines)
    }

    /// 50 % is 0, 90 % is 0.7, 99 % is 1.7.
    private static func nines(_ percentile: Double) -> Double {
        -log10(1 - min(percentile, 99.9999) / 100) - log10(2)
    }

    /// 1, 2 and 5 of each power of ten in the range; only the powers where it is wide.
    private static func ticks(from least: Double, _ height: Double) -> [Double] {
        let digits: [Double] = height > 2 ? [1] : [1, 2, 5]
        let exponents = Int(least.rounded(.down))...Int((least + height).rounded(.up))
        let range = (least - 0.001)...(least + height + 0.001)
        return exponents.flatMap { (exponent: Int) -> [Double] in
            let power = pow(10, Double(exponent))
            return digits.map { $0 * power }
        }.filter { range.contains(log10($0)) }
    }

    // MARK: Parts

    private static func frame(title: String, height: Double, _ parts: [String]) -> String {
        """
        <svg viewBox="0 0 \(short(width)) \(short(height))" role="img" aria-label="\(escaped(title))">
        <text class="title" x="0" y="14">\(escaped(title))</text>
        \(parts.joined(separator: "\n"))
        </svg>
        """
    }

    private static func short(_ coordinate: Double) -> String { fixed(coordinate, 1) }

    /// About three digits, without zeros at the end of a fraction.
    private static func figure(_ value: Double) -> String {
        if value >= 1_000 { return fixed(value, 0) }
        let digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 4
        let precision = NumberFormatStyleConfiguration.Precision.fractionLength(0...digits)
        return value.formatted(.number.precision(precision).locale(Locale(identifier: "en_US_POSIX")))
    }
}
