"""What holds for one tenant holds for a hundred at once: a sample of them here, all in the soak."""

import contextlib
import os
import shutil
import statistics
import threading
import time

import psycopg
import pytest

import processes
from chaos import is_excused
from router import IS_ROOT

SOAK = bool(os.environ.get("ROUTERD_SOAK"))
TENANTS = 100 if SOAK else 12


def together(work, count=TENANTS):
    """Runs `work(number)` for each number at the same time; what any of them raised is raised."""
    failures = []

    def run(number):
        try:
            work(number)
        except Exception as failure:
            failures.append((number, failure))

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "a client hangs"
    if failures:
        raise AssertionError(f"{len(failures)} of {count} failed, number {failures[0][0]} first") from failures[0][1]


@pytest.mark.soak
def test_kill_nine_while_all_tenants_write(routers):
    """Orphans of a killed parent were hundreds of processes, each with a directory that could not be served until
    somebody ended them by hand (row 17)."""
    router = routers("--spares", "2")
    written = {number: 0 for number in range(TENANTS)}
    killed = threading.Event()

    def write(number):
        try:
            with router.connect(f"tenant_{number}") as connection:
                connection.execute("CREATE TABLE written (n int PRIMARY KEY)")
                for n in range(1, 1_000_000):
                    connection.execute("INSERT INTO written VALUES (%s)", (n,))
                    written[number] = n
        except psycopg.Error as error:
            assert killed.is_set() and is_excused(error, (None, "57P01", "57P02", "57P03")), error

    def kill():
        assert processes.eventually(lambda: min(written.values()) > 5, 90), written
        killed.set()
        router.kill()

    together(lambda number: write(number) if number < TENANTS else kill(), TENANTS + 1)
    router.expect_no_process(within=8)
    router.start()

    def check(number):
        rows = router.value(f"tenant_{number}", "SELECT count(*) FROM written WHERE n <= %s", written[number])
        assert rows == written[number] > 0

    together(check)


