"""The ways in: IPv4, IPv6, a Unix socket."""

import os
import pwd
import socket

import pytest

import wire
from router import IS_ROOT, RUN_AS, temporary_directory


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


def test_localhost_is_every_loopback_address(routers):
    """`localhost` is two addresses; psql tries ::1 first, and another server answered there."""
    router = routers(host="localhost")
    assert router.value("tenant", "SELECT 1") == 1


def test_unix_socket(routers):
    """libpq finds `.s.PGSQL.<port>` by directory and port."""
    directory = temporary_directory()
    try:
        router = routers("--socket-dir", directory)
        path = directory / f".s.PGSQL.{router.port}"
        with wire.Connection(str(path)) as connection:
            connection.startup("alice", "tenant")
            assert connection.query("SELECT current_database()").value == "tenant"
        tcp_host, router.host = router.host, str(directory)
        assert router.value("tenant", "SELECT 1") == 1
        with router.connect("tenant") as connection:
            with pytest.raises(Exception, match="canceling"):
                import threading

                threading.Timer(0.3, connection.cancel).start()
                connection.execute("SELECT pg_sleep(20)")
        router.host = tcp_host
        router.stop()
        assert not path.exists()
    finally:
        for entry in directory.iterdir():
            entry.unlink()
        directory.rmdir()


def test_a_stale_socket_file_is_replaced(routers):
    """A stale socket path was believed, and the router refused to start after a crash (row 10)."""
    directory = temporary_directory()
    try:
        router = routers.prepared("--socket-dir", directory)
        router.start()
        path = directory / f".s.PGSQL.{router.port}"
        port = router.port
        router.kill()
        assert path.exists()
        router.expect_no_process(within=3)
        os.environ.pop("PGHOST", None)
        import router as module

        original, module.free_port = module.free_port, lambda: port
        try:
            router.start()
        finally:
            module.free_port = original
        with wire.Connection(str(path)) as connection:
            assert not connection.startup("alice", "tenant").errors
    finally:
        for entry in directory.iterdir():
            entry.unlink()
        directory.rmdir()


def test_keepalive_and_no_delay_on_client_sockets(routers):
    """A vanished client holds its lease for ever; Nagle's algorithm adds 40 ms to every round trip."""
    import subprocess
    import shutil

    if not shutil.which("ss"):
        pytest.skip("ss is not installed")
    router = routers()
    with router.wire() as connection:
        connection.startup("alice", "tenant")
        output = subprocess.run(
            ["ss", "-tnoH", "state", "established", f"( sport = :{router.port} )"], capture_output=True, text=True,
            check=True).stdout
    assert "keepalive" in output
