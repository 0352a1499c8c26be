import Reactor

/// `ExitStatus` under a name that Swift Testing does not use as well.
typealias ProcessEnd = ExitStatus
