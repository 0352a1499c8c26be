"""Every error that the router tells a client itself: its code, what happened, which limit or cause, and what to do.

What takes a minute or a full disk to provoke has a test of its own beside its cause; the words of all of them are held
by Tests/TenantRouterTests/RefusalsTests.swift."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import time

import pytest

import processes
import wire

# Everything runs out soon.
ROUTER_ARGUMENTS = ("--max-instances", "2", "--max-connections", "1", "--max-clients", "12", "--queue-timeout", "400ms")


def errors(router, database, user="alice", **parameters):
    with router.wire() as connection:
        return connection.startup(user, database, **parameters).errors


def session(router, database):
    """A session at last: what is short here is short for the test's own sessions too."""
    def let_in():
        connection = router.wire()
        if not connection.startup("alice", database).errors:
            return connection
        connection.close()
    connection = processes.eventually(let_in, 20)
    assert connection, router.log
    return connection


def answer(*connection, **parameters):
    """What the client of a connection that is refused is told."""
    [error] = errors(*connection, **parameters)
    return error


def check(error, sqlstate, text, detail, hint, severity="FATAL"):
    """Patterns; an empty one stands for a part that is absent."""
    assert (error.severity, error.sqlstate) == (severity, sqlstate), error
    for part, pattern in ((error.text, text), (error.detail, detail), (error.hint, hint)):
        assert re.search(pattern, part) if pattern else not part, f"{pattern!r} in {error}"
    # As PostgreSQL writes: a message is no sentence, the other two are.
    assert error.text[0].islower() or error.text[0] in '"', error
    assert not error.text.endswith("."), error


