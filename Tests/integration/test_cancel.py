"""A cancel request comes on a connection of its own and names no database: only a key."""

import struct
import threading
import time

import psycopg
import pytest

import wire
from router import clean_environment, postgres_program
from terminal import CTRL_C, Terminal


def test_ctrl_c_in_psql(router, name):
    """Ctrl-C sent a cancel request that nobody understood, and the query ran to its end."""
    command = [postgres_program("psql"), "--no-psqlrc", router.conninfo(name)]
    environment = clean_environment() | {"TERM": "dumb", "PAGER": "cat"}
    with Terminal() as terminal:
        psql = terminal.start(command, env=environment)
        try:
            terminal.read_until(f"{name}=".encode())
            terminal.type(b"SELECT pg_sleep(60);\n")
            with router.connect(name) as observer:
                _until_sleeping(observer)
            began = time.monotonic()
            terminal.type(CTRL_C)
            terminal.read_until(b"canceling statement due to user request")
            assert time.monotonic() - began < 5
            terminal.type(b"SELECT 6 * 7 AS still_connected;\n")
            terminal.read_until(b"42")
            terminal.type(b"\\q\n")
            assert psql.wait(10) == 0
        finally:
            psql.kill()
            psql.wait()


def test_cancel_through_libpq(router, name):
    """PQcancel, which most drivers call."""
    with router.connect(name) as connection:
        timer = threading.Timer(0.5, connection.cancel)
        timer.start()
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
        assert time.monotonic() - began < 5
        timer.join()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_cancel_meets_only_its_own_session(router, name):
    """Process ids of two instances may be equal; a cancel for one must not reach the other's session."""
    with router.connect(name + "_1") as one, router.connect(name + "_2") as other:
        timer = threading.Timer(0.3, one.cancel)
        timer.start()
        other.execute("SELECT pg_sleep(1)")
        timer.join()
        assert one.execute("SELECT 1").fetchone() == (1,)


def test_the_process_id_is_the_backends(router, name):
    """Administrators look a process id up in pg_stat_activity; the secret is the router's and new for each session."""
    keys = set()
    for _ in range(5):
        with router.wire() as connection:
            process_id, secret = connection.startup("alice", name).key
            assert int(connection.query("SELECT pg_backend_pid()").value) == process_id
            assert len(secret) == 4
            keys.add(secret)
    assert len(keys) == 5


def test_wrong_keys_cancel_nothing_and_get_no_answer(router, name):
    """A storm of cancel requests with guessed keys must cost nothing and reveal nothing."""
    with router.wire() as connection:
        process_id, secret = connection.startup("alice", name).key
        (number,) = struct.unpack("!I", secret)
        connection.send(wire.query_message("SELECT pg_sleep(2), 'done'"))
        wrong = [(process_id, number ^ (1 << bit)) for bit in range(32)]
        wrong += [(process_id + other, number) for other in (-1, 1, 1000)] + [(0, 0), (-1, number), (process_id, 0)]
        wrong *= 5
        for wrong_id, wrong_number in wrong:
            with router.wire() as canceller:
                canceller.send(wire.cancel_request(wrong_id, struct.pack("!I", wrong_number)))
                with pytest.raises(wire.Closed):
                    canceller.exactly(1)
        assert connection.until_ready().rows[0][1] == "done"


@pytest.mark.parametrize("how", ["byte by byte", "behind SSLRequest"])
def test_cancel_in_pieces(router, name, how):
    """A cancel request is a first packet like others: it may come in pieces, and after a refused encryption."""
    with router.wire() as connection:
        key = connection.startup("alice", name).key
        connection.send(wire.query_message("SELECT pg_sleep(20)"))
        with router.connect(name) as observer:
            _until_sleeping(observer)
        with router.wire() as canceller:
            if how == "byte by byte":
                canceller.drip(wire.cancel_request(*key))
            else:
                canceller.send(wire.SSL_REQUEST)
                assert canceller.exactly(1) == b"N"
                canceller.send(wire.cancel_request(*key))
            assert canceller.is_closed(within=5)
        (error,) = connection.until_ready().errors
        assert error.sqlstate == "57014"


def test_an_old_key_cancels_nothing(router, name):
    """A key outlived its session, and cancelled whoever got the process id next."""
    with router.wire() as connection:
        old = connection.startup("alice", name).key
        connection.send(wire.message(b"X"))
        assert connection.is_closed(within=5)
    with router.wire() as connection:
        connection.startup("alice", name)
        connection.send(wire.query_message("SELECT pg_sleep(0.5), 'done'"))
        with router.wire() as canceller:
            canceller.send(wire.cancel_request(*old))
            assert canceller.is_closed(within=5)
        assert connection.until_ready().rows[0][1] == "done"


def _until_sleeping(observer):
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    deadline = time.monotonic() + 10
    while observer.execute(sleeping).fetchone() == (0,):
        assert time.monotonic() < deadline, "the query never began"
        time.sleep(0.02)
