import Glibc
import Reactor
import Testing

extension ReactorTests {
    @Suite struct AddressTests {
        @Test func numbersAndLocalhostResolve() throws {
            #expect(try SocketAddress.resolve(host: "127.0.0.1", port: 1) == [.ipv4(address: 0x7F00_0001, port: 1)])
            #expect(try SocketAddress.resolve(host: "::1", port: 2) == [.ipv6(high: 0, low: 1, scope: 0, port: 2)])
            #expect(try SocketAddress.resolve(host: "[::1]", port: 2) == [.ipv6(high: 0, low: 1, scope: 0, port: 2)])
            #expect(try SocketAddress.resolve(host: "0.0.0.0", port: 3).map(\.isLoopback) == [false])
            let local = try SocketAddress.resolve(host: "localhost", port: 4)
            #expect(local.map(\.description) == ["127.0.0.1:4", "[::1]:4"])
            #expect(local.map(\.isLoopback) == [true, true])
            #expect(throws: ResolutionError.self) { try SocketAddress.resolve(host: "no such host", port: 1) }
        }

        @Test func onlyLoopbackIsLoopback() {
            #expect(SocketAddress.ipv4(address: 0x7F12_3456, port: 0).isLoopback)
            #expect(!SocketAddress.ipv4(address: 0x8000_0001, port: 0).isLoopback)
            #expect(!SocketAddress.ipv6(high: 0, low: 0, scope: 0, port: 0).isLoopback)
            #expect(SocketAddress.ipv6(high: 0, low: 0xFFFF_7F00_0001, scope: 0, port: 0).isLoopback)
            #expect(!SocketAddress.ipv6(high: 0, low: 0xFFFF_0A00_0001, scope: 0, port: 0).isLoopback)
            #expect(!SocketAddress.ipv6(high: 1, low: 1, scope: 0, port: 0).isLoopback)
        }

        @Test func aTakenPortSaysSo() throws {
            let first = try Listener.stream(on: .ipv4(address: 0x7F00_0001, port: 0))
            let address = try Peer.address(of: first)
            #expect(throws: ListenError.addressInUse(address)) { _ = try Listener.stream(on: address) }
            let foreign = SocketAddress.ipv4(address: 0x0102_0304, port: 0)
            #expect(throws: ListenError.addressNotAvailable(foreign)) { _ = try Listener.stream(on: foreign) }
        }

        /// A stale socket file was believed, or a living server's was removed.
        @Test func onlyASocketFileThatNobodyAnswersAtIsReplaced() throws {
            let directory = try TemporaryDirectory()
            let address = SocketAddress.unix(path: "\(directory.path)/s")
            do {
                let living = try Listener.stream(on: address, mode: 0o600)
                #expect(living.number >= 0)
                var status = stat()
                _ = unsafe stat("\(directory.path)/s", &status)
                #expect(status.st_mode & 0o777 == 0o600)
                #expect(throws: ListenError.addressInUse(address)) { _ = try Listener.stream(on: address) }
                // Also when it has no room for the question.
                #expect(listen(living.number, 0) == 0)
                let full = try Rig(.auto)
                for owner in 1...3 as ClosedRange<UInt64> { _ = try full.reactor.connect(to: address, owner: owner) }
                #expect(throws: ListenError.addressInUse(address)) { _ = try Listener.stream(on: address) }
            }
            let successor = try Listener.stream(on: address)
            #expect(successor.number >= 0)
            let file = SocketAddress.unix(path: "\(directory.path)/file")
            _ = unsafe close(open("\(directory.path)/file", O_CREAT | O_WRONLY, 0o600))
            #expect(throws: ListenError.pathTaken(file)) { _ = try Listener.stream(on: file) }
            let long = SocketAddress.unix(path: "\(directory.path)/" + String(repeating: "x", count: 100))
            #expect(throws: ListenError.unusablePath(long)) { _ = try Listener.stream(on: long) }
            let nowhere = SocketAddress.unix(path: "\(directory.path)/no/s")
            #expect(throws: ListenError.unusablePath(nowhere)) { _ = try Listener.stream(on: nowhere) }
        }
    }
}
