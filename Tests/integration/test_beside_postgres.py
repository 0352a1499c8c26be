"""First packets, each compared with what a real PostgreSQL, started here, answers to the same bytes."""

import os
import pwd
import struct
import subprocess
import time

import pytest

import wire
from router import IS_ROOT, RUN_AS, postgres_program, temporary_directory

SSL, GSSENC = wire.SSL_REQUEST, wire.GSSENC_REQUEST
DATABASE = "postgres"
PORT = "5432"


def startup(minor=0, **more):
    return wire.startup_packet(USER, DATABASE, version=wire.VERSION_3_0 + minor, **more)


def twice(user, database, name, value):
    """A startup packet that says one thing again, and otherwise."""
    body = wire.startup_packet(user, database)[4:-1] + name + b"\0" + value + b"\0\0"
    return struct.pack("!i", len(body) + 4) + body


USER = RUN_AS if IS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
START = startup()

# Each is a list of segments; the next is sent when the one before was answered or ignored for a moment.
SEQUENCES = {
    "3.0": [START],
    "SSL, 3.0": [SSL, START],
    "GSSENC, 3.0": [GSSENC, START],
    "SSL, GSSENC, 3.0": [SSL, GSSENC, START],
    "GSSENC, SSL, 3.0": [GSSENC, SSL, START],
    "SSL, SSL, 3.0": [SSL, SSL, START],
    "GSSENC, GSSENC, 3.0": [GSSENC, GSSENC, START],
    "SSL and 3.0 in one segment": [SSL + START],
    "GSSENC and 3.0 in one segment": [GSSENC + START],
    "SSL, then GSSENC and 3.0 in one segment": [SSL, GSSENC + START],
    "3.1": [startup(1)],
    "3.2": [startup(2)],
    "3.9999": [startup(9999)],
    "3.9999 with an option": [startup(9999, **{"_pq_.unheard": "of"})],
    "an unknown option": [startup(**{"_pq_.unheard": "of"})],
    "three unknown options": [startup(**{"_pq_.a": "1", "_pq_.b": "", "_pq_.test_protocol_negotiation": "x"})],
    "an option without a name": [startup(**{"_pq_.": "x"})],
    "2.0": [startup(-(1 << 16))],
    "1.0": [startup(-(2 << 16))],
    "4.0": [startup(1 << 16)],
    "no user": [wire.startup_packet(None, DATABASE)],
    "an empty user": [wire.startup_packet("", DATABASE)],
    "no parameter at all": [wire.startup_packet()],
    "a user twice": [twice("nobody", DATABASE, b"user", USER.encode())],
    "a database twice": [twice(USER, "nothing", b"database", b"postgres")],
    "a user without a value": [struct.pack("!ii", 13, wire.VERSION_3_0) + b"user\0"],
    "no terminator": [struct.pack("!i", len(START) - 1) + START[4:-1]],
    "bytes behind the terminator": [struct.pack("!i", len(START) + 3) + START[4:] + b"abc"],
    "an unknown parameter": [startup(no_such_setting="1")],
    "a bad value": [startup(DateStyle="nonsense")],
    "bad options": [startup(options="--nonsense")],
    "a replication value that is none": [startup(replication="maybe")],
    "a logical replication connection": [startup(replication="database")],
    "length 0": [b"\0\0\0\0"],
    "length 3": [b"\0\0\0\x03"],
    "length 4": [b"\0\0\0\x04"],
    "length 7": [b"\0\0\0\x07" + b"abc"],
    "length 8, version 3.0": [struct.pack("!ii", 8, wire.VERSION_3_0)],
    "length 10,005": [struct.pack("!i", 10_005)],
    "length 2^31-1": [b"\x7f\xff\xff\xff"],
    "length 2^32-1": [b"\xff\xff\xff\xff"],
    "a TLS handshake": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 508],
    "HTTP": [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    "a cancel of nobody": [wire.cancel_request(1, b"abcd")],
    "SSL, a cancel of nobody": [SSL, wire.cancel_request(1, b"abcd")],
    "a cancel without a key": [struct.pack("!ii", 8, 80877102)],
    "a cancel with half a process id": [struct.pack("!ii", 10, 80877102) + b"ab"],
}

