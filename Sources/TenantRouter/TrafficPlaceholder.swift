struct Traffic: BitwiseCopyable, Sendable, Equatable {
    var sessions: UInt64 = 0
    var bytesFromFrontends: UInt64 = 0
    var bytesFromBackends: UInt64 = 0
    var messagesFromFrontends: UInt64 = 0
    var messagesFromBackends: UInt64 = 0
    var queries: UInt64 = 0
    var transactions: UInt64 = 0
    var queryTime: UInt64 = 0
    var transactionTime: UInt64 = 0
    var waitTime: UInt64 = 0
}
extension Router {
    var traffic: Traffic { Traffic() }
    var trafficByDatabase: [String: Traffic] { [:] }
}
struct Meter { var traffic = Traffic() }
extension Session { var meter: Meter { Meter() } }
