"""What a service manager is told, and the sockets it passes: the protocols of systemd, without systemd."""

import fcntl
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

import processes
from meters import reactor_thread, stopped
from router import command, free_port, temporary_directory


class Manager:
    """The end of the socket that systemd holds; each message is a dictionary of its assignments."""

    def __init__(self, address):
        self.variable = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        if not address.startswith("@"):
            os.chmod(address, 0o777)

    def next(self, timeout=30.0):
        self.socket.settimeout(max(timeout, 0.001))
        try:
            text = self.socket.recv(4096).decode()
        except TimeoutError:
            return None
        return dict(line.split("=", 1) for line in text.splitlines())

    def expect(self, key, within=30.0):
        """The next message that has this assignment."""
        deadline = time.monotonic() + within
        while message := self.next(deadline - time.monotonic()):
            if key in message:
                return message
        raise AssertionError(f"no {key} within {within} s")

    def collect(self, seconds):
        deadline = time.monotonic() + seconds
        messages = []
        while (left := deadline - time.monotonic()) > 0:
            if message := self.next(left):
                messages.append(message)
        return messages


@pytest.fixture
def manager(request):
    directory = temporary_directory()
    kind = getattr(request, "param", "path")
    made = Manager(f"@{directory.name}" if kind == "abstract" else f"{directory}/notify")
    yield made
    made.socket.close()
    (directory / "notify").unlink(missing_ok=True)
    directory.rmdir()


def test_ready_means_that_clients_are_served(routers, manager):
    """What starts after the router connects at once: told too early it fails, told never it waits for good."""
    router = routers.prepared(environment={"NOTIFY_SOCKET": manager.variable})
    router.port = free_port()
    router._spawn(None)
    assert manager.expect("READY")["READY"] == "1"
    assert router.value("tenant", "SELECT 1") == 1
    assert "serving" in manager.expect("STATUS", within=5)["STATUS"]
    router.stop()
    assert manager.expect("STOPPING", within=5)["STOPPING"] == "1"


def test_why_it_does_not_start(routers, manager, tmp_path):
    """`systemctl status` shows the last line; the reason must not be somewhere above it in a journal."""
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    environment = {"NOTIFY_SOCKET": manager.variable}
    result = command("serve", "--port", port, "--dir", tmp_path / "data", environment=environment)
    taken.close()
    assert result.returncode == 1
    assert "in use" in manager.expect("STATUS", within=5)["STATUS"]


@pytest.mark.parametrize("manager", ["abstract"], indirect=True)
def test_the_watchdog_hears_from_the_thread_that_works(routers, manager):
    """A ping from a thread of its own goes on while the one that serves hangs: the watchdog never bites."""
    router = routers(environment={"NOTIFY_SOCKET": manager.variable, "WATCHDOG_USEC": "400000"})
    manager.expect("READY")
    pings = [message for message in manager.collect(1.5) if message.get("WATCHDOG") == "1"]
    assert len(pings) >= 4, f"{len(pings)} pings in 1.5 s, where 7 are due"
    assert "0 sessions" in pings[-1]["STATUS"]
    with stopped(reactor_thread(router.pid)):
        manager.collect(0.3)
        assert not manager.collect(1.0), "the router that hangs is said to be alive"
    assert manager.expect("WATCHDOG", within=5)


def test_what_is_said_is_said_by_the_router_alone(routers, manager):
    """PostgreSQL says READY and STOPPING too: an instance that inherited the variable would stop the service. Pings for
    another process would hide that one's death, and sockets passed to another are not there."""
    other = str(os.getpid())
    router = routers(environment={
        "NOTIFY_SOCKET": manager.variable, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": other, "LISTEN_PID": other,
        "LISTEN_FDS": "1"})
    manager.expect("READY")
    router.value("tenant", "SELECT 1")
    inherited = Path(f"/proc/{router.postmaster('tenant')}/environ").read_bytes()
    assert not [name for name in (manager.variable, "LISTEN_", "WATCHDOG_") if name.encode() in inherited]
    os.kill(router.postmaster("tenant"), signal.SIGINT)
    assert not [message for message in manager.collect(0.5) if {"STOPPING", "READY", "WATCHDOG"} & set(message)]


