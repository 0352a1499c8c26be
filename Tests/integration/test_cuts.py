"""The router is killed in the middle of giving a new name its cluster, at any step: whoever was answered finds what was
answered, and a name that was on its way is whole or absent afterwards."""

import itertools
import os
import random
import threading
import time

import psycopg
import pytest

import processes
from faults import ALWAYS, DEATH, FailNth

SOAK = bool(os.environ.get("ROUTERD_SOAK"))
SEED = int(os.environ.get("ROUTERD_TEST_SEED") or random.randrange(1 << 32))
# How long each test goes on.
SECONDS = float(os.environ.get("ROUTERD_CHAOS_SECONDS") or (120 if SOAK else 3))
# A soak of its own tries every call, however long that takes.
ALL = SOAK and "ROUTERD_CHAOS_SECONDS" not in os.environ
SPARES = ("--spares", "2", "--log-level", "debug")

# Between two calls of these kinds nothing changes that outlives the program.
OF_A_CLAIM = ("mkdir", "rename", "unlink", "sync", "write", "send", "connect")
# Of a clone, without those that are made for each of a thousand files.
OF_A_CLONE = ("mkdir", "rename", "unlink", "sync", "send", "connect", "clone")


class Ledger:
    """Names that were asked for, and of each the numbers that its clients were told are written."""

    def __init__(self, router):
        self.router = router
        self.told = {}

    def fresh(self):
        name = f"cut_{len(self.told)}"
        self.told[name] = set()
        return name

    def write(self, name):
        """A session as a tenant's first one goes; a number counts once its COMMIT is answered."""
        with self.router.connect(name, user=f"user_of_{name}") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
            for number in range(3):
                connection.execute("INSERT INTO kept VALUES (%s)", (number,))
                self.told[name].add(number)

    def check(self, names, about):
        """Every name answers, what was told is there, and it is a tenant like any other."""
        for name in names:
            try:
                with self.router.connect(name, user=f"user_of_{name}") as connection:
                    assert connection.execute("SELECT current_database()").fetchone() == (name,)
                    if self.told[name]:
                        there = {n for n, in connection.execute("SELECT n FROM kept")}
                        assert there >= self.told[name], f"{about}: {name} lost {self.told[name] - there}"
                    else:
                        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
            except psycopg.Error as error:
                raise AssertionError(f"{about}: {name} (told {self.told[name]}): {error.sqlstate} {error}") from error

    def settled(self):
        """Nothing half-made is left, and every directory is a tenant's that was asked for."""
        private = self.router.directory / ".routerd"
        assert self.router.tenants() <= set(self.told), self.router.tenants() - set(self.told)
        assert processes.eventually(lambda: not os.listdir(private / "trash"), 20), os.listdir(private / "trash")
        self.router.stop()
        assert os.listdir(private / "spares") == []
        assert os.listdir(private / "staging") == []
        assert "stays where it is" not in self.router.log and "journal stays" not in self.router.log
        assert not [name for name in self.router.tenants() if (self.router.directory / name / "routerd.claim").exists()]


def wait_for_a_spare(router):
    assert processes.eventually(lambda: "a spare is ready" in router.latest_log, 30, interval=0.005), router.latest_log


def again(router):
    """At once, as whatever watches over it would start it again."""
    router.process.wait()
    router.process = None
    router.start(port=router.port)


def rounds(untried=None):
    """As many as there is time for, but some in any case, or until nothing is left in the list `untried`."""
    until = time.monotonic() + SECONDS
    goes_on = lambda: bool(untried) if ALL and untried is not None else time.monotonic() < until
    return itertools.takewhile(lambda number: number < 3 or goes_on(), itertools.count())


