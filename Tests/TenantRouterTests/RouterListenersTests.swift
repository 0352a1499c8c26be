import Glibc
import Reactor
import Testing

@testable import TenantRouter

@Suite struct RouterListenersTests {
    @Test func theKernelChoosesAPortWhereNoneIsAskedFor() throws {
        let listeners = try RouterListeners.bind(RouterConfiguration(port: 0))
        #expect(listeners.port != 0)
        #expect(listeners.address == "127.0.0.1:\(listeners.port)")
    }

    @Test func aTakenPortIsOneClearLine() throws {
        let first = try RouterListeners.bind(RouterConfiguration(port: 0))
        try withExtendedLifetime(first) {
            let error = try #require(throws: RouterError.self) {
                _ = try RouterListeners.bind(RouterConfiguration(port: first.port))
            }
            #expect(error.kind == .listener && !error.isUsage)
            #expect(error.description.contains("127.0.0.1:\(first.port)") && error.description.contains("--port"))
        }
    }

    /// Somebody else may be given the port in between; not every time.
    @Test func listenersThatNobodyTakesAreClosed() throws {
        let isClosed = try (0..<5).contains { _ in
            let port = try RouterListeners.bind(RouterConfiguration(port: 0)).port
            return (try? RouterListeners.bind(RouterConfiguration(port: port))) != nil
        }
        #expect(isClosed)
    }

    @Test func theirDescriptorsAreTakenOnce() throws {
        let listeners = try RouterListeners.bind(RouterConfiguration(port: 0))
        let taken = listeners.takeAll()
        #expect(taken.count == 1 && listeners.takeAll().isEmpty)
        for number in taken { _ = Descriptor(owning: number) }
    }

    @Test(arguments: ["0.0.0.0", "::"]) func nobodyElsesAddressWithoutBeingAllowed(_ host: String) throws {
        let error = try #require(throws: RouterError.self) {
            _ = try RouterListeners.bind(RouterConfiguration(port: 0, host: host))
        }
        #expect(error.kind == .configuration && error.isUsage)
        #expect(error.description.contains("--allow-remote-without-authentication"))
    }

    @Test func anUnknownHostIsNamed() throws {
        let error = try #require(throws: RouterError.self) {
            _ = try RouterListeners.bind(RouterConfiguration(port: 0, host: "256.0.0.1"))
        }
        #expect(error.kind == .listener && error.description.contains("256.0.0.1"))
    }

    @Test func theUnixSocketIsNamedLikePostgreSQLs() throws {
        let directory = "/tmp/routerd-listeners-\(getpid())-\(UInt64.random(in: 0...(.max)))"
        try #require(unsafe mkdir(directory, 0o700) == 0)
        let configuration = RouterConfiguration(port: 0, socketDirectory: directory)
        let listeners = try RouterListeners.bind(configuration)
        try listeners.bindSocket(configuration)
        let path = "\(directory)/.s.PGSQL.\(listeners.port)"
        withExtendedLifetime(listeners) {
            #expect(listeners.unixPath == path)
            #expect(unsafe access(path, F_OK) == 0)
        }
        _ = consume listeners
        #expect(unsafe rmdir(directory) == 0, "the socket's file goes with it")
    }

    /// A client that says localhost tries ::1 first: serving 127.0.0.1 only, beside somebody else on ::1, would send it
    /// to the other server.
    @Test func localhostIsTakenWholeOrNotAtAll() throws {
        guard let other = try? Listener.stream(on: .ipv6(high: 0, low: 1, scope: 0, port: 0)),
            let port = SocketAddress.local(of: other)?.port
        else { return }
        #expect(throws: RouterError.self) {
            _ = try RouterListeners.bind(RouterConfiguration(port: port, host: "localhost"))
        }
        _ = consume other
    }

    @Test func socketsThatSomebodyElseBoundAreServedAsTheyAre() throws {
        let tcp = try Listener.stream(on: .ipv4(address: 0x7F00_0001, port: 0))
        let path = "/tmp/.s.PGSQL.\(getpid()).65432"
        let unix = try Listener.stream(on: .unix(path: path))
        let port = try #require(SocketAddress.local(of: tcp)?.port)
        let numbers = [unix.release(), tcp.release()]
        let listeners = try RouterListeners.adopt(numbers, for: RouterConfiguration(port: 1))
        #expect(listeners.address == "127.0.0.1:\(port)" && listeners.port == port)
        #expect(numbers.allSatisfy { fcntl($0, F_GETFD) == FD_CLOEXEC && fcntl($0, F_GETFL) & O_NONBLOCK != 0 })
        _ = consume listeners
        #expect(unsafe access(path, F_OK) == 0, "the name is somebody else's")
        _ = try Listener.stream(on: .unix(path: path))
        unsafe unlink(path)
    }

    @Test func aUnixSocketAloneNamesThePort() throws {
        let path = "/tmp/routerd-\(getpid()).s.PGSQL.6543"
        let number = try Listener.stream(on: .unix(path: path)).release()
        defer { unsafe unlink(path) }
        let listeners = try RouterListeners.adopt([number], for: RouterConfiguration(port: 1))
        #expect(listeners.address == path && listeners.port == 6543)
    }

    /// Nothing is taken of what cannot be served: the caller still owns it.
    @Test func whatCannotBeListenedOnIsRefused() throws {
        let file = unsafe open("/dev/null", O_RDONLY | O_CLOEXEC)
        let numbers = [file, socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0), 1 << 30]
        for number in numbers {
            let error = try #require(throws: RouterError.self) {
                _ = try RouterListeners.adopt([number], for: RouterConfiguration())
            }
            #expect(error.kind == .listener && error.description.contains("descriptor \(number)"))
        }
        for number in numbers.dropLast() { #expect(close(number) == 0) }
        let everybody = try Listener.stream(on: .ipv4(address: 0, port: 0))
        let refusal = try #require(throws: RouterError.self) {
            _ = try RouterListeners.adopt([everybody.number], for: RouterConfiguration())
        }
        #expect(refusal.isUsage && refusal.description.contains("0.0.0.0"))
        #expect(throws: RouterError.self) { _ = try RouterListeners.adopt([], for: RouterConfiguration()) }
    }
}
