"""What a session leaves behind is waited for, but not for ever. The deadlines themselves take a while."""

import os
import signal
import socket
import struct
import time

import pytest
from psycopg.rows import dict_row

import processes
import wire
from console import control

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif("ROUTERD_SOAK" not in os.environ, reason="waits for minute-long deadlines: `make soak`"),
]
FLUSH, ABANDON = 60, 15  # seconds


@pytest.fixture
def console(router):
    with control(router, row_factory=dict_row) as console:
        yield console


def client(console, name):
    """What the console says of the only client of a tenant, or None."""
    rows = [row for row in console.execute("SHOW CLIENTS").fetchall() if row["database"] == name]
    return rows[0] if rows else None


def ends_after(seconds, console, name):
    """Whether the session ends at its deadline: neither well before nor well after it."""
    began = time.monotonic()
    assert processes.eventually(lambda: client(console, name) is None, seconds + 5, interval=0.2)
    return seconds - 2 < time.monotonic() - began


def test_a_client_that_does_not_take_its_last_bytes(router, name, console):
    """It kept its place for as long as its socket was open."""
    with router.wire(receive_buffer=4096) as connection:
        connection.startup("alice", name)
        connection.send(wire.query_message("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"))
        time.sleep(0.5)
        console.execute(f"KILL_CLIENT {client(console, name)['id']}")
        assert client(console, name)["state"] == "closing"
        assert ends_after(FLUSH, console, name)


def test_a_backend_that_does_not_notice_that_its_client_has_gone(router, name, console):
    """It held its client's lease for as long as it liked."""
    connection = router.wire()
    pid = connection.startup("alice", name).key[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        connection.send(wire.query_message("SELECT 1"))
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        assert ends_after(ABANDON, console, name)
        assert processes.state(pid) == "T"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert router.value(name, "SELECT 1") == 1
