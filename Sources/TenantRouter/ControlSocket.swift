import Glibc
import Reactor

/// The socket that the running router is steered by: `<dir>/.routerd/.s.PGSQL.5432`, for its own user only, and the
/// token beside it that a client must know.
///
/// The token is there because instances run as the same user: Landlock does not keep a process from connecting to a
/// socket, but it keeps an instance from reading the file.
struct ControlSocket {
    /// Hexadecimal digits.
    let token: String
    private let directory: String

    static let name = ".s.PGSQL.5432"
    static let tokenName = "token"

    /// Makes a fresh token in the router's private directory, whose lock is held, so that whatever is there already is
    /// stale.
    static func prepare(in directory: String) throws(RouterError) -> ControlSocket {
        let control = ControlSocket(token: ControlToken.make(), directory: directory)
        do throws(Errno) {
            let place = try ControlPlace(directory)
            place.remove(name)
            try place.replaceToken(control.token)
            return control
        } catch {
            throw RouterError(.environment, "cannot make the control socket in \(directory): \(error)")
        }
    }

    /// From here on the router can be found.
    func listen() throws(ReactorError) -> Descriptor {
        do throws(Errno) {
            return try listen(in: try ControlPlace(directory))
        } catch {
            throw .system(call: "control socket in \(directory)", error)
        }
    }

    private func listen(in place: borrowing ControlPlace) throws(Errno) -> Descriptor {
        do throws(ListenError) {
            return try Listener.stream(on: .unix(path: place.socketPath), mode: 0o600)
        } catch {
            switch error {
            case .system(_, call: _, let errno): throw errno
            case .permissionDenied: throw Errno(code: EACCES)
            case .addressInUse, .pathTaken: throw Errno(code: EADDRINUSE)
            case .addressNotAvailable, .unusablePath: throw Errno(code: ENOENT)
            }
        }
    }

    /// Nobody finds the router any more.
    func remove() {
        guard let place = try? ControlPlace(directory) else { return }
        place.remove(Self.name)
        place.remove(Self.tokenName)
    }
}

/// The password of the control socket.
enum ControlToken {
    private static let byteCount = 32

    static func make() -> String {
        var random = SystemRandomNumberGenerator()
        let digits = Array("0123456789abcdef".utf8)
        let token = (0..<2 * byteCount).map { _ in digits[Int.random(in: 0..<16, using: &random)] }
        return String(decoding: token, as: UTF8.self)
    }

    /// In a time that tells nothing about where they differ.
    static func matches(_ password: String, _ token: String) -> Bool {
        let (given, wanted) = (Array(password.utf8), Array(token.utf8))
        guard given.count == wanted.count else { return false }
        return zip(given, wanted).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

/// The router's private directory, opened: a socket in it is reached however long its path is.
struct ControlPlace: ~Copyable {
    private let directory: Descriptor

    init(_ path: String) throws(Errno) {
        let number = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw Errno(code: errno) }
        directory = Descriptor(owning: number)
    }

    /// Below 107 bytes, unix(7), whatever the directory is called; proc(5), `/proc/pid/fd`.
    var socketPath: String { "/proc/self/fd/\(directory.number)/\(ControlSocket.name)" }

    /// Written beside and renamed, so that nobody reads half of one.
    func replaceToken(_ token: String) throws(Errno) {
        let fresh = ControlSocket.tokenName + ".new"
        remove(fresh)
        let number = unsafe openat(directory.number, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw Errno(code: errno) }
        let file = Descriptor(owning: number)
        let line = Array("\(token)\n".utf8)
        let written = unsafe line.withUnsafeBytes { unsafe write(file.number, $0.baseAddress, $0.count) }
        guard written == line.count else { throw Errno(code: written < 0 ? errno : ENOSPC) }
        guard unsafe renameat(directory.number, fresh, directory.number, ControlSocket.tokenName) == 0 else {
            throw Errno(code: errno)
        }
    }

    func readToken() throws(Errno) -> String {
        let number = unsafe openat(directory.number, ControlSocket.tokenName, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard number >= 0 else { throw Errno(code: errno) }
        let file = Descriptor(owning: number)
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(file.number, $0.baseAddress, $0.count) }
        guard count >= 0 else { throw Errno(code: errno) }
        return String(decoding: bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    func remove(_ name: String) { unsafe unlinkat(directory.number, name, 0) }
}
