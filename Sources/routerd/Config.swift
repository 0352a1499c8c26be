import ArgumentParser
import TenantRouter

/// `routerd config`: every option, its value, and where that comes from.
struct Config: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the value of every option and where it comes from.",
        discussion: """
            Takes what serve takes and starts nothing:

              $ routerd config --config routerd.toml
              $ ROUTERD_PORT=6000 routerd config --json | jq '.[] | select(.origin.kind != "default")'
            """)

    @OptionGroup var options: ServeOptions

    @Flag(help: "Print JSON, for programs.")
    var json = false

    func run() throws {
        let told = try options.told()
        let rows = RouterOption.served.flatMap { Self.rows(of: $0, told) }
        guard !json else { return Console.say(try JSONText(of: rows).text) }
        let table = Table(
            header: ["OPTION", "VALUE", "FROM", "CHANGES"],
            rows: rows.map { [$0.name, Table.printable($0.value), Table.printable(told.from($0.name)), $0.changes] })
        Console.say(table.text)
    }

    /// One, or one for each setting.
    private static func rows(of option: RouterOption, _ told: ToldOptions) -> [Row] {
        let settings = option.name == RouterOption.set.name ? told.router.settings : []
        guard !settings.isEmpty else {
            return [Row(option, name: option.name, value: told.value(of: option), told.origin(of: option))]
        }
        // The last of a name wins.
        let last = settings.indices.filter { place in
            !settings[(place + 1)...].contains { $0.name == settings[place].name }
        }
        return last.map { place in
            let name = "\(option.name).\(settings[place].name)"
            return Row(option, name: name, value: settings[place].value, told.origins[name] ?? .fallback)
        }
    }

    /// A line of the table, or an element of the array.
    private struct Row: Encodable {
        let name: String
        let value: String
        let origin: Origin
        let fallback: String
        let changes: String
        let flag: String
        let variable: String
        let help: String

        enum CodingKeys: String, CodingKey {
            case name, value, origin, changes, flag, variable, help
            case fallback = "default"
        }

        init(_ option: RouterOption, name: String, value: String, _ origin: OptionOrigin) {
            self.name = name
            self.value = value
            self.origin = Origin(origin)
            fallback = option.fallback
            changes = option.change.rawValue
            flag = "--\(option.name)"
            variable = option.variable
            help = option.summary
        }
    }

    private struct Origin: Encodable {
        var kind: String
        var file: String?
        var line: Int?

        init(_ origin: OptionOrigin) {
            switch origin {
            case .fallback: kind = "default"
            case .file(let path, let number): (kind, file, line) = ("file", path, number)
            case .variable: kind = "environment"
            case .flag: kind = "flag"
            }
        }
    }
}

extension ToldOptions {
    fileprivate func from(_ name: String) -> String { (origins[name] ?? .fallback).description }
}