@pytest.mark.soak
def test_a_kill_at_any_moment_of_a_claim(routers):
    """New names come as fast as one client can ask for them, and the router is killed some milliseconds after one has.
    A claim that was cut between the rename of its directory and that of its database left a tenant that no client
    could enter."""
    chance = random.Random(SEED)
    router = routers(*SPARES)
    ledger = Ledger(router)
    number = 0
    for number in rounds():
        about = f"seed {SEED}, round {number}"
        wait_for_a_spare(router)
        before = set(ledger.told)
        asking = threading.Event()
        client = threading.Thread(target=_ask_until_it_ends, args=(ledger, asking), daemon=True)
        client.start()
        assert asking.wait(10)
        # A claim is over in some milliseconds; on a busy machine it is all longer.
        time.sleep(chance.choice((0.015, 0.06, 0.3)) * chance.random())
        router.process.kill()
        client.join(30)
        assert not client.is_alive(), f"{about}: a client hangs"
        again(router)
        ledger.check(sorted(set(ledger.told) - before), about)
    told = sum(bool(numbers) for numbers in ledger.told.values())
    ledger.check(sorted(ledger.told), f"seed {SEED}, in the end")
    print(f"seed {SEED}: {number + 1} kills, {len(ledger.told)} names, {told} of them told something")
    ledger.settled()


def _ask_until_it_ends(ledger, asking):
    try:
        while True:
            name = ledger.fresh()
            asking.set()
            ledger.write(name)
    except psycopg.Error:
        pass


@pytest.mark.soak
@pytest.mark.parametrize("way", ["claim", "clone"])
def test_a_kill_before_any_call_of_a_first_connect(routers, way):
    """A moment of chance rarely falls between two calls that follow each other at once. Here the program dies exactly
    there, at a call that changes something, until every such call has been the last one."""
    spares, calls = (SPARES, OF_A_CLAIM) if way == "claim" else (("--spares", "0"), OF_A_CLONE)
    chance = random.Random(SEED)
    router = routers.prepared(*spares)
    faults = FailNth(router.home)
    router.environment |= faults.environment
    router.start()
    ledger = Ledger(router)
    order, deaths = [], {}
    for _ in rounds(order):
        if way == "claim":
            wait_for_a_spare(router)
        name = ledger.fresh()
        if not order:
            # How many there are until the client has been answered; most are the claim's own.
            faults.arm(ALWAYS, calls, DEATH)
            ledger.write(name)
            count, _, _ = faults.disarm()
            order += chance.sample(range(1, count + 1), count)
            continue
        nth = order.pop()
        about = f"seed {SEED}: killed at call {nth}"
        faults.arm(nth, calls, DEATH)
        try:
            ledger.write(name)
        except psycopg.Error:
            pass
        if router.process.poll() is None:
            processes.eventually(lambda: router.process.poll() is not None, 0.2)
        _, fired, call = faults.disarm()
        if not fired:
            # What happens beside it differs from one time to the next.
            router.process.kill()
        deaths[call] = deaths.get(call, 0) + 1
        again(router)
        ledger.check([name], f"{about}, {call}")
    died = sum(deaths[call] for call in deaths if call)
    assert died > 0
    if ALL:
        assert not order and died > sum(deaths.values()) / 2, deaths
        assert set(deaths) >= ({"write", "sync", "rename"} if way == "claim" else {"mkdir", "sync", "rename"}), deaths
    ledger.check(sorted(ledger.told), f"seed {SEED}, in the end")
    print(f"seed {SEED}: {way}: died at {deaths}, {len(order)} calls not tried")
    ledger.settled()


@pytest.mark.parametrize("spares", [1, 0])
def test_a_name_is_kept_where_commits_are_not(routers, spares):
    """With `synchronous_commit` off the renaming of a database was still in memory when the note that it must be done
    was removed: a router that was killed then left a tenant whose database had the wrong name for ever."""
    # Nothing but a commit that waits writes the log.
    router = routers("--spares", spares, "--set", "synchronous_commit=off", "--set", "wal_writer_delay=10s",
                     "--log-level", "debug")
    ledger = Ledger(router)
    for _ in range(2):
        if spares:
            wait_for_a_spare(router)
        name = ledger.fresh()
        with router.connect(name) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (name,)
            claim = router.directory / name / "routerd.claim"
            assert processes.eventually(lambda: not claim.exists(), 5)
            router.process.kill()
        again(router)
        ledger.check([name], "after the kill")