NAMES = {
    "too long": (b"x" * 64, "22023", "64 bytes", "", "1 to 63 bytes of UTF-8"),
    "no UTF-8": (b"caf\xe9", "22023", "not valid UTF-8", "", ""),
    "template0": (b"template0", "55000", 'database "template0" is not currently accepting connections', "", ""),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_name_that_no_tenant_can_have(router, case):
    database, *expected = NAMES[case]
    before = router.tenants()
    check(answer(router, database), *expected)
    assert router.tenants() == before


def test_a_replication_connection_without_a_tenant(router):
    check(
        answer(router, None, replication="true"), "08P01", "names no database", "database's name",
        r"options=-c routerd\.tenant=NAME")


def test_the_routers_own_role(router):
    check(
        answer(router, "tenant", user="routerd"), "28000", 'role "routerd" is reserved', "every tenant",
        "any other user")


def test_past_max_connections(router):
    with session(router, "one"):
        check(
            answer(router, "one"), "53300", "too many clients already", "serves 1 sessions at once; the client waited 1 s",
            "--max-connections or --queue-timeout")


def test_past_max_instances(router):
    with session(router, "one"), session(router, "two"):
        check(
            answer(router, "three"), "53300", "too many databases are in use",
            "All 2 instances have sessions; the client waited 1 s", "--max-instances or --queue-timeout")
    assert "three" not in router.tenants()


def test_past_max_clients(router):
    with contextlib.ExitStack() as held:
        held.enter_context(session(router, "one"))
        for _ in range(11):
            waiting = held.enter_context(router.wire())
            waiting.send(wire.startup_packet("alice", "one"))
        console = held.enter_context(router.connect("routerd"))
        assert processes.eventually(lambda: dict(console.execute("SHOW LISTS").fetchall())["free_clients"] == 0, 5)
        check(
            answer(router, "one"), "53300", "too many clients already", "The router holds 12 clients",
            r"--max-clients, or raise the descriptor limit \(ulimit -n\)")


def test_a_start_that_takes_longer_than_clients_wait(routers):
    router = routers("--queue-timeout", "5ms")
    check(
        answer(router, "slow"), "57P03", "the database system is starting up", "The client waited 1 s", "Try again")
    with contextlib.ExitStack() as crowd:
        clients = [crowd.enter_context(router.wire()) for _ in range(24)]
        for number, client in enumerate(clients):
            client.send(wire.startup_packet("alice", f"crowd_{number}"))
        told = [error for client in clients for error in client.until_ready().errors]
    turn = next(error for error in told if "too many databases" in error.text)
    check(
        turn, "53300", "too many databases are being started", "8 start at once; the client waited 1 s for its turn",
        "higher --queue-timeout")

    # And on the same directory, without leave to make more.
    assert processes.eventually(lambda: not list((router.directory / ".routerd" / "staging").iterdir()), 10)
    router.stop()
    router.arguments = ["--no-auto-provision"]
    router.restart()
    check(answer(router, "unknown"), "3D000", 'database "unknown" does not exist', "", "--auto-provision")


def test_a_boot_that_fails(router):
    with session(router, "broken") as connection:
        connection.query("ALTER SYSTEM SET shared_preload_libraries = 'nonsense'")
    end(router, "broken")
    log = router.directory / ".routerd" / "logs" / "broken.log"
    check(
        answer(router, "broken"), "57P03", 'database "broken" cannot be started',
        'The last line of its log: FATAL:  could not access file "nonsense"',
        f"routerd repair broken --dir {router.directory}\n.*tail {log}")


def test_a_stop_that_a_client_waits_through(routers):
    router = routers("--max-connections", "1")
    with session(router, "tenant"), router.wire() as waiting:
        waiting.send(wire.startup_packet("alice", "tenant"))
        time.sleep(0.2)
        router.stop()
        [error] = waiting.until_ready().errors
    check(error, "57P03", "the database system is shutting down", "routerd is being stopped", "Connect again")


def test_an_instance_that_ends_without_a_word(router):
    with session(router, "tenant") as connection:
        backend = int(connection.query("SELECT pg_backend_pid()").value)
        os.kill(backend, signal.SIGSTOP)
        end(router, "tenant")
        with contextlib.suppress(ProcessLookupError):
            os.kill(backend, signal.SIGKILL)
        [error] = connection.until_ready().errors
    check(error, "57P01", 'terminating connection because the instance of database "tenant" has stopped', "", "again")


# Directories that are no tenant of this PostgreSQL: what they hold, and what a client is told.
def no_cluster(path):
    (path / "notes.txt").write_text("mine")


def other_version(path):
    (path / "PG_VERSION").write_text("9.6\n")


def closed(path):
    path.chmod(0)


DIRECTORIES = {
    no_cluster: ("F0000", "is not a PostgreSQL cluster", "no file PG_VERSION", "Move the directory away"),
    other_version: ("F0000", "made by PostgreSQL 9.6, this is PostgreSQL", "", "--postgres-bin"),
    closed: ("58030", "cannot open", "", "must belong to the user"),
}


@pytest.mark.parametrize("make", DIRECTORIES, ids=lambda make: make.__name__)
def test_a_directory_that_cannot_be_served(router, make):
    path = router.directory / make.__name__
    path.mkdir()
    owner = os.stat(router.directory)
    os.chown(path, owner.st_uid, owner.st_gid)
    make(path)
    before = [(entry, entry.stat().st_mtime_ns) for entry in path.rglob("*")]
    try:
        check(answer(router, make.__name__), *DIRECTORIES[make])
        assert [(entry, entry.stat().st_mtime_ns) for entry in path.rglob("*")] == before
    finally:
        path.chmod(0o700)
        shutil.rmtree(path)


def test_a_cluster_that_is_being_repaired(router):
    session(router, "tenant").close()
    end(router, "tenant")
    directory = os.open(router.directory / "tenant", os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        check(answer(router, "tenant"), "57P03", "is being repaired", "", "routerd repair")
    finally:
        os.close(directory)
    assert processes.eventually(lambda: not errors(router, "tenant"), 5)


def end(router, tenant):
    postmaster = router.postmaster(tenant)
    os.kill(postmaster, signal.SIGKILL)
    assert processes.eventually(lambda: processes.state(postmaster) in (None, "Z"), 5)