# Where routerd answers otherwise on purpose: it leaves out the N, for what follows it is refused unread.
ON_PURPOSE = {
    "SSL and 3.0 in one segment": ["FATAL 08P01", "closed"],
    "GSSENC and 3.0 in one segment": ["FATAL 08P01", "closed"],
    "SSL, then GSSENC and 3.0 in one segment": ["N", "FATAL 08P01", "closed"],
}


@pytest.fixture(scope="module")
def postgres():
    """The socket of a PostgreSQL without a router. Over TCP it would offer GSS encryption, which routerd never does."""
    home = temporary_directory()
    become = ["runuser", "-u", RUN_AS, "--"] if IS_ROOT else []
    data = home / "data"
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": home}
    initdb = [postgres_program("initdb"), "-D", data, "-A", "trust", "-U", USER, "-N"]
    subprocess.run([*become, *initdb], check=True, **quiet)
    server = subprocess.Popen(
        [*become, postgres_program("postgres"), "-D", data, "-p", PORT, "-c", "listen_addresses=", "-c", f"unix_socket_directories={home}",
         "-c", "fsync=off"], **quiet)
    address = f"{home}/.s.PGSQL.{PORT}"
    try:
        _wait_for(address, server)
        yield address
    finally:
        subprocess.run([*become, postgres_program("pg_ctl"), "-D", data, "-m", "fast", "-w", "stop"], **quiet)
        server.wait(10)
        subprocess.run(["rm", "-rf", home], check=True)


@pytest.fixture(scope="module")
def tenant(router):
    """The router's address; the tenant exists, so that nobody is told that it was created."""
    router.value(DATABASE, "SELECT 1", user=USER)
    return router.address


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_first_packets_are_answered_as_postgres_does(tenant, postgres, sequence):
    """GSSENC, then SSL, then startup was misread; clients that ask for unknown options were dropped (row 18)."""
    expected = answer(postgres, SEQUENCES[sequence])
    given = answer(tenant, SEQUENCES[sequence])
    if sequence in ON_PURPOSE:
        assert given == ON_PURPOSE[sequence]
        assert expected[-2:] == given[-2:]
    elif expected == ["closed"]:
        # PostgreSQL tells its log only; a client may be told as well.
        assert given in (["closed"], ["FATAL 08P01", "closed"])
    else:
        assert given == expected


def answer(address, segments):
    """What the other side said, in words: single bytes, negotiation, SQLSTATEs, readiness, the end."""
    said = []
    with wire.Connection(address, timeout=5) as connection:
        try:
            for segment in segments[:-1]:
                connection.send(segment)
                said.append(connection.exactly(1).decode())
            connection.send(segments[-1])
            while "ready" not in said:
                said += _word(connection)
            return said
        except (wire.Closed, BrokenPipeError):
            return [*said, "closed"]


def _word(connection):
    tag = connection.exactly(1)
    if tag == b"N":
        return ["N"]
    (length,) = struct.unpack("!i", connection.exactly(4))
    body = connection.exactly(length - 4)
    if tag == b"E":
        error = wire.ServerError.parse(body)
        return [f"{error.severity} {error.sqlstate}"]
    if tag == b"v":
        return [f"negotiates {body.hex()}"]
    return ["ready"] if tag == b"Z" else []


def _wait_for(address, server):
    deadline = time.monotonic() + 20
    while True:
        try:
            with wire.Connection(address) as connection:
                if not connection.startup(USER, DATABASE).errors:
                    return
        except (OSError, wire.Closed):
            pass
        assert server.poll() is None and time.monotonic() < deadline, "PostgreSQL does not start"
        time.sleep(0.05)
