"""First packets in every order and size, each with PostgreSQL's own answer."""

import struct

import pytest

import wire

VERSION_2_0 = 2 << 16
SSL, GSSENC = wire.SSL_REQUEST, wire.GSSENC_REQUEST


@pytest.mark.parametrize("fed", ["whole", "byte by byte"])
@pytest.mark.parametrize(
    "requests", [[], [SSL], [GSSENC], [SSL, GSSENC], [GSSENC, SSL]],
    ids=["none", "SSL", "GSSENC", "SSL, GSSENC", "GSSENC, SSL"])
def test_encryption_requests_are_declined_and_the_startup_follows(router, requests, fed):
    """GSSENC, then SSL, then startup on one socket was misread; split packets were dropped."""
    with router.wire() as connection:
        feed = connection.send if fed == "whole" else connection.drip
        for request in requests:
            feed(request)
            assert connection.exactly(1) == b"N"
        feed(wire.startup_packet("alice", "first_packets"))
        assert not connection.until_ready().errors
        assert connection.query("SELECT 1").value == "1"


@pytest.mark.parametrize("request_", [SSL, GSSENC], ids=["SSL", "GSSENC"])
def test_bytes_behind_an_encryption_request_are_refused(router, request_):
    """Whatever is buffered before encryption begins could have been injected by somebody in the middle."""
    with router.wire() as connection:
        connection.send(request_ + wire.startup_packet("alice", "injected"))
        received = b""
        try:
            while True:
                received += connection.exactly(1)
        except wire.Closed:
            pass
        assert b"R\0\0\0\x08\0\0\0\0" not in received
        if received.lstrip(b"N"):
            error = wire.ServerError.parse(received.lstrip(b"N")[5:])
            assert error.sqlstate == "08P01"
    assert "injected" not in router.tenants()


def test_startup_and_first_query_in_one_segment(router):
    """Clients that do not wait: what comes behind the startup packet is for the backend, not garbage."""
    with router.wire() as connection:
        connection.send(wire.startup_packet("alice", "first_packets") + wire.query_message("SELECT 'early'"))
        assert not connection.until_ready().errors
        assert connection.until_ready().value == "early"


def test_startup_parameters_arrive(router):
    """Everything in the startup packet goes on to PostgreSQL."""
    with router.wire() as connection:
        transcript = connection.startup(
            "alice", "first_packets", application_name="told", options="-c work_mem=9MB", TimeZone="Asia/Tokyo")
        assert transcript.parameters["application_name"] == "told"
        assert transcript.parameters["TimeZone"] == "Asia/Tokyo"
        assert connection.query("SHOW work_mem").value == "9MB"


def test_a_parameter_postgresql_refuses(router):
    """PostgreSQL's own error reaches the client as it is."""
    with router.wire() as connection:
        (error,) = connection.startup("alice", "first_packets", no_such_setting="1").errors
        assert (error.severity, error.sqlstate) == ("FATAL", "42704")
        assert connection.is_closed(within=2)


@pytest.mark.parametrize("minor, options", [(2, {}), (9, {}), (0, {"_pq_.unheard": "of"}), (9, {"_pq_.unheard": "of"})])
def test_newer_minor_versions_are_negotiated(router, minor, options):
    """Newer clients that ask for unknown protocol options were dropped."""
    with router.wire() as connection:
        connection.send(wire.startup_packet("alice", "first_packets", version=wire.VERSION_3_0 + minor, **options))
        tag, body = connection.receive()
        assert tag == b"v", (tag, body)
        _, count = struct.unpack("!ii", body[:8])
        assert count == len(options)
        assert not connection.until_ready().errors


@pytest.mark.parametrize(
    "packet, sqlstate",
    [
        (wire.startup_packet("alice", "x", version=VERSION_2_0), None),
        (wire.startup_packet("alice", "x", version=4 << 16), "0A000"),
        (wire.startup_packet(None, "x"), "28000"),
        (b"\0\0\0\x18" + wire.startup_packet("alice", "bad_layout")[4:24], "08P01"),
        (b"\0\0\0\0", None),
        (b"\0\0\0\x03", None),
        (b"\0\0\0\x04", None),
        (b"\x7f\xff\xff\xff", None),
        (b"\xff\xff\xff\xff", None),
        (b"\0\0\x4e\x20", None),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 508, None),
    ],
    ids=["2.0", "4.0", "no user", "no terminator", "length 0", "length 3", "length 4", "length 2^31-1",
         "length 2^32-1", "length 20000", "HTTP", "TLS"])
def test_what_is_no_startup_is_refused(router, packet, sqlstate):
    """Hostile and mistaken first packets: an answer where the client could read one, and the end of the connection."""
    before = router.tenants()
    with router.wire() as connection:
        connection.send(packet)
        received = b""
        connection.socket.settimeout(3)
        try:
            while chunk := connection.socket.recv(4096):
                received += chunk
        except ConnectionResetError:
            pass
        if sqlstate:
            assert received[:1] == b"E"
            error = wire.ServerError.parse(received[5:])
            assert (error.severity, error.sqlstate) == ("FATAL", sqlstate)
    assert router.tenants() == before


@pytest.mark.parametrize("length", [0, 3, 2**31 - 1, 2**32 - 1])
def test_hostile_lengths_after_startup(router, length):
    """A length field is a claim by a stranger: a violation ends that session and no other."""
    with router.wire() as bystander, router.wire() as connection:
        bystander.startup("alice", "first_packets")
        connection.startup("alice", "first_packets")
        connection.send(b"Q" + struct.pack("!I", length) + b"SELECT 1\0")
        assert connection.is_closed(within=5)
        assert bystander.query("SELECT 1").value == "1"


def test_an_unknown_message_type(router):
    """PostgreSQL ends the session with 08P01; so does the router, or lets PostgreSQL do it."""
    with router.wire() as connection:
        connection.startup("alice", "first_packets")
        connection.send(wire.message(b"!", b"what?"))
        (error,) = connection.until_ready().errors
        assert (error.severity, error.sqlstate) == ("FATAL", "08P01")


def test_messages_byte_by_byte_after_startup(router):
    """The relay follows frames across any split."""
    with router.wire() as connection:
        connection.startup("alice", "first_packets")
        connection.drip(wire.extended_query("SELECT $1::text", "dripped") + wire.query_message("SELECT 'and on'"))
        assert connection.until_ready().value == "dripped"
        assert connection.until_ready().value == "and on"
