import PostgresEmbed
import Reactor
import TenantPool
import TestSupport
import Testing
import WireProtocol

@testable import TenantRouter

/// What clients read in place of a session: the code that drivers look at, what happened, which limit, and what to do.
@Suite struct RefusalsTests {
    private static let tenant = (try? TenantName("shop"))!
    private static let limits: PoolLimits = {
        var limits = PoolLimits()
        limits.maxInstances = 71
        limits.maxConnections = 41
        limits.maxWaitersPerTenant = 4_001
        limits.maxBooting = 9
        limits.queueTimeout = .milliseconds(30_500)
        return limits
    }()

    /// One error: its code, and words that its parts must hold.
    struct Expectation {
        let error: ErrorMessage
        let state: String
        var message: [String] = []
        var detail: [String] = []
        var hint: [String] = []
    }

    private static let all: [Expectation] = [
        Expectation(
            error: .tooManyClients(limit: 250), state: "53300", message: ["too many clients"], detail: ["250"],
            hint: ["--max-clients", "ulimit -n"]),
        Expectation(error: .badName(.empty), state: "22023", hint: ["1 to 63 bytes"]),
        Expectation(error: .badName(.tooLong(byteCount: 64)), state: "22023", message: ["64", "63"], hint: ["63"]),
        Expectation(error: .badName(.containsZero), state: "22023", hint: ["UTF-8"]),
        Expectation(error: .badName(.notUTF8), state: "22023", message: ["UTF-8"], hint: ["UTF-8"]),
        Expectation(
            error: .badName(.notConnectable("template0")), state: "55000",
            message: ["database \"template0\" is not currently accepting connections"]),
        Expectation(
            error: .badName(.reserved("pgbouncer")), state: "42939", message: ["pgbouncer", "reserved"],
            hint: ["another"]),
        Expectation(
            error: .replicationWithoutTenant, state: "08P01", message: ["physical replication"], detail: ["tenant"],
            hint: ["options=-c routerd.tenant=NAME"]),
        Expectation(
            error: .reservedRole("routerd"), state: "28000", message: ["role \"routerd\" is reserved"],
            detail: ["router's own"], hint: ["any other user"]),
        Expectation(
            error: refusal(.doesNotExist), state: "3D000", message: ["database \"shop\" does not exist"],
            hint: ["--auto-provision"]),
        Expectation(
            error: refusal(.queueTimeout(.instances)), state: "53300", message: ["too many databases"],
            detail: ["71", "31 s"], hint: ["--max-instances", "--queue-timeout"]),
        Expectation(
            error: refusal(.queueTimeout(.connections)), state: "53300", message: ["too many clients"],
            detail: ["41", "31 s"], hint: ["--max-connections", "--queue-timeout"]),
        Expectation(
            error: refusal(.queueTimeout(.starts)), state: "53300", message: ["being started"], detail: ["9", "31 s"],
            hint: ["--queue-timeout"]),
        Expectation(
            error: refusal(.queueTimeout(.startup)), state: "57P03", message: ["the database system is starting up"],
            detail: ["31 s"], hint: ["log"]),
        Expectation(
            error: refusal(.queueFull), state: "53300", message: ["shop"], detail: ["4001"], hint: ["--max-connections"]
        ),
        Expectation(
            error: refusal(.startFailed(.exit, retryAt: .seconds(1))), state: "57P03",
            message: ["shop", "cannot be started"], hint: ["log"]),
        Expectation(
            error: refusal(.shuttingDown), state: "57P03", message: ["shutting down"], detail: ["routerd"],
            hint: ["again"]),
        Expectation(
            error: .notAnswering(after: .seconds(15)), state: "57P03", message: ["does not answer"], detail: ["15 s"],
            hint: ["log"]),
        Expectation(
            error: .bootFailed(
                tenant.string, lastLine: "could not map shared memory", log: "/var/log/shop.log", baseDirectory: "/srv/my data"
            ),
            state: "57P03", message: ["shop"], detail: ["could not map shared memory"], hint: ["/var/log/shop.log"]),
        Expectation(
            error: .instanceStopped("shop"), state: "57P01", message: ["terminating connection", "shop"],
            hint: ["Connect again"]),
        Expectation(
            error: .backendViolation("its framing is broken"), state: "XX000", detail: ["its framing is broken."],
            hint: ["log"]),
        Expectation(
            error: .outOfDescriptors("socket: Too many open files"), state: "53300", detail: ["Too many open files."],
            hint: ["ulimit -n", "--max-clients"]),
    ]

