import Glibc
import Reactor
import Testing

extension ReactorTests {
    /// Listeners and connects.
    @Suite struct ConnectionTests {
        /// IPv4, IPv6 and a path: accepted, connected, both ways; who it is can be asked.
        @Test(arguments: Engines.available) func everyFamilyConnects(_ engine: EngineKind) throws {
            let directory = try TemporaryDirectory()
            let rig = try Rig(engine)
            let places: [SocketAddress] = [
                .ipv4(address: 0x7F00_0001, port: 0), .ipv6(high: 0, low: 1, scope: 0, port: 0),
                .unix(path: "\(directory.path)/s"),
            ]
            for place in places {
                let listener: Descriptor
                do {
                    listener = try Listener.stream(on: place, mode: 0o700)
                } catch ListenError.addressNotAvailable {
                    continue
                }
                let address = try Peer.address(of: listener)
                let listening = try rig.reactor.accept(on: listener, owner: 1)
                let ours = try rig.reactor.connect(to: address, owner: 2)
                rig.reactor.send(copying: [1, 2, 3], to: ours)
                try rig.run { $0.diary.count >= 3 }
                #expect(rig.seen(by: 2) == [.connected, .sent])
                guard case .accepted(let number) = rig.seen(by: 1).first else { throw Stuck() }
                #expect(fcntl(number, F_GETFL) & O_NONBLOCK != 0)
                let theirs = try rig.reactor.adopt(accepted: Descriptor(owning: number), owner: 3)
                rig.reactor.configure(
                    theirs,
                    StreamOptions(
                        keepalive: .init(idle: .seconds(60), interval: .seconds(10), count: 6),
                        userTimeout: .seconds(30)))
                if case .unix = place {} else { #expect(Self.streamOptions(of: number) == [1, 1, 60, 10, 6, 30_000]) }
                rig.reactor.receive(theirs)
                rig.reactor.receive(ours)
                rig.reactor.send(copying: [4], to: theirs)
                try rig.run { $0.bytes(of: 2) == [4] && $0.bytes(of: 3) == [1, 2, 3] }
                #expect(rig.reactor.peer(of: ours) == address)
                if case .unix = place {
                    #expect(rig.reactor.credentials(of: theirs)?.processID == getpid())
                    #expect(rig.reactor.credentials(of: theirs)?.userID == getuid())
                } else {
                    #expect(rig.reactor.credentials(of: theirs) == nil)
                    #expect(rig.reactor.peer(of: theirs)?.isLoopback == true)
                }
                for token in [listening, ours, theirs] { rig.reactor.close(token) }
                try rig.run { rig in (1...3).allSatisfy { rig.seen(by: $0).last == .closed } }
                rig.forget()
            }
        }

        private static func streamOptions(of number: CInt) -> [CInt] {
            let tcp = CInt(IPPROTO_TCP)
            return [
                (tcp, TCP_NODELAY), (SOL_SOCKET, SO_KEEPALIVE), (tcp, TCP_KEEPIDLE), (tcp, TCP_KEEPINTVL),
                (tcp, TCP_KEEPCNT), (tcp, TCP_USER_TIMEOUT),
            ].map { level, option in
                var value: CInt = -1
                var length = socklen_t(MemoryLayout<CInt>.size)
                guard unsafe getsockopt(number, level, option, &value, &length) == 0 else { return -1 }
                return value
            }
        }

        @Test(arguments: Engines.available) func aRefusedConnectFails(_ engine: EngineKind) throws {
            let directory = try TemporaryDirectory()
            let rig = try Rig(engine)
            var port: UInt16 = 0
            do {
                let listener = try Listener.stream(on: .ipv4(address: 0x7F00_0001, port: 0))
                port = try Peer.port(of: listener)
            }
            let tcp = try rig.reactor.connect(to: .ipv4(address: 0x7F00_0001, port: port), owner: 1)
            rig.reactor.receive(tcp)
            rig.reactor.send(copying: [1], to: tcp)
            _ = try rig.reactor.connect(to: .unix(path: "\(directory.path)/absent"), owner: 2)
            try rig.run { !$0.seen(by: 1).isEmpty && !$0.seen(by: 2).isEmpty }
            #expect(rig.seen(by: 1) == [.failed(ECONNREFUSED)])
            #expect(rig.seen(by: 2) == [.failed(ENOENT)])
            #expect(throws: ReactorError.unusableAddress(.unix(path: ""))) {
                _ = try rig.reactor.connect(to: .unix(path: ""), owner: 3)
            }
        }

