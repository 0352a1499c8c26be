"""What was acknowledged is there afterwards, whatever was killed."""

import os
import signal
import threading
import time

import psycopg
import pytest

import processes

pytestmark = pytest.mark.on_disk


def test_data_survives_a_restart(routers):
    """An orderly stop must not lose what only memory held, nor make the next start slow or loud."""
    router = routers()
    for tenant in ("one", "two"):
        with router.connect(tenant) as connection:
            connection.execute("CREATE TABLE kept AS SELECT n FROM generate_series(1, 1000) n")
    router.stop()
    router.restart()
    for tenant in ("one", "two"):
        assert router.value(tenant, "SELECT count(*) FROM kept") == 1000


@pytest.mark.soak
def test_kill_nine_leaves_no_postgres_and_loses_no_row(routers):
    """A router that was killed left 500 postgres processes and 25 GB behind, each holding its data directory so that
    the next start failed."""
    router = routers()
    rounds = 5 if os.environ.get("ROUTERD_SOAK") else 1
    acknowledged = {"one": 0, "two": 0}
    for tenant in acknowledged:
        with router.connect(tenant) as connection:
            connection.execute("CREATE TABLE written (n bigint PRIMARY KEY)")
    for _ in range(rounds):
        writers = [threading.Thread(target=_write, args=(router, tenant, acknowledged)) for tenant in acknowledged]
        for writer in writers:
            writer.start()
        time.sleep(1)
        router.kill()
        killed = time.monotonic()
        for writer in writers:
            writer.join()
        router.expect_no_process(within=killed + 3 - time.monotonic())
        router.restart()
        for tenant, least in acknowledged.items():
            assert least > 0
            count, highest = _counts(router, tenant)
            assert highest >= least, f"{tenant}: row {least} was acknowledged, {highest} is the last one there"
            assert count == highest
            acknowledged[tenant] = highest


def test_restart_at_once_after_kill_nine(routers):
    """The survivors of a killed router still held lock files and shared memory: "lock file postmaster.pid already
    exists" until somebody cleaned up by hand."""
    router = routers()
    with router.connect("tenant") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        router.kill()
    router.restart()
    assert router.value("tenant", "SELECT answer FROM kept") == 42


def test_a_killed_postmaster_recovers_on_the_next_connect(router, name):
    """The router lived, the instance was dead, clients hung on sockets nobody would write to again."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        postmaster = router.postmaster(name)
        os.kill(postmaster, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(5)")
    assert router.value(name, "SELECT answer FROM kept") == 42
    assert router.postmaster(name) != postmaster


def test_a_killed_postmaster_harms_no_other_tenant(router, name):
    """One crash domain each: a neighbour's sessions and postmaster stay."""
    router.value(name + "_dies", "SELECT 1")
    with router.connect(name + "_lives") as connection:
        os.kill(router.postmaster(name + "_dies"), signal.SIGKILL)
        time.sleep(0.3)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_backend_killed_by_the_kernel_is_postgresqls_own_affair(router, name):
    """One backend's SIGKILL makes PostgreSQL restart all of them; the router must let it and serve afterwards."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    def answer():
        try:
            return router.value(name, "SELECT answer FROM kept")
        except psycopg.OperationalError as error:
            # "the database system is in recovery mode" is PostgreSQL's honest answer for a moment.
            assert error.sqlstate in ("57P03", "57P02", "57P01", None), error
            return None

    assert processes.eventually(answer, within=10, interval=0.1) == 42


def _write(router, tenant, acknowledged):
    try:
        with router.connect(tenant) as connection:
            for number in range(acknowledged[tenant] + 1, 1_000_000):
                connection.execute("INSERT INTO written VALUES (%s)", (number,))
                acknowledged[tenant] = number
    except psycopg.Error:
        pass


def _counts(router, tenant):
    with router.connect(tenant) as connection:
        return connection.execute("SELECT count(*), max(n) FROM written").fetchone()
