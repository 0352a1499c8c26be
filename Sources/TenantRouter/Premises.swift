import PostgresEmbed

/// What a router occupies on the file system: its base directory, locked, and the socket it is steered by.
struct Premises {
    let store: ClusterStore
    let control: ControlSocket
    /// The base directory, if it is to be gone afterwards.
    private let memory: MemoryDirectory?

    /// Opens everything or leaves nothing behind.
    ///
    /// - Parameter progress: told what takes long.
    static func open(
        _ configuration: RouterConfiguration, progress: (String) -> Void
    ) throws(RouterError) -> Premises {
        let memory = try openMemory(configuration)
        do throws(RouterError) {
            let store = try openStore(configuration, in: memory?.path ?? configuration.baseDirectory)
            do throws(RouterError) {
                try makeTemplate(store, progress: progress)
                let control = try ControlSocket.prepare(in: store.baseDirectory + "/.routerd")
                return Premises(store: store, control: control, memory: memory)
            } catch {
                store.close()
                throw error
            }
        } catch {
            memory?.remove()
            throw error
        }
    }

    /// Gives everything up. Nobody uses it any more.
    func close() {
        control.remove()
        store.close()
        memory?.remove()
    }

    /// A short-lived directory for a socket, which the router's user alone may enter.
    func makeSocketDirectory() throws(RouterError) -> String {
        do throws(EmbedError) {
            return try store.makeSocketDirectory()
        } catch {
            throw RouterError(error)
        }
    }

    private static func openMemory(_ configuration: RouterConfiguration) throws(RouterError) -> MemoryDirectory? {
        do throws(EmbedError) {
            switch configuration.storage {
            case .directory: return nil
            case .memory:
                let memory = try MemoryDirectory.make()
                configuration.logger.warning(
                    "everything is kept in memory (\(memory.path), \(memory.freeBytes >> 20) MB free) and is gone when this program ends"
                )
                return memory
            case .temporary:
                let place = try MemoryDirectory.makeTemporary()
                configuration.logger.info("everything is kept in \(place.path) and is gone when this program ends")
                return place
            }
        } catch {
            throw RouterError(
                .environment, "--memory needs a file system in memory (tmpfs), and there is none: \(error.message)")
        }
    }

    private static func openStore(
        _ configuration: RouterConfiguration, in directory: String
    ) throws(RouterError) -> ClusterStore {
        do throws(EmbedError) {
            let installation = try PostgresInstallation.find(binDirectory: configuration.postgresBinDirectory)
            let store = try ClusterStore(
                installation: installation,
                options: ClusterStoreOptions(
                    baseDirectory: directory, maxConnections: configuration.maxConnections,
                    maxInstances: configuration.maxInstances, confinement: configuration.confinement.embed,
                    tenantNetwork: configuration.tenantNetwork ? .allowed : .denied,
                    durability: configuration.storage == .directory ? .full : .none,
                    settings: configuration.sizes.settings))
            configuration.logger.info("instances are confined: \(store.confinement)")
            for finding in store.findings { configuration.logger.warning("\(finding)") }
            return store
        } catch {
            throw RouterError(error)
        }
    }

    private static func makeTemplate(_ store: ClusterStore, progress: (String) -> Void) throws(RouterError) {
        do throws(EmbedError) {
            try store.ensureTemplate(progress: progress)
        } catch {
            throw RouterError(error)
        }
    }
}

extension RouterConfiguration {
    /// What an open store can still be told.
    var sizes: ClusterSizes {
        ClusterSizes(
            maxConnections: maxConnections, maxInstances: maxInstances, settings: settings.map { ($0.name, $0.value) })
    }
}