        /// A Unix socket with a full backlog refuses at once and cannot be polled: tried again until there is room, or
        /// until the owner gives up.
        @Test(arguments: Engines.available) func aFullBacklogIsTriedAgain(_ engine: EngineKind) throws {
            let directory = try TemporaryDirectory()
            let rig = try Rig(engine)
            let address = SocketAddress.unix(path: "\(directory.path)/s")
            let listener = try Listener.stream(on: address)
            #expect(listen(listener.number, 0) == 0)
            for owner in 1...4 { _ = try rig.reactor.connect(to: address, owner: UInt64(owner)) }
            let givenUp = try rig.reactor.connect(to: address, owner: 5)
            try rig.run(for: .milliseconds(20))
            #expect(rig.diary.filter { $0.seen == .connected }.count == 1)
            rig.reactor.close(givenUp)
            try rig.run { $0.seen(by: 5) == [.closed] }
            var accepted: [CInt] = []
            for _ in 0..<4 {
                let number = accept(listener.number, nil, nil)
                try #require(number >= 0 || errno == EAGAIN)
                if number >= 0 { accepted.append(number) }
                try rig.run(for: .milliseconds(60))
            }
            try rig.run { rig in (1...4).allSatisfy { rig.seen(by: $0) == [.connected] } }
            #expect(rig.seen(by: 5) == [.closed])
            for number in accepted { close(number) }
        }

        @Test(arguments: Engines.available) func aDisarmedListenerLetsConnectionsWait(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let listener = try Listener.stream(on: .ipv4(address: 0x7F00_0001, port: 0))
            let port = try Peer.port(of: listener)
            let token = try rig.reactor.accept(on: listener, owner: 1)
            var clients = try (0..<100).map { _ in try Peer.connect(port: port) }
            try rig.run { $0.seen(by: 1).count == 100 }
            rig.reactor.disarm(token)
            try rig.run { $0.seen(by: 1).last == .disarmed }
            clients += try (0..<5).map { _ in try Peer.connect(port: port) }
            try rig.run(for: .milliseconds(5))
            #expect(rig.seen(by: 1).last == .disarmed)
            rig.reactor.receive(token)
            try rig.run { $0.seen(by: 1).count == 106 }
            for case .accepted(let number) in rig.seen(by: 1) { close(number) }
            for client in clients { close(client) }
        }

        /// With no descriptor left the accept loop spun at 100 %. It is told once and then rests until it is armed
        /// again.
        @Test func runningOutOfDescriptorsRestsTheListener() async {
            await #expect(processExitsWith: .success) {
                for engine in Engines.available {
                    let rig = try Rig(engine)
                    let listener = try Listener.stream(on: .ipv4(address: 0x7F00_0001, port: 0))
                    let port = try Peer.port(of: listener)
                    let token = try rig.reactor.accept(on: listener, owner: 1)
                    let clients = try (0..<3).map { _ in try Peer.connect(port: port) }
                    var limit = rlimit()
                    let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
                    _ = unsafe getrlimit(files, &limit)
                    let before = limit.rlim_cur
                    limit.rlim_cur = rlim_t(clients[2] + 1)
                    _ = unsafe setrlimit(files, &limit)
                    try rig.run { !$0.seen(by: 1).isEmpty }
                    try rig.run(for: .milliseconds(20))
                    try #require(rig.seen(by: 1) == [.failed(EMFILE)])
                    limit.rlim_cur = before
                    _ = unsafe setrlimit(files, &limit)
                    rig.reactor.receive(token)
                    try rig.run { $0.seen(by: 1).count == 4 }
                    for case .accepted(let number) in rig.seen(by: 1) { close(number) }
                    for client in clients { close(client) }
                }
            }
        }

