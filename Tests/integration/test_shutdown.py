"""One orderly stop, whatever is going on."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest

import processes
import wire
from router import BINARY, free_port
from terminal import CTRL_C, Terminal


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_clients_are_told(routers, signal_number):
    """Interrupt hung while a client was connected; clients saw a bare reset."""
    router = routers()
    with router.wire() as idle, router.wire() as busy, router.wire() as half_open:
        idle.startup("alice", "one")
        busy.startup("alice", "two")
        busy.send(wire.query_message("SELECT pg_sleep(60)"))
        half_open.send(b"\0\0")
        began = time.monotonic()
        router.stop(signal_number)
        assert time.monotonic() - began < 10
        for connection in (idle, busy):
            (error,) = connection.until_ready().errors
            assert (error.severity, error.sqlstate) == ("FATAL", "57P01")
        assert half_open.is_closed(within=1)


def test_a_closed_terminal_stops_orderly(routers):
    """SIGHUP ended the program where it stood, and every tenant's next start replayed WAL."""
    router = routers()
    router.value("tenant", "SELECT 1")
    router.stop(signal.SIGHUP)


def test_a_log_that_nobody_reads_does_not_hold_up_the_stop(routers):
    """A full pipe kept the program alive after its stop, deaf to signals."""
    router = routers.prepared()
    reader, writer = os.pipe()
    router.port = free_port()
    router.process = subprocess.Popen(
        [str(BINARY), "serve", "--port", str(router.port), "--dir", str(router.directory), "--log-level", "debug"],
        stdout=subprocess.DEVNULL, stderr=writer, cwd="/")
    os.close(writer)
    try:
        assert processes.eventually(lambda: answers(router), within=30)
        for _ in range(1500):
            with router.wire() as connection:
                connection.startup("routerd", "tenant")
        router.stop(within=8)
    finally:
        os.close(reader)


def test_closed_standard_streams_are_nobody_elses(routers):
    """The listener got descriptor 0, and the log was written into it."""
    router = routers.prepared()
    router.port = free_port()
    router.process = subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$0" "$@" 0<&- 1>&- 2>&-', str(BINARY), "serve", "--port", str(router.port), "--dir",
         str(router.directory)], cwd="/")
    assert processes.eventually(lambda: answers(router), within=30)
    for number in range(3):
        assert os.readlink(f"/proc/{router.pid}/fd/{number}") == "/dev/null"
    assert router.value("tenant", "SELECT 1") == 1
    router.stop()


def answers(router):
    try:
        router.wire(timeout=1).close()
    except OSError:
        return False
    return True


def test_drivers_report_the_shutdown(routers):
    """What an application sees in its log."""
    router = routers()
    with router.connect("tenant") as connection:
        threading.Timer(0.3, lambda: router.process.send_signal(signal.SIGTERM)).start()
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT pg_sleep(30)")
    router.expect_exit(0)


def test_an_open_transaction_is_rolled_back_and_nothing_recovers_afterwards(routers):
    """A stop that kills its instances makes every next start replay WAL."""
    router = routers()
    connection = router.connect("tenant", autocommit=False)
    connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    connection.commit()
    connection.execute("INSERT INTO kept VALUES (2)")
    router.stop()
    connection.close()
    router.restart()
    assert router.value("tenant", "SELECT count(*) FROM kept") == 1
    logs = "".join(path.read_text(errors="replace") for path in router.directory.glob(".routerd/logs/*"))
    assert "was not properly shut down" not in logs and "was interrupted" not in logs


def test_the_runtime_directory_is_removed(routers):
    """Socket directories of earlier runs piled up in /tmp until somebody ran out of inodes."""
    router = routers()
    router.value("tenant", "SELECT 1")
    sockets = Path(router.value("tenant", "SHOW unix_socket_directories"))
    assert sockets.is_dir() and sockets.stat().st_mode & 0o077 == 0
    assert sockets.parent.stat().st_mode & 0o077 == 0
    router.stop()
    assert not sockets.parent.exists()


def test_no_new_client_during_the_stop(routers):
    """A client that connects while the router stops is refused, not left hanging."""
    router = routers()
    with router.connect("tenant"):
        router.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 15
        while router.process.poll() is None and time.monotonic() < deadline:
            try:
                with router.wire(timeout=5) as late:
                    late.send(wire.startup_packet("alice", "late"))
                    errors = late.until_ready().errors
                    assert errors == [] or errors[0].sqlstate in ("57P01", "57P03"), errors
            except (OSError, wire.Closed):
                pass
            time.sleep(0.02)
    router.expect_exit(0)


def test_a_stop_during_a_first_connect(routers):
    """Half a cluster must not be taken for a whole one by the next start."""
    router = routers()
    for index, delay in enumerate((0.0, 0.01, 0.03, 0.06)):
        with router.wire() as connection:
            connection.send(wire.startup_packet("alice", f"half_{index}"))
            time.sleep(delay)
            router.stop()
        router.restart()
        assert router.value(f"half_{index}", "SELECT current_database()") == f"half_{index}"


def test_a_second_signal_hurries(routers):
    """A stopped backend makes PostgreSQL's fast shutdown wait for ever; whoever presses Ctrl-C twice means it."""
    router = routers()
    with router.connect("tenant") as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        router.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        router.process.send_signal(signal.SIGTERM)
        router.expect_exit(0, within=10)
    assert processes.state(backend) in (None, "Z", "X")


def test_the_ladder_ends_without_help(routers):
    """The same with one signal: each rung has its deadline."""
    router = routers()
    with router.connect("tenant") as connection:
        os.kill(connection.info.backend_pid, signal.SIGSTOP)
        router.process.send_signal(signal.SIGTERM)
        router.expect_exit(0, within=40)


def test_ctrl_c_on_a_terminal(routers):
    """The terminal signals the whole foreground group: without a session of their own every postmaster got the
    SIGINT too, and the router took their orderly exits for crashes."""
    router = routers.prepared()
    with Terminal() as terminal:
        router.start(terminal)
        with router.wire() as connection:
            connection.startup("alice", "tenant")
            family = processes.descendants(router.pid)
            terminal.type(CTRL_C)
            router.expect_exit(0)
            router.expect_no_process(family)
            assert connection.until_ready().errors[0].sqlstate == "57P01"
