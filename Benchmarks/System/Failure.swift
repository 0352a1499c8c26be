/// Why a benchmark ended without a result.
enum Failure: Error, CustomStringConvertible {
    /// A program that is needed is not installed; `remedy` is what to run.
    case missing(String, remedy: String)
    /// A program ended, or never got ready; `output` is what it said last.
    case program(String, output: String)
    /// The system refused a file or a directory.
    case system(String)
    /// A program's output is not understood.
    case unreadable(String, output: String)
    /// A server answered with an error, or closed the connection.
    case refused(String)
    /// Ctrl-C, or a termination signal.
    case interrupted

    var description: String {
        switch self {
        case .missing(let what, let remedy): "\(what) is not installed. Install it:\n  \(remedy)"
        case .program(let what, let output): "\(what)\n\(output)"
        case .system(let what): what
        case .unreadable(let what, let output): "\(what) not understood:\n\(output)"
        case .refused(let answer): "Refused: \(answer)"
        case .interrupted: "interrupted"
        }
    }
}
