"""The ways in: IPv4, IPv6, a Unix socket."""

import shutil
import socket
import subprocess
import threading

import psycopg
import pytest

import wire
from router import temporary_directory


@pytest.fixture
def socket_directory():
    path = temporary_directory()
    yield path
    shutil.rmtree(path)


def _ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not _ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6(routers):
    """An address with colons broke whoever split at the first one."""
    router = routers(host="::1")
    assert router.value("tenant", "SELECT 1") == 1


def test_a_host_name(routers):
    """A name in place of an address is resolved once, at start."""
    router = routers(host="localhost")
    assert router.value("tenant", "SELECT 1") == 1


def test_unix_socket(socket_directory, routers):
    """libpq finds `.s.PGSQL.<port>` by directory and port."""
    router = routers("--socket-dir", socket_directory)
    path = socket_directory / f".s.PGSQL.{router.port}"
    with wire.Connection(str(path)) as connection:
        connection.startup("alice", "tenant")
        assert connection.query("SELECT current_database()").value == "tenant"
    tcp_host, router.host = router.host, str(socket_directory)
    assert router.value("tenant", "SELECT 1") == 1
    with router.connect("tenant") as connection:
        threading.Timer(0.3, connection.cancel).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
    router.host = tcp_host
    router.stop()
    assert not path.exists()


def test_a_stale_socket_file_is_replaced(socket_directory, routers):
    """A stale socket path was believed, and the router refused to start after a crash."""
    router = routers("--socket-dir", socket_directory)
    path = socket_directory / f".s.PGSQL.{router.port}"
    port = router.port
    router.kill()
    assert path.exists()
    router.expect_no_process(within=3)
    router.start(port=port)
    with wire.Connection(str(path)) as connection:
        assert not connection.startup("alice", "tenant").errors


def test_keepalive_and_no_delay_on_client_sockets(routers):
    """A vanished client holds its lease for ever; Nagle's algorithm adds 40 ms to every round trip."""
    if not shutil.which("ss"):
        pytest.skip("ss is not installed")
    router = routers()
    with router.wire() as connection:
        connection.startup("alice", "tenant")
        output = subprocess.run(
            ["ss", "-tnoH", "state", "established", f"( sport = :{router.port} )"], capture_output=True, text=True,
            check=True).stdout
    assert "keepalive" in output
