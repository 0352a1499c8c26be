/// A set of measurements of one thing, reduced.
struct Statistics: Codable {
    let median: Double
    /// Half the distance between the least and the greatest, as a part of the median.
    let spread: Double

    /// `values` has at least one element.
    init(_ values: [Double]) {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        median = sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
        spread = median == 0 ? 0 : (sorted[sorted.count - 1] - sorted[0]) / 2 / median
    }
}