@pytest.mark.soak
def test_connecting_to_many_tenants_that_hibernate_and_make_room(routers):
    """Eviction met a new connect: "database removed" (row 13). Here half of the tenants have no place, the others are
    put to sleep as soon as nobody looks, and new ones come from spares that give up their places."""
    router = routers("--idle-timeout", "5ms", "--spares", "1", "--max-instances", str(TENANTS // 2))
    until = time.monotonic() + (60 if SOAK else 4)

    def visit(number):
        visits = 0
        while time.monotonic() < until:
            # A new name now and then.
            name = f"tenant_{number}_{visits // 8}"
            assert router.value(name, "SELECT current_database()") == name
            visits += 1
            time.sleep(0.05 + number % 7 * 0.03)

    together(visit)
    assert len(router.postmasters()) <= TENANTS // 2


@pytest.mark.soak
def test_all_places_taken_is_said_in_words(routers):
    """The limit counted for ever; the client over it got a bare reset (row 5)."""
    router = routers("--max-instances", str(TENANTS), "--queue-timeout", "5s", "--max-connections", "5")
    held = [None] * TENANTS
    try:
        def hold(number):
            held[number] = router.connect(f"held_{number}", connect_timeout=60)

        # All at once would be more than start within five seconds.
        for number in range(0, TENANTS, 2):
            together(lambda n: hold(number + n), 2)
        assert len(router.postmasters()) == TENANTS
        with router.wire(timeout=20) as connection:
            (error,) = connection.startup("alice", "late").errors
        assert (error.severity, error.sqlstate) == ("FATAL", "53300")
        assert str(TENANTS) in error.detail and "--max-instances" in error.hint
        # Nobody's session had to go, no directory was made, and a place that comes free is the next one's.
        assert [connection.execute("SELECT 1").fetchone() for connection in held] == [(1,)] * TENANTS
        assert "late" not in router.tenants()
        held[TENANTS // 2].close()
        assert router.value("late", "SELECT current_database()") == "late"
        # A client's socket in a postmaster or a backend would keep that client from ever seeing the end (row 15).
        clients = processes.tcp_sockets(router.port)
        assert len(clients) > TENANTS and processes.sockets(router.pid) & clients
        looked = 0
        for pid in processes.descendants(router.pid):
            # One that is ending shows nothing any more.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                assert not processes.sockets(pid) & clients, processes.describe([pid])
                looked += 1
        assert looked > 4 * TENANTS
    finally:
        for connection in held:
            if connection is not None:
                connection.close()


@pytest.mark.soak
def test_logging_every_statement_of_all_tenants(routers):
    """An undrained stderr pipe froze every backend of a database (row 11): all of them log at once, more than any one
    log may hold."""
    router = routers("--set", "log_statement=all")
    statement = f"SELECT 1 /* {'x' * 100_000} */"
    count = 60
    slowest = [0] * TENANTS

    def load(number):
        with router.connect(f"logs_{number}") as connection:
            for _ in range(count):
                began = time.monotonic()
                connection.execute(statement)
                slowest[number] = max(slowest[number], time.monotonic() - began)

    together(load)
    assert max(slowest) < 10
    logs = router.directory / ".routerd/logs"
    # 6 MB each were written; a log is cut once a second.
    assert processes.eventually(lambda: all(file.stat().st_size <= 4 << 20 for file in logs.iterdir()), 10)
    assert sum(file.stat().st_size for file in logs.iterdir()) <= TENANTS * (5 << 20)
    assert len(list(logs.glob("*.log.1"))) >= TENANTS // 2, "they were logged at all"


def medians(router, names):
    """Seconds that a first connect, and one that wakes, takes."""
    taken = []
    for name in names:
        began = time.monotonic()
        with router.wire() as connection:
            assert not connection.startup("alice", name).errors
            assert connection.query("SELECT 1").value == "1"
        taken.append(time.monotonic() - began)
    return statistics.median(taken)


@pytest.mark.soak
def test_directories_that_nobody_asks_for_cost_nothing(routers):
    """A start that looked into every tenant's directory took minutes, and a first connect that listed them all ever
    longer."""
    count, tries = (10_000, 9) if SOAK else (1_000, 3)
    router = routers()
    router.value("tenant", "SELECT 1")

    def measure(series):
        began = time.monotonic()
        router.stop()
        router.start(port=router.port)
        restart = time.monotonic() - began
        made = medians(router, [f"{series}_{number}" for number in range(tries)])
        met = medians(router, [f"{series}_0"] * tries)
        return restart, made, met

    few = measure("few")
    real = router.directory / "tenant"
    for number in range(count):
        other = router.directory / f"other_{number}"
        (other / "base/1").mkdir(parents=True)
        shutil.copy(real / "PG_VERSION", other)
        if IS_ROOT:
            os.chown(other, real.stat().st_uid, -1)
    many = measure("many")
    about = f"{count} directories: restart, first connect, connect: {few} before, {many} after"
    print(about)
    # Twice and a quarter of a second: a scan of them all would be seconds, and other work goes on beside the test.
    assert all(after < 2 * before + 0.25 for before, after in zip(few, many, strict=True)), about
    # Listing is the one thing that reads them.
    assert len(router.tenants()) > count


@pytest.mark.soak
def test_an_orderly_stop_leaves_nobody_to_recover(routers):
    """All told to stop at once, hardly one had written its checkpoint when its patience ended: a crash recovery for
    each, and unlogged tables are empty after one."""
    router = routers("--spares", "0", "--max-connections", "5")

    def fill(number):
        with router.connect(f"tenant_{number}", connect_timeout=120) as connection:
            connection.execute("CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 20000) AS n")

    together(fill)
    router.stop(within=60)
    assert router.log.count("instance has stopped") == TENANTS and "does not stop" not in router.log
    router.start()

    def check(number):
        assert router.value(f"tenant_{number}", "SELECT count(*) FROM unlogged") == 20000

    together(check)