        /// `ReactorLimits.sources` is a refusal, not a crash, and a freed slot is usable from the next tick on.
        @Test(arguments: Engines.available) func aFullReactorRefuses(_ engine: EngineKind) throws {
            var limits = ReactorLimits()
            limits.sources = 2
            let rig = try Rig(engine, limits: limits)
            let (a, b) = try Peer.pair()
            let (c, d) = try Peer.pair()
            let first = try rig.adopt(a, owner: 1)
            _ = try rig.adopt(b, owner: 2)
            #expect(rig.reactor.room == 0)
            #expect(throws: ReactorError.full(limit: 2)) { _ = try rig.adopt(c, owner: 3) }
            rig.reactor.close(first)
            try rig.run { $0.seen(by: 1) == [.closed] }
            try rig.run(for: .milliseconds(1))
            #expect(rig.reactor.room == 1)
            _ = try rig.adopt(d, owner: 4)
        }
    }

    /// Everything that is no stream.
    @Suite struct SourceTests {
        @Test(arguments: Engines.available) func exitsAreToldAndReaped(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let quick = try spawn(["/bin/true"])
            let seven = try spawn(["/bin/sh", "-c", "exit 7"])
            let sleeper = try spawn(["/bin/sleep", "100"])
            _ = try rig.reactor.watch(process: Descriptor.process(quick), owner: 1)
            _ = try rig.reactor.watch(process: Descriptor.process(seven), owner: 2)
            let token = try rig.reactor.watch(process: Descriptor.process(sleeper), owner: 3)
            try rig.run { !$0.seen(by: 1).isEmpty && !$0.seen(by: 2).isEmpty }
            #expect(rig.seen(by: 3).isEmpty)
            var isTold = rig.reactor.signal(SIGKILL, process: token)
            #expect(isTold)
            try rig.run { !$0.seen(by: 3).isEmpty }
            #expect(rig.seen(by: 1) == [.exited(.exited(0))])
            #expect(rig.seen(by: 2) == [.exited(.exited(7))])
            #expect(rig.seen(by: 3) == [.exited(.signalled(SIGKILL))])
            isTold = rig.reactor.signal(SIGKILL, process: token)
            #expect(!isTold)
            for pid in [quick, seven, sleeper] {
                let result = waitpid(pid, nil, WNOHANG)
                #expect(result == -1 && errno == ECHILD)
            }
        }

        /// A postmaster left by an earlier router is nobody's child of ours: its end is seen, its status is not.
        @Test(arguments: Engines.available) func theEndOfAStrangerIsSeen(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            var ends: [CInt] = [0, 0]
            try #require(unsafe pipe(&ends) == 0)
            // The shell's child outlives it and says its number.
            let shell = try spawn(["/bin/sh", "-c", "sleep 100 >/dev/null 2>&1 & echo $!"], output: ends[1])
            close(ends[1])
            _ = waitpid(shell, nil, 0)
            var text = [UInt8](repeating: 0, count: 32)
            let count = unsafe read(ends[0], &text, 32)
            close(ends[0])
            try #require(count > 1)
            let pid = try #require(pid_t(String(decoding: text[0..<(count - 1)], as: UTF8.self)))
            let token = try rig.reactor.watch(process: Descriptor.process(pid), owner: 1)
            let isTold = rig.reactor.signal(SIGKILL, process: token)
            #expect(isTold)
            try rig.run { !$0.seen(by: 1).isEmpty }
            #expect(rig.seen(by: 1) == [.exited(.unknown)])
            #expect(throws: Errno(code: ESRCH)) { _ = try Descriptor.process(pid_t.max - 1) }
        }

        @Test(arguments: Engines.available) func signalsAreTold(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            var set = sigset_t()
            var before = sigset_t()
            unsafe sigemptyset(&set)
            unsafe sigaddset(&set, SIGUSR1)
            unsafe sigaddset(&set, SIGUSR2)
            unsafe pthread_sigmask(SIG_BLOCK, &set, &before)
            defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
            let token = try rig.reactor.watch(signals: [SIGUSR1, SIGUSR2], owner: 1)
            pthread_kill(pthread_self(), SIGUSR1)
            pthread_kill(pthread_self(), SIGUSR2)
            try rig.run { $0.seen(by: 1).count == 2 }
            pthread_kill(pthread_self(), SIGUSR1)
            try rig.run { $0.seen(by: 1).count == 3 }
            #expect(rig.seen(by: 1) == [.signalled(SIGUSR1), .signalled(SIGUSR2), .signalled(SIGUSR1)])
            rig.reactor.close(token)
            try rig.run { $0.seen(by: 1).last == .closed }
        }

        /// Readiness messages are datagrams: two of them in a row are two, and an empty one is not the end.
        @Test(arguments: Engines.available) func datagramsKeepTheirBounds(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let (ours, theirs) = try Peer.pair(SOCK_DGRAM)
            let token = try rig.adopt(ours, owner: 1)
            rig.reactor.receive(token)
            Peer.send([1, 2, 3], to: theirs)
            _ = send(theirs, nil, 0, 0)
            Peer.send([4], to: theirs)
            try rig.run { $0.seen(by: 1).count == 3 }
            #expect(rig.seen(by: 1) == [.received([1, 2, 3]), .received([]), .received([4])])
            rig.reactor.send(copying: [5, 6], to: token)
            try rig.run { $0.seen(by: 1).last == .sent }
            #expect(Peer.receive(2, from: theirs) == [5, 6])
            close(theirs)
        }

        @Test(arguments: Engines.available) func aBoundDatagramSocketHearsWhoeverWrites(_ engine: EngineKind) throws {
            let directory = try TemporaryDirectory()
            let rig = try Rig(engine)
            let address = SocketAddress.unix(path: "\(directory.path)/notify")
            rig.reactor.receive(try rig.reactor.adopt(try Listener.datagram(on: address), owner: 1))
            for message in [[UInt8]("STATUS=x".utf8), [UInt8]("READY=1".utf8)] {
                let sender = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue), 0)
                var raw = sockaddr_un()
                raw.sun_family = sa_family_t(AF_UNIX)
                unsafe withUnsafeMutableBytes(of: &raw.sun_path) {
                    unsafe $0.copyBytes(from: "\(directory.path)/notify".utf8)
                }
                unsafe withUnsafePointer(to: &raw) { raw in
                    unsafe raw.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                        _ = unsafe sendto(
                            sender, message, message.count, 0, raw, socklen_t(MemoryLayout<sockaddr_un>.size))
                    }
                }
                close(sender)
            }
            try rig.run { $0.seen(by: 1).count == 2 }
            #expect(rig.seen(by: 1) == [.received([UInt8]("STATUS=x".utf8)), .received([UInt8]("READY=1".utf8))])
        }

        private func spawn(_ command: [String], output: CInt = 1) throws -> pid_t {
            var pid: pid_t = 0
            var actions = unsafe posix_spawn_file_actions_t()
            unsafe posix_spawn_file_actions_init(&actions)
            defer { unsafe posix_spawn_file_actions_destroy(&actions) }
            unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
            var arguments: [UnsafeMutablePointer<CChar>?] = unsafe command.map { unsafe strdup($0) } + [nil]
            defer { unsafe arguments.forEach { unsafe free($0) } }
            let result = unsafe posix_spawn(&pid, command[0], &actions, nil, &arguments, environ)
            try #require(result == 0)
            return pid
        }
    }

    /// Mistakes of ours end the program, in release too: they would hit somebody else's session otherwise.
    @Suite struct MistakeTests {
        @Test func aTokenOfTheWrongKindTraps() async {
            await #expect(processExitsWith: .failure) {
                var reactor = try Reactor(engine: .auto)
                let token = try reactor.accept(
                    on: try Listener.stream(on: .ipv4(address: 0x7F00_0001, port: 0)), owner: 1)
                reactor.finish(token)
            }
            await #expect(processExitsWith: .failure) {
                var reactor = try Reactor(engine: .auto)
                reactor.close(reactor.deadline(at: .zero, owner: 1))
            }
            await #expect(processExitsWith: .failure) {
                var reactor = try Reactor(engine: .auto)
                let (ours, _) = try Peer.pair()
                reactor.cancel(deadline: try reactor.adopt(Descriptor(owning: ours), owner: 1))
            }
        }

        @Test func aSendAfterFinishTraps() async {
            await #expect(processExitsWith: .failure) {
                let rig = try Rig(.auto)
                let (ours, _) = try Peer.pair()
                let token = try rig.adopt(ours, owner: 1)
                rig.reactor.finish(token)
                rig.reactor.send(copying: [1], to: token)
            }
        }

        @Test func aDescriptorClosedBehindItsOwnersBackTraps() async {
            await #expect(processExitsWith: .failure) {
                let (ours, _) = try Peer.pair()
                let owner = Descriptor(owning: ours)
                close(ours)
                _ = consume owner
            }
        }
    }

    /// Threads and their way in.
    @Suite struct ThreadTests {
        /// Any number of rings from any number of threads before one `.woken` is one, and none is lost.
        @Test(arguments: Engines.available) func ringsCoalesceAndNoneIsLost(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let mailbox = Mailbox<Int>(doorbell: rig.reactor.doorbell)
            for _ in 0..<1000 { rig.reactor.doorbell.ring() }
            try rig.run { !$0.diary.isEmpty }
            try rig.run(for: .milliseconds(2))
            #expect(rig.diary.map(\.seen) == [.woken])
            #expect(rig.diary.first?.owner == 0)
            rig.forget()
            let posters = try (0..<4).map { poster in
                try Background { for index in 0..<1000 { mailbox.post(poster * 1000 + index) } }
            }
            var messages: [Int] = []
            var wakes = 0
            try rig.run { rig in
                if rig.diary.contains(where: { $0.seen == .woken }) {
                    wakes += 1
                    messages += mailbox.drain()
                    rig.forget()
                }
                return messages.count == 4000
            }
            for poster in posters { try poster.join() }
            #expect(messages.sorted() == Array(0..<4000))
            #expect(wakes <= 4000)
            // One poster's messages keep their order.
            #expect(messages.filter { $0 < 1000 } == Array(0..<1000))
        }

        /// A ring that comes while the reactor sleeps ends its sleep.
        @Test(arguments: Engines.available) func aRingWakesASleeper(_ engine: EngineKind) throws {
            let rig = try Rig(engine)
            let doorbell = rig.reactor.doorbell
            for _ in 0..<20 {
                let ringer = try Background {
                    usleep(2000)
                    doorbell.ring()
                }
                try rig.run { !$0.diary.isEmpty }
                rig.forget()
                try ringer.join()
            }
        }

        @Test func workersRunEverythingThatWasQueuedBeforeTheyStop() throws {
            let rig = try Rig(.auto)
            let results = Mailbox<Int>(doorbell: rig.reactor.doorbell)
            let workers = try WorkerPool(threads: 3, name: "test")
            for index in 0..<500 {
                workers.submit {
                    var mask = sigset_t()
                    unsafe pthread_sigmask(SIG_BLOCK, nil, &mask)
                    results.post(unsafe sigismember(&mask, SIGTERM) == 1 ? index : -1)
                }
            }
            workers.stop()
            workers.submit { results.post(-2) }
            #expect(results.drain().sorted() == Array(0..<500))
            workers.stop()
        }

        @Test func oneWorkerKeepsTheOrder() throws {
            let rig = try Rig(.auto)
            let results = Mailbox<Int>(doorbell: rig.reactor.doorbell)
            let worker = try WorkerPool(threads: 1)
            for index in 0..<100 { worker.submit { results.post(index) } }
            worker.stop()
            #expect(results.drain() == Array(0..<100))
        }
    }
}