    private static func refusal(_ refusal: PoolRefusal, failure: ErrorMessage? = nil) -> ErrorMessage {
        .refusal(refusal, tenant: tenant, limits: limits, failure: failure)
    }

    @Test(arguments: all.indices) func everyErrorSaysWhatHappenedAndWhatToDo(_ index: Int) {
        let expectation = Self.all[index]
        let error = expectation.error
        #expect(error.severity == .fatal)
        #expect(error.sqlState.description == expectation.state)
        for word in expectation.message { #expect(error.message.contains(word), "\(error.message)") }
        for word in expectation.detail { #expect(error.detail?.contains(word) == true, "\(error)") }
        for word in expectation.hint { #expect(error.hint?.contains(word) == true, "\(error)") }
        #expect((error.detail == nil) == expectation.detail.isEmpty)
        #expect((error.hint == nil) == expectation.hint.isEmpty)
    }

    /// As PostgreSQL's style guide has it: messages are no sentences, details and hints are.
    @Test(arguments: all.indices) func everyErrorReadsLikePostgreSQLs(_ index: Int) throws {
        let error = Self.all[index].error
        #expect(!error.message.hasSuffix(".") && error.message.first?.isLowercase == true)
        #expect(!error.message.contains("\n"))
        if let hint = error.hint { #expect(hint.first?.isUppercase == true) }
    }

    @Test(arguments: all.indices) func everyErrorIsOneWholeFrame(_ index: Int) {
        let rejection = Rejection(Self.all[index].error)
        #expect(rejection.reason == Self.all[index].error.message)
        #expect(ErrorMessage(parsing: rejection.bytes.dropFirst(5)) == Self.all[index].error)
        #expect(Array(rejection.bytes[1..<5]) == bigEndian(UInt32(rejection.bytes.count - 1)))
    }

    @Test func aFailedStartSaysWhatFailed() {
        let failure = ErrorMessage(.diskFull, "no space")
        #expect(Self.refusal(.startFailed(.preparation, retryAt: .zero), failure: failure) == failure)
    }

    /// A statement that PostgreSQL refused is an ERROR there; the client's session ends with it here.
    @Test func aFailedStartIsFatalToTheClient() {
        let failure = ErrorMessage(severity: .error, .internalError, "could not rename")
        #expect(Self.refusal(.startFailed(.exit, retryAt: .zero), failure: failure).severity == .fatal)
    }

    @Test func aBootThatSaidNothingHasNoDetail() {
        #expect(ErrorMessage.bootFailed(Self.tenant.string, lastLine: nil, log: "/l", baseDirectory: "/").detail == nil)
    }

    @Test func theWorldsErrorsKeepTheirWords() {
        let error = EmbedError.fileSystem(operation: "copy", path: "/data/shop", Errno(code: 28))
        let message = ErrorMessage(error)
        #expect(message.sqlState == .diskFull && message.severity == .fatal)
        #expect(message.message == error.message && message.detail == error.detail && message.hint == error.hint)
        #expect(error.prepareFailure == .retryable)
        #expect(EmbedError.absent(databaseName: "shop").prepareFailure == .absent)
        #expect(EmbedError.runningAsRoot.prepareFailure == .permanent)
    }

    @Test func aNewDatabaseIsANotice() {
        let notice = ErrorMessage.createdDatabase(Self.tenant)
        #expect(notice.severity == .notice && notice.sqlState.description == "00000")
        #expect(notice.message == "created new database \"shop\"")
        #expect(notice.noticeResponse().first == UInt8(ascii: "N"))
    }

    @Test func violationsAreAnsweredAsTheyAsk() {
        let rejection = Rejection(StartupViolation.missingUser)
        #expect(rejection.bytes == StartupViolation.missingUser.response)
        #expect(rejection.reason == StartupViolation.missingUser.error.message)
    }

    @Test func durationsAreRoundedForPeople() {
        #expect(Duration.milliseconds(30_500).inSeconds == 31)
        #expect(Duration.seconds(30).inSeconds == 30)
        #expect(Duration.milliseconds(1).inSeconds == 1)
        #expect(Duration.microseconds(12_999).inMilliseconds == 12)
    }
}
