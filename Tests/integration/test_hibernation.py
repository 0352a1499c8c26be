"""An instance nobody uses stops, and wakes for the next client."""

import contextlib
import os
import re
import threading
import time

import pytest

import processes
import wire
from confinement import confined
from router import IS_ROOT

# What the router says of an instance that it asked whether it may hibernate.
AT_WORK = "something is at work in it"


def test_an_idle_instance_hibernates_and_wakes(routers):
    """A hundred tenants of whom three are in use should cost what three cost."""
    router = routers("--idle-timeout", "1s")
    with router.connect("tenant") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        time.sleep(2)
        assert len(router.postmasters()) == 1, "it hibernated under a session"
    assert processes.eventually(lambda: router.postmasters() == [], within=5)
    assert router.value("tenant", "SELECT answer FROM kept") == 42


def test_the_longest_idle_instance_makes_room(routers):
    """Past the limit a client of a new name used to be refused although nobody used the others."""
    router = routers("--max-instances", "2")
    for tenant in ("one", "two", "three", "one"):
        assert router.value(tenant, "SELECT current_database()") == tenant
        assert len(router.postmasters()) <= 2


def test_connecting_while_it_hibernates(routers):
    """Eviction met a new connect: "database removed". Here both happen all the time."""
    router = routers("--idle-timeout", "10ms")
    failures, over = [], threading.Event()

    def reconnect():
        while not over.is_set():
            try:
                assert router.value("tenant", "SELECT 1") == 1
            except Exception as error:
                failures.append(error)
            time.sleep(0.013)

    threads = [threading.Thread(target=reconnect) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(4)
    stopped = lambda: len(re.findall("instance has stopped reason=idle", router.log)) >= 3
    # Not often where the machine is busy: one of the two is nearly always there.
    hibernated = processes.eventually(stopped, within=16)
    over.set()
    for thread in threads:
        thread.join()
    assert not failures, f"{len(failures)} failed, the first: {failures[0]}"
    assert hibernated, "it did not hibernate meanwhile"


def test_an_instance_with_a_subscription_stays(routers):
    """A subscriber that hibernates falls behind for as long as nobody asks it anything, and its publisher keeps the
    WAL for it until the disk is full."""
    router = routers("--idle-timeout", "300ms", "--log-level", "debug")
    with router.connect("subscriber") as connection:
        connection.execute(
            "CREATE SUBSCRIPTION feed CONNECTION 'host=/nowhere' PUBLICATION p"
            " WITH (connect = false, slot_name = NONE)")
    with router.connect("subscriber") as connection:
        # Enabled without a publisher: its worker tries, fails, and tries again.
        connection.execute("ALTER SUBSCRIPTION feed SET (slot_name = 'feed')")
        connection.execute("ALTER SUBSCRIPTION feed ENABLE")
    assert processes.eventually(lambda: AT_WORK in router.log, within=10)
    assert len(router.postmasters()) == 1
    router.value("other", "SELECT 1")
    assert processes.eventually(lambda: len(router.postmasters()) == 1, within=10), "the other one hibernates"
    assert router.postmaster("subscriber") in router.postmasters()


def hibernates(router, tenant):
    """As soon as nothing is at work in it any more: a client that has come and gone is why the router looks again at
    once, and not after a while."""
    router.value(tenant, "SELECT 1")
    return processes.eventually(lambda: router.postmasters() == [], within=15)


@contextlib.contextmanager
def beside_the_router(router):
    """A connection to the only instance that is no session of the router's: the socket has no name any more, and only
    root finds it among the router's descriptors."""
    descriptors = [f"/proc/{router.pid}/fd/{number}" for number in os.listdir(f"/proc/{router.pid}/fd")]
    [socket] = [path for path in descriptors if os.readlink(path).endswith("/.s.PGSQL.5432 (deleted)")]
    with wire.Connection(socket) as connection:
        yield connection


@pytest.mark.skipif(not IS_ROOT, reason="only root finds an instance's socket")
def test_an_instance_with_a_walsender_stays(routers):
    """A stream of the write-ahead log that ended because no client asked for anything. Here nothing but the walsender
    is there: not the lease that a stream through the router has."""
    router = routers("--idle-timeout", "300ms", "--log-level", "debug")
    with contextlib.ExitStack() as streaming:
        with router.connect("streamed"):
            postmaster = router.postmaster("streamed")
            connection = streaming.enter_context(beside_the_router(router))
            assert connection.startup("alice", replication="true").errors == []
        assert processes.eventually(lambda: AT_WORK in router.log, within=10)
        assert router.postmasters() == [postmaster]
        assert connection.query("IDENTIFY_SYSTEM").errors == []
    assert hibernates(router, "streamed")


@confined
def test_an_instance_that_vacuums_stays(routers):
    """A table that takes longer to vacuum than its tenant is awake was never vacuumed, until its transaction numbers
    ran out."""
    router = routers("--idle-timeout", "100ms", "--log-level", "debug")
    with router.connect("vacuumed") as connection:
        # Found at once, and then half a minute of work: of each page two fifths of a second.
        connection.execute("CREATE TABLE dead WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_cost_limit = 1,"
                           " autovacuum_vacuum_cost_delay = 100) AS SELECT n FROM generate_series(1, 20000) n")
        connection.execute("DELETE FROM dead")
        connection.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        connection.execute("SELECT pg_reload_conf()")
        vacuum = lambda: connection.execute(
            "SELECT pid FROM pg_stat_progress_vacuum WHERE relid = 'dead'::regclass").fetchone()
        (worker,) = processes.eventually(vacuum, within=20)
        assert "autovacuum worker" in processes.describe([worker])
    assert processes.eventually(lambda: AT_WORK in router.log, within=10)
    assert processes.state(worker) not in (None, "Z", "X")
    with router.connect("vacuumed") as connection:
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf(), pg_terminate_backend(%s, 10000)", [worker])
    assert hibernates(router, "vacuumed")


def test_an_occupied_instance_is_not_evicted(routers):
    """The longest idle one makes room unless it is at work: then the next one does."""
    router = routers("--max-instances", "2")
    with router.connect("subscriber") as connection:
        connection.execute(
            "CREATE SUBSCRIPTION feed CONNECTION 'host=/nowhere' PUBLICATION p"
            " WITH (connect = false, slot_name = 'feed')")
        connection.execute("ALTER SUBSCRIPTION feed ENABLE")
    kept = router.postmaster("subscriber")
    for name in ("two", "three", "four"):
        assert router.value(name, "SELECT 1") == 1
        assert len(router.postmasters()) <= 2
    assert router.postmaster("subscriber") == kept
