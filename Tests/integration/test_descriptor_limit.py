"""Descriptors run out: EMFILE must cost neither the sessions that stand nor the processor, and must pass."""

import os
import resource
import shutil
import subprocess
import time

import pytest

import processes
import wire
from descriptors import limit_descriptors
from router import BINARY, clean_environment, free_port, temporary_directory

HOSTILE = 5_000


def processor_seconds(pid):
    """User and system time so far (proc(5), stat, fields 14 and 15)."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_too_few_to_begin_with():
    """A server that could not serve one client says so at its start, and which limit it was."""
    home = temporary_directory()
    command = [BINARY, "serve", "--port", free_port(), "--dir", home / "data", "--max-instances", "2"]
    try:
        result = subprocess.run(
            ["prlimit", "--nofile=64:64", *map(str, command)], env=clean_environment(), capture_output=True,
            text=True, timeout=20, check=False)
    finally:
        shutil.rmtree(home)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line]
    assert "64" in line and "ulimit -n" in line and "--max-instances" in line


@pytest.mark.parametrize("talk", ["silent", "asking"])
def test_none_left(routers, talk):
    """EMFILE spun the accept loop (row 15): who is in is served, who is not waits or is told, and nothing spins."""
    router = routers("--max-instances", "2")
    crowd = []
    with router.wire() as inside:
        inside.startup("alice", "tenant")
        usual, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit_descriptors(router.pid, 64)
        try:
            for _ in range(300):
                connection = router.wire(timeout=1)
                crowd.append(connection)
                if talk == "asking":
                    connection.send(wire.startup_packet("alice", "tenant"))
            time.sleep(0.5)
            began, spent = time.monotonic(), processor_seconds(router.pid)
            queries = 0
            while time.monotonic() - began < 2:
                assert inside.query("SELECT 1").value == "1"
                queries += 1
                time.sleep(0.02)
            spent = processor_seconds(router.pid) - spent
            assert queries > 50
            assert "not accepting" in router.log
            assert spent < 0.5, f"{spent} s of processor time in 2 s"
            if talk == "asking":
                assert {error for error in map(first_error, crowd[:60]) if error} <= {"53300", "53000"}
        finally:
            limit_descriptors(router.pid, usual)
            for connection in crowd:
                connection.close()
        assert router.value("tenant", "SELECT 2") == 2
        assert router.value("another", "SELECT 3") == 3
        assert inside.query("SELECT 4").value == "4"


def first_error(connection):
    """The SQLSTATE of a refusal; None for who is served, or still waits."""
    try:
        errors = connection.until_ready().errors
    except (TimeoutError, wire.Closed) as outcome:
        assert not isinstance(outcome, wire.Closed), "closed without a word"
        return None
    return errors[0].sqlstate if errors else None


def test_five_thousand_half_open_connections_while_others_are_served(router, name):
    """Half-open connections leaked memory and descriptors (row 9); here they come, go and come back under a load."""
    router.value(name, "SELECT 1")
    memory = processes.memory(router.pid, "VmRSS")
    packet = wire.startup_packet("alice", name)
    pieces = [b"", packet[:1], packet[:4], packet[:7], packet[:8], packet[:-1], wire.SSL_REQUEST, wire.SSL_REQUEST[:5]]
    crowd = []
    slowest = 0
    with router.wire() as inside:
        inside.startup("alice", name)
        try:
            for index in range(HOSTILE):
                connection = router.wire()
                connection.send(pieces[index % len(pieces)])
                crowd.append(connection)
                if index % 100 == 0:
                    began = time.monotonic()
                    assert inside.query("SELECT 1").value == "1"
                    slowest = max(slowest, time.monotonic() - began)
            began = time.monotonic()
            assert router.value(name, "SELECT 1") == 1
            assert time.monotonic() - began < 1
            grown = processes.memory(router.pid, "VmRSS") - memory
            assert grown < HOSTILE * 4096 + (8 << 20), f"{grown / HOSTILE:.0f} bytes each"
            spent = processor_seconds(router.pid)
            time.sleep(1)
            assert processor_seconds(router.pid) - spent < 0.1
        finally:
            for connection in crowd:
                connection.close()
        assert slowest < 1, f"a query took {slowest:.1f} s"
        assert processes.eventually(lambda: len(os.listdir(f"/proc/{router.pid}/fd")) < 200, within=10)
        assert inside.query("SELECT 1").value == "1"
