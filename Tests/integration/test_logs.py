"""The log: what is worth a line, what every line about a session says, how it looks on a terminal."""

import json
import os
import signal
import socket
import threading
import time

import psycopg
import pytest

import processes
import wire
from router import BINARY, clean_environment, free_port, temporary_directory
from terminal import Terminal
from test_console import control

SESSION = {"session", "tenant", "user", "address"}


def events(router, message=None):
    """The log's lines as they are meant for programs."""
    lines = [json.loads(line) for line in router.log.splitlines() if line.startswith('{"time"')]
    return [line for line in lines if message is None or message in line["message"]]


def awaited(router, message, count=1, within=10, **fields):
    """The log is written by a thread of its own."""
    def found():
        return [line for line in events(router, message) if fields.items() <= line.items()]

    assert processes.eventually(lambda: len(found()) >= count, within), f"no {message!r} with {fields}:\n{router.log}"
    return found()


def json_router(routers, *arguments):
    return routers("--log-format", "json", *arguments)


def test_every_line_about_a_session_says_whose(routers):
    """Of a line that says "client refused" and nothing else nobody knows whom to ask."""
    router = json_router(routers, "--log-level", "debug", "--max-clients", "1", "--no-auto-provision")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        router.connect("absent")
    with pytest.raises(psycopg.OperationalError, match="reserved|router"):
        router.connect("absent", user="routerd")
    with wire.Connection(router.address) as first, wire.Connection(router.address) as second:
        first.send(wire.message(b"Z", b"nonsense"))
        second.send(wire.startup_packet("bob", "x" * 70))
        assert first.receive() and second.receive()
    refused = awaited(router, "client refused", count=4)
    assert awaited(router, "session closed", count=4)
    about = [line for line in events(router) if "session" in line and "sessions" not in line]
    for line in about:
        known = SESSION if "user" in line else {"session", "address"}
        assert known <= line.keys(), line
        assert line["address"].startswith("127.0.0.1:"), line
    assert [line.get("user") for line in refused].count(None) == 1, "only one has not said who it is"
    assert {line.get("tenant") for line in refused} == {"absent", "x" * 63, None}


def test_who_has_waited_long_is_one_line(routers):
    """Users say "it was slow": the log says who waited, for how long, and whether it was worth it."""
    router = json_router(routers, "--max-connections", "1", "--queue-timeout", "2500ms")

    def connects(user):
        try:
            with router.connect("narrow", user=user) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            pass

    with router.connect("narrow", user="holder") as holder:
        assert wait_lines(router, "quick") == []
        waiting = [threading.Thread(target=connects, args=["served"])]
        waiting[0].start()
        gone = wire.Connection(router.address)
        gone.send(wire.startup_packet("gone", "narrow"))
        time.sleep(1.2)
        gone.close()
        holder.close()
        waiting[0].join()
    with router.connect("narrow", user="holder"):
        connects("refused")
    for user, outcome, least in [("served", "served", 1200), ("gone", "left", 1000), ("refused", "refused", 2500)]:
        (line,) = awaited(router, "client has waited", user=user)
        assert line["outcome"] == outcome and line["level"] == "info" and line["tenant"] == "narrow"
        assert SESSION <= line.keys()
        assert least <= int(line["waited"].removesuffix(" ms")) < least + 5000
    for user in ("served", "gone", "refused"):
        assert len(wait_lines(router, user)) == 1


def wait_lines(router, user):
    return [line for line in events(router, "client has waited") if line.get("user") == user]


def test_why_an_instance_stopped(routers):
    """An operator who finds an instance gone asks whether it was idle, in the way, or told to."""
    router = json_router(routers, "--max-instances", "1", "--idle-timeout", "700ms")
    router.value("idle", "SELECT 1")
    awaited(router, "instance has stopped", tenant="idle", reason="idle", level="info")
    router.value("first", "SELECT 1")
    router.value("second", "SELECT 1")
    awaited(router, "instance has stopped", tenant="first", reason="evicted")
    with router.connect("second"):
        with control(router) as console:
            console.execute("HIBERNATE second")
    awaited(router, "instance has stopped", tenant="second", reason="asked")
    router.value("last", "SELECT 1")
    with router.connect("last"):
        router.stop()
    awaited(router, "instance has stopped", tenant="last", reason="shutdown")
    assert [line["tenant"] for line in events(router, "created new database")] == ["idle", "first", "second", "last"]
    assert {line["tenant"] for line in events(router, "instance is ready")} == {"idle", "first", "second", "last"}


