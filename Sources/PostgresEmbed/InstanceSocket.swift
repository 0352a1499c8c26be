import Reactor

/// The only way to an instance's listening socket: a descriptor without a name in the file system.
public final class InstanceSocket: Sendable {
    private let descriptor: Descriptor

    init(descriptor: consuming Descriptor) { self.descriptor = descriptor }

    /// What to connect to, valid in this process while the object lives.
    public var path: String { "/proc/self/fd/\(descriptor.number)" }
}
