"""Past a limit a client waits its turn, and then learns which limit it was and which flag raises it."""

import subprocess
import threading
import time

import psycopg
import pytest

import wire


def refused(router, database, within=10):
    """The error of a connection that is refused."""
    with router.wire(timeout=within) as connection:
        errors = connection.startup("alice", database).errors
        assert errors, f"{database} was let in"
        return errors[0]


def test_past_max_instances(routers):
    """The limit counted for ever, and the client over it got a bare reset."""
    router = routers("--max-instances", "2", "--queue-timeout", "3s")
    with router.connect("one"), router.connect("two"):
        error = refused(router, "three")
        assert (error.severity, error.sqlstate) == ("FATAL", "53300")
        assert "2" in error.detail
        assert "--max-instances" in error.hint
        with router.connect("one") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_past_max_connections_clients_wait(routers):
    """A connection limit turned into errors under any burst."""
    router = routers("--max-connections", "2", "--queue-timeout", "10s")
    held = [router.connect("tenant") for _ in range(2)]
    threading.Timer(1, held[0].close).start()
    began = time.monotonic()
    assert router.value("tenant", "SELECT 1") == 1
    assert 0.5 < time.monotonic() - began < 5
    held[1].close()


def test_past_max_connections_for_too_long(routers):
    """Each waiter has a deadline of its own, and an answer when it passes."""
    router = routers("--max-connections", "2", "--queue-timeout", "3s")
    with router.connect("tenant"), router.connect("tenant"):
        began = time.monotonic()
        error = refused(router, "tenant")
        assert 2.9 < time.monotonic() - began < 6
        assert (error.severity, error.sqlstate) == ("FATAL", "53300")
        assert "2" in error.detail
        assert "--max-connections" in error.hint
    assert router.value("tenant", "SELECT 1") == 1


def test_a_client_that_waits_is_told_what_for(routers):
    """A client that waited in silence looked like one that hangs. libpq takes no notice before AuthenticationOk."""
    router = routers("--max-connections", "1", "--queue-timeout", "20s")
    with router.connect("tenant"):
        waiting = subprocess.Popen(
            ["psql", "-XAt", "-d", router.conninfo("tenant"), "-c", "SELECT 'served'"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(6)
        assert waiting.poll() is None
    out, err = waiting.communicate(timeout=15)
    assert out == "served\n"
    assert "NOTICE" in err and "waiting for a session of database" in err and "--max-connections" in err


def test_waiters_of_one_tenant_do_not_hold_up_another(routers):
    """One global queue let a busy tenant stop everybody else's first connect."""
    router = routers("--max-connections", "1", "--queue-timeout", "20s")
    with router.connect("busy"):
        waiting = [router.wire() for _ in range(5)]
        for connection in waiting:
            connection.send(wire.startup_packet("alice", "busy"))
        began = time.monotonic()
        assert router.value("other", "SELECT 1") == 1
        assert time.monotonic() - began < 5
        for connection in waiting:
            connection.close()


def test_a_waiter_that_left_frees_its_place(routers):
    """Dead clients stayed queued, and the instance was given to a socket that nobody held."""
    router = routers("--max-connections", "1", "--queue-timeout", "20s")
    held = router.connect("tenant")
    gone = [router.wire() for _ in range(20)]
    for connection in gone:
        connection.send(wire.startup_packet("alice", "tenant"))
    time.sleep(0.2)
    for connection in gone:
        connection.close()
    held.close()
    began = time.monotonic()
    assert router.value("tenant", "SELECT 1") == 1
    assert time.monotonic() - began < 3


def test_max_connections_clients_fit(routers):
    """Reserved connections were taken out of the clients' number: the promised last one was refused."""
    router = routers("--max-connections", "5", "--queue-timeout", "3s")
    held = [router.connect("tenant", user=f"user_{index}") for index in range(5)]
    assert [connection.execute("SELECT 1").fetchone() for connection in held] == [(1,)] * 5
    assert refused(router, "tenant").sqlstate == "53300"
    for connection in held:
        connection.close()


def test_past_max_clients(routers):
    """Descriptors ran out in the middle of a session instead of at the door."""
    router = routers("--max-clients", "3")
    held = [router.connect("tenant") for _ in range(3)]
    error = refused(router, "tenant")
    assert (error.severity, error.sqlstate) == ("FATAL", "53300")
    assert "3" in error.detail
    assert "--max-clients" in error.hint
    held.pop().close()
    deadline = time.monotonic() + 3
    while True:
        try:
            held.append(router.connect("tenant"))
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
    for connection in held:
        connection.close()


def test_a_cancel_gets_in_past_max_clients(routers):
    """The one connection that frees others must not be refused because there are too many."""
    router = routers("--max-clients", "2")
    held = [router.connect("tenant") for _ in range(2)]
    threading.Timer(0.3, held[0].cancel).start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        held[0].execute("SELECT pg_sleep(5)")
    for connection in held:
        connection.close()
