import ArgumentParser
import Glibc
import TenantRouter

/// `routerd check`: would it serve here, and what should somebody know?
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at machine and configuration, and say what is wrong and what to do.",
        discussion: """
            Takes what serve takes, changes nothing and starts nothing. Started by root it looks as the user that serve
            would become:

              $ routerd check --dir /srv/tenants --max-instances 1000
              $ routerd check --json | jq -r '.[] | select(.verdict != "ok") | .what'

            Exit codes: 0 a server would start, 1 it would not, 2 wrong usage.
            """)

    @OptionGroup var options: ServeOptions

    @Flag(help: "Print JSON, for programs.")
    var json = false

    func run() throws {
        let told = try options.told()
        let findings = Self.findings(told)
        Console.say(json ? try JSONText(of: findings).text : Self.text(findings))
        guard findings.allSatisfy({ $0.verdict != .problem }) else {
            throw Failure.failed("a server would not start here")
        }
    }

    private static func findings(_ told: ToldOptions) -> [Finding] {
        // Ports are bound before root is given up.
        var findings = [address(told.router)]
        if !Privileges.isRoot, let parent = parent(told) { findings.append(parent) }
        do throws(Failure) {
            if let user = try becomeUser(told) { findings.append(user) }
        } catch {
            return findings + [Finding("user", .problem, error.description)]
        }
        if told.router.storage == .directory, let server = RunningServer(told.router) {
            findings = [server.finding] + findings.dropFirst()
        }
        return findings + told.router.findings()
    }

    /// What root makes, it gives away; others must be let.
    private static func parent(_ told: ToldOptions) -> Finding? {
        let path = told.router.baseDirectory
        guard told.router.storage == .directory, unsafe access(path, F_OK) != 0 else { return nil }
        var parent = Substring(path)
        while let slash = parent.lastIndex(of: "/"), slash > parent.startIndex {
            parent = parent[..<slash]
            if unsafe access(String(parent), F_OK) == 0 { break }
        }
        let place = parent == Substring(path) ? "." : String(parent)
        guard unsafe access(place, W_OK | X_OK) != 0 else { return nil }
        return Finding(
            "parent", .problem, "this user cannot make \(path): \(place) is not writable",
            advice: "choose another --dir, or make the directory and give it away with chown")
    }

    private static func address(_ configuration: RouterConfiguration) -> Finding {
        do throws(RouterError) {
            return Finding("address", .ok, "\(try RouterListeners.bind(configuration).address) can be listened on")
        } catch {
            return Finding("address", .problem, error.description)
        }
    }

    private static func becomeUser(_ told: ToldOptions) throws(Failure) -> Finding? {
        guard Privileges.isRoot else { return nil }
        let user = try Privileges.user(named: told.runAs)
        try Privileges.become(user)
        if told.router.storage == .directory {
            try Privileges.checkAccess(to: told.router.baseDirectory, as: user.name)
        }
        return Finding("user", .ok, "started by root, it becomes \"\(user.name)\" (--run-as)")
    }

    private static func text(_ findings: [Finding]) -> String {
        findings.map { finding in
            let advice = finding.advice.map { "\n           → \($0)" } ?? ""
            return "\(mark(of: finding.verdict)) \(finding.topic): \(finding.what)\(advice)"
        }.joined(separator: "\n")
    }

    private static func mark(of verdict: Finding.Verdict) -> String {
        switch verdict {
        case .ok: "ok      "
        case .warn: "warn    "
        case .problem: "PROBLEM "
        }
    }
}

/// One that serves the directory already: then its port is taken, and all is well.
private struct RunningServer {
    let finding: Finding

    init?(_ configuration: RouterConfiguration) {
        do throws(ControlError) {
            var control = try RouterControl.connect(baseDirectory: configuration.baseDirectory)
            let stats = try control.stats()
            finding = Finding(
                "address", .ok,
                "a routerd serves \(stats.baseDirectory) already, on \(stats.address) (process \(stats.processID))")
        } catch {
            return nil
        }
    }
}
