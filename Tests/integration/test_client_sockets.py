"""How the sockets of clients are looked after by the kernel, and when they are let go."""

import ctypes
import os
import socket
import time
from pathlib import Path

import pytest

import processes

PIDFD_GETFD = 438  # the same on every architecture


def servers_side(router, client):
    """A copy of the router's end of a client's connection."""
    _, port = client.getsockname()
    row = f"{router.port:04X} ", f":{port:04X} "
    [inode] = [
        int(fields[9]) for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if row[0] in line[:24] and row[1] in line and (fields := line.split())]
    [number] = [
        int(name) for name in os.listdir(f"/proc/{router.pid}/fd")
        if os.readlink(f"/proc/{router.pid}/fd/{name}") == f"socket:[{inode}]"]
    process = os.pidfd_open(router.pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, number, 0)
    finally:
        os.close(process)
    if copy < 0:
        pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return socket.socket(fileno=copy)


def test_small_answers_leave_at_once_and_silent_clients_are_asked(router, name):
    """40 ms a round trip where Nagle's algorithm met a delayed acknowledgement; and a laptop that was closed held its
    place among --max-connections for two hours."""
    with router.wire() as connection:
        assert not connection.startup("alice", name).errors
        with servers_side(router, connection.socket) as side:
            tcp = lambda option: side.getsockopt(socket.IPPROTO_TCP, option)
            assert tcp(socket.TCP_NODELAY) == 1
            assert side.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            silence = tcp(socket.TCP_KEEPIDLE) + tcp(socket.TCP_KEEPINTVL) * tcp(socket.TCP_KEEPCNT)
            assert silence == 100
            assert tcp(socket.TCP_USER_TIMEOUT) == 120_000


def test_a_client_that_was_refused_and_stays_is_let_go(router):
    """Told the end, but never closing: such clients kept their descriptors until there were none."""
    descriptors = lambda: len(os.listdir(f"/proc/{router.pid}/fd"))
    before = descriptors()
    refused = [router.wire() for _ in range(20)]
    for connection in refused:
        [error] = connection.startup("routerd", "tenant").errors
        assert error.sqlstate == "28000"
    # They read it in peace: closing at once could reset the connection under the message.
    assert descriptors() >= before + 10
    began = time.monotonic()
    assert processes.eventually(lambda: descriptors() <= before, 6), f"{descriptors() - before} more descriptors"
    assert time.monotonic() - began > 1
    for connection in refused:
        connection.close()
