"""A length field is a claim by a stranger, wherever in a session it stands."""

import struct

import pytest

import processes
import wire

LENGTHS = [0, 3, 4, 2**31 - 1]
# The positions of a live session in which a client's next message may come, each by what it sent before.
POSITIONS = {
    "first": b"",
    "behind a query": wire.query_message("SELECT 1"),
    "inside a failed transaction": wire.query_message("BEGIN; SELECT 1 / 0"),
    "between Parse and Sync": wire.message(b"P", b"\0SELECT 1\0\0\0"),
    "inside COPY": wire.query_message("CREATE TEMP TABLE t (a int); COPY t FROM STDIN"),
}
TAGS = [b"B", b"C", b"D", b"E", b"F", b"H", b"P", b"Q", b"S", b"X", b"c", b"d", b"f", b"p"]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("position", POSITIONS)
def test_in_every_position_of_a_session(router, position, length):
    """A length was allocated as given (row 8). Whatever it says, that session ends or goes on, and no other notices."""
    with router.wire() as bystander:
        bystander.startup("alice", "lengths")
        before = processes.memory(router.pid, "VmRSS")
        for tag in TAGS:
            with router.wire(timeout=5) as connection:
                connection.startup("alice", "lengths")
                connection.send(POSITIONS[position] + tag + struct.pack("!I", length))
                if length < 4 or length > 0x3FFFFFFF:
                    assert connection.is_closed(within=5), (position, tag, length)
        assert bystander.query("SELECT 1").value == "1"
        assert processes.memory(router.pid, "VmRSS") - before < 8 << 20


@pytest.mark.parametrize("cut", range(1, 5))
@pytest.mark.parametrize("length", [0, 3, 2**31 - 1])
def test_in_two_pieces(router, cut, length):
    """The header is judged when it is whole, wherever it was cut."""
    data = b"Q" + struct.pack("!I", length)
    with router.wire(timeout=5) as connection:
        connection.startup("alice", "lengths")
        connection.drip(data[:cut])
        assert connection.is_closed(within=0.05) is False
        connection.send(data[cut:])
        assert connection.is_closed(within=5)


@pytest.mark.parametrize("length", [0, 3, 2**31 - 1])
def test_behind_the_startup_packet(router, length):
    """What waits for ReadyForQuery is judged like everything else, and the client reads why it is dismissed."""
    with router.wire(timeout=5) as connection:
        connection.send(wire.startup_packet("alice", "lengths") + b"Q" + struct.pack("!I", length))
        errors = connection.until_ready().errors
        if not errors:
            errors = connection.until_ready().errors
        assert [(error.severity, error.sqlstate) for error in errors] == [("FATAL", "08P01")]
