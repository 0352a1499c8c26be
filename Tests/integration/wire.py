"""A client that speaks PostgreSQL's protocol in bytes, for what drivers hide: notices at connect time, first
packets in odd orders and sizes, cancel keys, sockets left half open (manual, chapter "Frontend/Backend Protocol")."""

import asyncio
import socket
import struct
from dataclasses import dataclass, field

VERSION_3_0 = 196608
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSSENC_REQUEST = struct.pack("!ii", 8, 80877104)


def startup_packet(user=None, database=None, version=VERSION_3_0, **parameters):
    """Names and values may be str or bytes; what is None is left out."""
    pairs = {"user": user, "database": database, **parameters}
    body = struct.pack("!i", version)
    for name, value in pairs.items():
        if value is not None:
            body += _bytes(name) + b"\0" + _bytes(value) + b"\0"
    body += b"\0"
    return struct.pack("!i", len(body) + 4) + body


def cancel_request(process_id, secret):
    return struct.pack("!iii", 12 + len(secret), 80877102, process_id) + secret


def message(tag, body=b""):
    return tag + struct.pack("!i", len(body) + 4) + body


def query_message(sql):
    return message(b"Q", _bytes(sql) + b"\0")


def extended_query(sql, parameter):
    """Parse, Bind with one text parameter, Execute, Sync."""
    value = _bytes(parameter)
    return (
        message(b"P", b"\0" + _bytes(sql) + b"\0" + struct.pack("!h", 0))
        + message(b"B", b"\0\0" + struct.pack("!hhi", 0, 1, len(value)) + value + struct.pack("!h", 0))
        + message(b"E", b"\0" + struct.pack("!i", 0))
        + message(b"S")
    )


@dataclass
class ServerError(Exception):
    """An ErrorResponse or NoticeResponse, by its fields."""

    fields: dict

    @classmethod
    def parse(cls, body):
        parts = body.rstrip(b"\0").split(b"\0")
        return cls({part[:1].decode(): part[1:].decode(errors="replace") for part in parts})

    def __post_init__(self):
        super().__init__(str(self))

    def __str__(self):
        return f"{self.severity} {self.sqlstate}: {self.text}; detail: {self.detail}; hint: {self.hint}"

    severity = property(lambda self: self.fields.get("V") or self.fields.get("S"))
    sqlstate = property(lambda self: self.fields.get("C"))
    text = property(lambda self: self.fields.get("M", ""))
    detail = property(lambda self: self.fields.get("D", ""))
    hint = property(lambda self: self.fields.get("H", ""))


class Closed(Exception):
    """The other side ended the connection."""


@dataclass
class Transcript:
    """What came before ReadyForQuery."""

    rows: list = field(default_factory=list)
    notices: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    parameters: dict = field(default_factory=dict)
    key: tuple = None

    def add(self, tag, body):
        if tag == b"D":
            self.rows.append(_row(body))
        elif tag == b"N":
            self.notices.append(ServerError.parse(body))
        elif tag == b"E":
            self.errors.append(ServerError.parse(body))
        elif tag == b"S":
            name, value, _ = body.split(b"\0")
            self.parameters[name.decode()] = value.decode()
        elif tag == b"K":
            self.key = (struct.unpack("!i", body[:4])[0], body[4:])
        elif tag == b"R" and struct.unpack("!i", body[:4])[0] != 0:
            raise AssertionError(f"asked to authenticate: {body!r}")

    @property
    def value(self):
        if self.errors:
            raise self.errors[0]
        return self.rows[0][0]


class Connection:
    """A blocking connection; `address` is (host, port) or the path of a Unix socket."""

    def __init__(self, address, timeout=20, receive_buffer=None):
        family = socket.AF_UNIX if isinstance(address, str) else (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(address)
        self._received = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def drip(self, data):
        """Byte by byte, each in a segment of its own."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(data)):
            self.socket.sendall(data[index:index + 1])

    def exactly(self, count):
        while len(self._received) < count:
            try:
                chunk = self.socket.recv(262144)
            except ConnectionResetError as error:
                raise Closed("reset") from error
            if not chunk:
                raise Closed(f"end of stream, {bytes(self._received[:80])!r} before it")
            self._received += chunk
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def receive(self):
        tag, length = struct.unpack("!ci", self.exactly(5))
        return tag, self.exactly(length - 4)

    def until_ready(self):
        """Everything up to ReadyForQuery, or up to the end of the stream after a FATAL error."""
        transcript = Transcript()
        while True:
            try:
                tag, body = self.receive()
            except Closed:
                if transcript.errors:
                    return transcript
                raise
            if tag == b"Z":
                return transcript
            transcript.add(tag, body)

    def startup(self, user="alice", database=None, **parameters):
        self.send(startup_packet(user, database, **parameters))
        return self.until_ready()

    def query(self, sql):
        self.send(query_message(sql))
        return self.until_ready()

    def is_closed(self, within):
        """Whether the other side ends the connection in that many seconds, whatever it says before."""
        self.socket.settimeout(within)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except (ConnectionResetError, BrokenPipeError):
            return True
        except TimeoutError:
            return False


async def one_query(address, user, database, sql):
    """Connects, runs one query, says goodbye; the first value of the first row."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        transcript = await _until_ready(reader, writer, startup_packet(user, database))
        if transcript.errors:
            raise transcript.errors[0]
        value = (await _until_ready(reader, writer, query_message(sql))).value
        writer.write(message(b"X"))
        await writer.drain()
        return value
    finally:
        writer.close()


async def _until_ready(reader, writer, data):
    writer.write(data)
    await writer.drain()
    transcript = Transcript()
    while True:
        try:
            tag, length = struct.unpack("!ci", await reader.readexactly(5))
            body = await reader.readexactly(length - 4)
        except asyncio.IncompleteReadError as error:
            if transcript.errors:
                return transcript
            raise Closed(f"end of stream, {error.partial!r} before it") from error
        if tag == b"Z":
            return transcript
        transcript.add(tag, body)


def _row(body):
    (count,) = struct.unpack("!h", body[:2])
    values, offset = [], 2
    for _ in range(count):
        (length,) = struct.unpack("!i", body[offset:offset + 4])
        offset += 4
        if length < 0:
            values.append(None)
        else:
            values.append(body[offset:offset + length].decode(errors="surrogateescape"))
            offset += length
    return values


def _bytes(value):
    return value if isinstance(value, bytes) else value.encode()
