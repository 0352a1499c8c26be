"""Values far larger than any buffer, with readers slower than their writers."""

import contextlib
import hashlib
import socket
import threading
import time

import psycopg
import pytest

import processes
import wire

MEBIBYTE = 1 << 20
LARGE = 64 * MEBIBYTE
MEMORY_LIMIT = 64 * MEBIBYTE


@pytest.fixture(autouse=True)
def bounded_memory(router):
    """A length field was allocated as given, a slow reader's data piled up in memory."""
    yield
    most = processes.memory(router.pid, "VmHWM")
    assert most < MEMORY_LIMIT, f"routerd took {most / MEBIBYTE:.0f} MiB"


@contextlib.contextmanager
def others_are_served(router, name):
    """Another session asks all the time, and is answered."""
    slowest = [0.0]
    done = threading.Event()

    def ask_meanwhile():
        with router.connect(name) as connection:
            while not done.is_set():
                began = time.monotonic()
                connection.execute("SELECT 1")
                slowest[0] = max(slowest[0], time.monotonic() - began)
                time.sleep(0.005)

    meanwhile = threading.Thread(target=ask_meanwhile)
    meanwhile.start()
    try:
        yield
    finally:
        done.set()
        meanwhile.join()
    assert 0 < slowest[0] < 1.0, f"the other session waited {slowest[0]:.2f} s"


def test_64_mb_in_and_out_while_others_are_served(router, name):
    """A large value held the event loop until its last byte, and every other session with it."""
    value = (b"0123456789abcdef" * (LARGE // 16))[:LARGE]
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE large (value bytea)")
        connection.execute("ALTER TABLE large ALTER value SET STORAGE EXTERNAL")
        with others_are_served(router, name):
            connection.execute("INSERT INTO large VALUES (%b)", (value,))
            returned = connection.execute("SELECT value FROM large", binary=True).fetchone()[0]
    assert hashlib.sha256(returned).digest() == hashlib.sha256(value).digest()


def test_64_mb_to_a_slow_reader(router, name):
    """While the client reads nothing, the router must stop reading too."""
    with router.wire(timeout=60, receive_buffer=65536) as connection:
        connection.startup("alice", name)
        connection.send(wire.query_message(f"SELECT repeat('x', {LARGE})"))
        time.sleep(1.5)
        assert processes.memory(router.pid, "VmRSS") < MEMORY_LIMIT
        with router.connect(name) as other:
            assert other.execute("SELECT 1").fetchone() == (1,)
        transcript = connection.until_ready()
        assert len(transcript.value) == LARGE


def test_64_mb_both_ways_at_once(router, name):
    """Both directions full at the same time: a router that waits for one before it serves the other deadlocks."""
    queries, size = 64, MEBIBYTE
    with router.wire(timeout=60, receive_buffer=65536) as connection:
        connection.startup("alice", name)
        failures = []

        def write():
            try:
                for index in range(queries):
                    text = f"{index:08d}" + "y" * (size - 8)
                    connection.send(wire.extended_query("SELECT $1::text", text))
            except OSError as error:
                failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        for index in range(queries):
            if index < 8:
                time.sleep(0.05)  # slow at first, so that every buffer on the way is full once
            value = connection.until_ready().value
            assert len(value) == size and value.startswith(f"{index:08d}")
        writer.join()
        assert not failures


def test_one_row_of_64_mb_each_way_with_a_slow_reader(router, name):
    """Messages above 300 KB deadlocked where the answer to one met the next: here each is as long as they come, the
    next is on its way while nobody reads the last, and what the router holds of both is a few buffers."""
    with router.wire(timeout=60, receive_buffer=65536) as connection:
        connection.startup("alice", name)
        writer = threading.Thread(target=lambda: [
            connection.send(wire.extended_query("SELECT $1::text", letter * LARGE)) for letter in ("a", "b")])
        before = processes.memory(router.pid, "VmRSS")
        writer.start()
        with others_are_served(router, name):
            for letter in (b"a", b"b"):
                [(_, row)] = [message for message in slowly(connection) if message[0] == b"D"]
                assert row[6:] == letter * LARGE
                grown = processes.memory(router.pid, "VmRSS") - before
                assert grown < 8 * MEBIBYTE, f"{grown / MEBIBYTE:.0f} MiB more"
        writer.join()


def slowly(connection):
    """The messages up to ReadyForQuery; the first megabyte of each takes half a second."""
    while True:
        header = connection.exactly(5)
        left, parts = int.from_bytes(header[1:], "big") - 4, []
        while left:
            parts.append(connection.exactly(min(left, 65536)))
            left -= len(parts[-1])
            if len(parts) < 16 and left:
                time.sleep(0.03)
        if header[:1] == b"Z":
            return
        yield header[:1], b"".join(parts)


def test_a_client_that_leaves_in_the_middle_of_a_result(router, name):
    """The backend of a vanished client ran on, and its lease with it."""
    with router.wire(receive_buffer=65536) as connection:
        connection.startup("alice", name)
        connection.send(wire.query_message("SELECT repeat('x', 1000000) FROM generate_series(1, 100000)"))
        connection.exactly(100_000)
    with router.connect(name) as observer:
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        assert processes.eventually(lambda: observer.execute(sessions).fetchone() == (0,), within=5)


def test_a_client_that_leaves_in_the_middle_of_a_message(router, name):
    """Half a message, then a reset: neither the backend nor the next client may take the rest for a message."""
    connection = router.wire()
    connection.startup("alice", name)
    connection.query("CREATE TABLE untouched (value text)")
    connection.send(wire.query_message("INSERT INTO untouched VALUES ('" + "z" * 100_000 + "')")[:50_000])
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    assert router.value(name, "SELECT count(*) FROM untouched") == 0


def test_copy_a_million_rows(router, name):
    """COPY in both directions, where a result is millions of small messages rather than one large one."""
    rows = 1_000_000
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE copied (n int, text text)")
        with connection.cursor().copy("COPY copied FROM STDIN") as copy:
            for start in range(0, rows, 10_000):
                copy.write("".join(f"{n}\trow {n}\n" for n in range(start, start + 10_000)))
        assert connection.execute("SELECT count(*), sum(n::bigint) FROM copied").fetchone() == (
            rows, rows * (rows - 1) // 2)
        received, digest = 0, hashlib.sha256()
        with connection.cursor().copy("COPY (SELECT * FROM copied ORDER BY n) TO STDOUT") as copy:
            for chunk in copy:
                received += bytes(chunk).count(b"\n")
                digest.update(chunk)
        assert received == rows
        expected = hashlib.sha256()
        for start in range(0, rows, 10_000):
            expected.update("".join(f"{n}\trow {n}\n" for n in range(start, start + 10_000)).encode())
        assert digest.digest() == expected.digest()


def test_copy_that_fails_in_the_middle(router, name):
    """CopyFail and an error of the server's while the client still sends: the session goes on afterwards."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE strict (n int)")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            with connection.cursor().copy("COPY strict FROM STDIN") as copy:
                for _ in range(200):
                    copy.write("1\n" * 5_000 + "no number\n")
        with pytest.raises(RuntimeError):
            with connection.cursor().copy("COPY strict FROM STDIN") as copy:
                copy.write("1\n")
                raise RuntimeError("changed my mind")
        assert connection.execute("SELECT count(*) FROM strict").fetchone() == (0,)