def test_a_crash_is_an_error(routers):
    router = json_router(routers)
    with router.connect("crashing"):
        os.kill(router.postmaster("crashing"), signal.SIGKILL)
        (line,) = awaited(router, "instance died", tenant="crashing")
    assert line["level"] == "error" and "signal" in line["status"]


def interrupted_boot(router, tenant, number):
    """Connects to a tenant and sends its postmaster a signal before it is ready; None if that was too late."""
    answer = []
    notices = []

    def connects():
        with wire.Connection(router.address, timeout=30) as connection:
            notices.extend(connection.startup("alice", tenant).notices)
            answer.append(True)

    client = threading.Thread(target=connects)
    client.start()
    assert processes.eventually(lambda: router.postmasters() or answer, within=20)
    before = len(events(router, "instance is ready"))
    (postmaster,) = router.postmasters()
    os.kill(postmaster, number)
    in_time = not before and not events(router, "instance is ready")
    if number == signal.SIGSTOP:
        time.sleep(1.1)
        os.kill(postmaster, signal.SIGCONT)
    client.join()
    assert answer
    return notices if in_time else None


def test_a_slow_wake_is_a_line(routers):
    """The client waits for all of a wake, and only a slow one is worth a line."""
    for _ in range(6):
        router = json_router(routers)
        # Stopped once it was ready already, it kept its client waiting, and woke quickly.
        if interrupted_boot(router, "sleepy", signal.SIGSTOP) is not None and processes.eventually(
                lambda: events(router, "instance was slow to wake"), within=1):
            break
        router.stop()
    (line,) = awaited(router, "instance was slow to wake", tenant="sleepy")
    assert line["level"] == "info" and 1000 < int(line["took"].removesuffix(" ms")) < 20_000


def test_a_new_database_is_announced_after_a_second_boot(routers):
    """The NOTICE belonged to the instance that made the directory, and went with it when its first boot failed."""
    for _ in range(3):
        router = json_router(routers)
        notices = interrupted_boot(router, "stubborn", signal.SIGKILL)
        if notices is not None:
            break
        router.stop()
    assert events(router, "cannot start"), "the first boot was to fail"
    assert [notice.fields["M"] for notice in notices] == ['created new database "stubborn"']


def test_queries_are_no_lines(routers):
    """A line for each query would cost more than the query."""
    router = json_router(routers, "--log-level", "debug")
    with router.connect("busy") as connection:
        awaited(router, "session opened")
        before = len(events(router))
        for number in range(100):
            connection.execute("SELECT %s::int", [number])
        assert len(events(router)) == before


@pytest.mark.parametrize("variables, coloured", [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
                         ids=["colours", "NO_COLOR", "dumb"])
def test_colours_are_for_terminals(variables, coloured):
    """Escape sequences in a file or a pipe are noise."""
    command = [BINARY, "serve", "--memory", "--port", free_port(), "--spares", "0"]
    environment = clean_environment() | {"TERM": "xterm"} | variables
    environment.pop("NO_COLOR", None) if "NO_COLOR" not in variables else None
    with Terminal() as terminal:
        process = terminal.start([str(part) for part in command], env=environment, cwd="/")
        try:
            seen = terminal.read_until(b"routerd is ready", within=30)
            process.send_signal(signal.SIGTERM)
            seen += terminal.read_until(b"stopped")
            assert process.wait(15) == 0
        finally:
            process.kill()
            process.wait()
    assert (b"\x1b[32minfo\x1b[0m" in seen) == coloured, seen
    assert (b"\x1b" in seen) == coloured, seen


def test_no_colours_in_a_file(router):
    router.value("plain", "SELECT 1")
    assert processes.eventually(lambda: "instance is ready" in router.log, within=10)
    assert "\x1b" not in router.log
