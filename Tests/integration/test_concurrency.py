"""Many clients at once: one instance, nobody refused, nothing lost."""

import asyncio
import os
import re
import threading

import pytest

import processes
import wire
from router import postgres_program

SOAK = bool(os.environ.get("ROUTERD_SOAK"))


@pytest.mark.soak
def test_a_thousand_first_connects_make_one_instance(routers):
    """Two first connects raced to initialise one directory and corrupted it."""
    router = routers()
    clients = 1000

    async def all_at_once():
        return await asyncio.gather(
            *(wire.one_query(router.address, "alice", "stampede", "SELECT system_identifier FROM pg_control_system()")
              for _ in range(clients)),
            return_exceptions=True)

    answers = asyncio.run(all_at_once())
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    assert not failures, f"{len(failures)} of {clients} failed, the first: {failures[0]!r}"
    assert len(set(answers)) == 1
    assert router.tenants() == {"stampede"}
    assert len(router.postmasters()) == 1


def test_first_connects_to_many_names_at_once(routers):
    """Provisioning one tenant held up every other one behind a single lock."""
    router = routers()
    names = [f"tenant_{index}" for index in range(20)]

    async def all_at_once():
        return await asyncio.gather(
            *(wire.one_query(router.address, "alice", name, "SELECT current_database()") for name in names * 3))

    assert sorted(asyncio.run(all_at_once())) == sorted(names * 3)
    assert router.tenants() == set(names)


def test_twenty_sessions_of_one_tenant_write_concurrently(router, name):
    """One connection per database made every other client wait its turn."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE written (writer int, n int)")
    together = threading.Barrier(20)
    failures = []

    def write(writer):
        try:
            with router.connect(name) as connection:
                together.wait(30)
                for number in range(50):
                    connection.execute("INSERT INTO written VALUES (%s, %s)", (writer, number))
        except BaseException as error:  # noqa: B902 - reported by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    assert router.value(name, "SELECT count(DISTINCT (writer, n)) FROM written") == 20 * 50


@pytest.mark.soak
@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_pgbench(router, protocol):
    """Sixteen clients for ten seconds in each of pgbench's protocols without a failed transaction."""
    seconds = 60 if SOAK else 10
    pgbench = postgres_program("pgbench")
    if "pgbench" not in router.tenants():
        router.run(pgbench, "-i", "-q", "-s", "1", database="pgbench")
    result = router.run(
        pgbench, "-M", protocol, "-c", "16", "-j", "2", "-T", seconds, database="pgbench", timeout=seconds + 60)
    assert re.search(r"number of failed transactions: 0 ", result.stdout), result.stdout
    assert int(re.search(r"number of transactions actually processed: (\d+)", result.stdout)[1]) > 100
    assert "ERROR" not in result.stderr and "aborted" not in result.stderr, result.stderr


def test_pgbench_reconnecting(router):
    """A connection a transaction: what a session leaves behind adds up here first."""
    pgbench = postgres_program("pgbench")
    if "pgbench" not in router.tenants():
        router.run(pgbench, "-i", "-q", "-s", "1", database="pgbench")
    descriptors = len(os.listdir(f"/proc/{router.pid}/fd"))
    result = router.run(pgbench, "-S", "-C", "-c", "8", "-j", "2", "-T", 3, database="pgbench")
    assert re.search(r"number of failed transactions: 0 ", result.stdout), result.stdout
    assert processes.eventually(lambda: len(os.listdir(f"/proc/{router.pid}/fd")) <= descriptors + 2, within=3)