def test_nobody_to_tell(listening, tmp_path):
    """An address that means nothing is no reason not to serve."""
    _, _, port = listening
    for address in ("relative", "@", "/" + "x" * 108):
        result = command("serve", "--port", port, "--dir", tmp_path / "data", environment={"NOTIFY_SOCKET": address})
        assert "NOTIFY_SOCKET" in result.stderr and "in use" in result.stderr


# Reloads


def reload(router, manager, expected):
    """As `systemctl reload` does: it returns when the router says that it is ready again. `expected` is what it logs, in
    a thread of its own."""
    asked = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    os.kill(router.pid, signal.SIGHUP)
    begun = manager.expect("RELOADING", within=10)
    assert begun["RELOADING"] == "1"
    assert asked <= int(begun["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert manager.expect("READY", within=10)["READY"] == "1"
    assert processes.eventually(lambda: expected in router.log, 5), router.log


def test_a_reload_is_told_from_its_beginning_to_its_end(routers, manager):
    """`systemctl reload` returned before anything had changed; and where the new file had a mistake, never."""
    router = routers.prepared(environment={"NOTIFY_SOCKET": manager.variable})
    file = router.home / "routerd.toml"
    file.write_text("max-instances = 7\n")
    router.arguments += ["--config", file]
    router.start()
    manager.expect("READY")
    file.write_text("max-instances = 8\n")
    reload(router, manager, "max-instances: 7 → 8")
    file.write_text("max-instances = \n")
    reload(router, manager, "stays as it is")


def test_a_reload_without_a_file_stops_nothing(routers, manager):
    """SIGHUP means that a terminal was closed, and `systemctl reload` took the service away from its clients."""
    router = routers(environment={"NOTIFY_SOCKET": manager.variable})
    manager.expect("READY")
    reload(router, manager, "there is no configuration file")
    assert router.value("tenant", "SELECT 1") == 1


# Sockets


@pytest.fixture
def listening():
    """Sockets bound by the test: one of TCP, one with a name."""
    directory = temporary_directory()
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    port = tcp.getsockname()[1]
    unix.bind(f"{directory}/.s.PGSQL.{port}")
    unix.listen()
    os.chmod(f"{directory}/.s.PGSQL.{port}", 0o777)
    yield [tcp, unix], directory, port
    tcp.close()
    unix.close()
    Path(f"{directory}/.s.PGSQL.{port}").unlink()
    directory.rmdir()


def _pass(router, sockets):
    """As a service manager does: the first socket is descriptor 3, and the variables name the process itself."""
    script = 'next=3; for number in $PASSED; do eval "exec $next<&$number $number<&-"; next=$((next + 1)); done; '
    router.launcher = ["bash", "-c", script + 'LISTEN_PID=$$ LISTEN_FDS=$((next - 3)) exec "$@"', "bash"]
    # Above all that could be in the way.
    router.inherited = [_high(one) for one in sockets]
    router.environment["PASSED"] = " ".join(map(str, router.inherited))
    return router


def _high(one):
    return fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, 200)


def test_sockets_that_were_passed_are_served(routers, listening):
    """With the port held by somebody else nobody is refused while the router is restarted: clients wait instead."""
    sockets, directory, port = listening
    router = _pass(routers.prepared(), sockets).start(port=port)
    try:
        assert "--port" in router.log and "no effect" in router.log
        assert router.value("tenant", "SELECT 1") == 1
        router.host = str(directory)
        assert router.value("tenant", "SELECT 2") == 2
        router.stop()
        assert (directory / f".s.PGSQL.{port}").exists(), "the socket belongs to whoever made it"
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(router.value("tenant", "SELECT 3")))
        waiting.start()
        time.sleep(0.2)
        assert not answers
        router.start(port=port)
        waiting.join(30)
        assert answers == [3]
    finally:
        for number in router.inherited:
            os.close(number)


def test_a_socket_that_cannot_be_served(routers, listening, tmp_path):
    """It would be found out with the first client, or never."""
    sockets, _, port = listening
    everybody = socket.create_server(("0.0.0.0", 0))
    for given, code, reason in [
        ([sockets[0], socket.socket()], 1, "descriptor 4 was passed"),
        ([socket.socket(type=socket.SOCK_DGRAM)], 1, "descriptor 3 was passed"),
        ([everybody], 2, "--allow-remote-without-authentication"),
    ]:
        router = _pass(routers.prepared(), given)
        router.port = port
        router._spawn(None)
        router.expect_exit(code)
        assert reason in router.log
        for number in router.inherited:
            os.close(number)
    everybody.close()
