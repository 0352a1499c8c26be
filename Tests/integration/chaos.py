"""Clients that write on several tenants and note what was acknowledged, while processes are killed, stopped and
restarted under them by chance. What must hold whatever happens: no acknowledged transaction is lost, none is there by
half, no client hangs, every tenant answers afterwards.

A weapon is a function of the chaos that does its harm and says whether it really did (what is done beside, see `Deed`,
says so itself when it is done); whoever wants other harm passes other weapons. Harm that nobody did shows nothing: that
it was done is a part of the reckoning."""

import collections
import concurrent.futures
import contextlib
import errno
import os
import random
import signal
import threading
import time

import psycopg

import processes
from console import control
from descriptors import limit_descriptors

# What a client may be told meanwhile; without a code, the connection broke in the middle as PostgreSQL's own does.
EXCUSES = (None, "57P01", "57P02", "57P03")
# What a client that is not let in is told, by code: libpq keeps the code of a refusal to itself.
REFUSALS = {
    "57P01": ("terminating connection",),
    "57P03": ("the database system is", "cannot be started", "does not answer"),
    "53000": ("Too many open files",),
    # The second is all that PostgreSQL says of it where the relation cache is built again.
    "53100": ("No space left on device", "could not write init file"),
    "53300": ("cannot open another connection",),
}
# The longest that any one statement or connect may take, whatever is done to whom.
PATIENCE = 40
# How often every weapon must have had its turn before one that has never done harm is a fault of the test: a tenant is
# only dropped once one has come, and either can be cut off by what is done to the others.
ENOUGH_ROUNDS = 3


def told(error):
    """The codes of what a client was told."""
    text = str(error)
    if error.sqlstate is None and "FATAL:" in text:
        return {code for code, phrases in REFUSALS.items() if any(phrase in text for phrase in phrases)}
    return {error.sqlstate}


def is_excused(error, excuses):
    return not told(error).isdisjoint(excuses)


class Chaos:
    """`transactions` is how many a writer does in one session: a few, and its instance is idle now and then. However
    short the time, `essential` weapons do their harm, and somebody is told one of the codes in `expected`."""

    def __init__(self, router, weapons, seed, tenants=4, writers=2, excuses=EXCUSES, pause=(0.05, 1.0),
                 transactions=None, essential=(), expected=()):
        self.router = router
        self.transactions = transactions
        self.weapons = list(weapons)
        self.seed = seed
        self.chance = random.Random(seed)
        self.tenants = [f"chaos_{number}" for number in range(tenants)]
        self.excuses = excuses
        self.essential = essential
        self.expected = expected
        self.done = collections.Counter()
        self.met = collections.Counter()
        self.rounds = 0
        self.over = threading.Event()
        self.writers = [Writer(self, tenant, number) for tenant in self.tenants for number in range(writers)]
        self.passing = {}
        self.beside = []
        self._pause = pause
        self._later = []

    def run(self, seconds):
        """Harm for so long, and until the least that must be done is done; then rest, then the reckoning."""
        with concurrent.futures.ThreadPoolExecutor(8) as makers:
            list(makers.map(self._make, self.tenants))
        for writer in self.writers:
            writer.start()
        try:
            until = time.monotonic() + seconds
            left = []
            while time.monotonic() < until or (self.missing() and time.monotonic() < until + PATIENCE):
                self.rest(self.chance.uniform(*self._pause))
                if not left:
                    left = self.chance.sample(self.weapons, len(self.weapons))
                weapon = left.pop()
                if weapon(self):
                    self.done[weapon.__name__] += 1
                self.rounds += not left
        finally:
            self.settle()
        self.reckon()

    def missing(self):
        """What has not been done yet and must be."""
        needed = {*self.essential, *(self.weapons if self.rounds >= ENOUGH_ROUNDS else ())}
        missing = [weapon.__name__ for weapon in needed if not self.done[weapon.__name__]]
        if self.expected and not any(self.met[code] for code in self.expected):
            missing.append(f"one who is told {' or '.join(self.expected)}")
        return missing

    def _make(self, tenant):
        with self.router.connect(tenant) as connection:
            connection.execute("CREATE TABLE written (writer int, n bigint, PRIMARY KEY (writer, n))")
            connection.execute("CREATE TABLE counted AS SELECT w AS writer, 0::bigint AS n FROM "
                               "generate_series(0, 99) w")

    def rest(self, seconds):
        """Waits, and does what was put off until a time that comes meanwhile."""
        until = time.monotonic() + seconds
        while True:
            self._later.sort(key=lambda entry: entry[0])
            due = self._later[0][0] if self._later else until
            time.sleep(max(0, min(due, until) - time.monotonic()))
            if due > until or not self._later:
                return
            self._later.pop(0)[1]()

    def later(self, seconds, action):
        """Puts an action off: how a weapon ends its harm."""
        self._later.append((time.monotonic() + seconds, action))

    def end_harm(self):
        """Does at once what was put off."""
        while self._later:
            self._later.pop(0)[1]()

    def settle(self):
        """Ends every harm under way and lets the clients come to an end."""
        self.end_harm()
        # Everybody gets through once more.
        counts = [writer.acknowledged for writer in self.writers]
        resumed = lambda: all(w.acknowledged > c for w, c in zip(self.writers, counts, strict=True))
        self.recovered = processes.eventually(resumed, PATIENCE)
        self.over.set()
        for client in [*self.writers, *self.beside]:
            client.join(PATIENCE)

    def reckon(self):
        about = f"seed {self.seed}: {dict(self.done)}, told {dict(self.met)}"
        clients = [*self.writers, *self.beside]
        assert not any(client.is_alive() for client in clients), f"{about}: a client hangs"
        faults = [client.fault for client in clients if client.fault]
        assert not faults, f"{about}: {faults}"
        assert self.recovered, f"{about}: a client gets through no more"
        assert not self.missing(), f"{about}: no harm by {self.missing()}"
        slowest = max(writer.slowest for writer in self.writers)
        assert slowest < PATIENCE, f"{about}: a client waited {slowest:.1f} s"
        with concurrent.futures.ThreadPoolExecutor(4) as reckoners:
            list(reckoners.map(lambda tenant: self._reckon(tenant, about), self.tenants))
        for tenant in self.passing.values():
            tenant.reckon(self.router, about)
        rows = sum(writer.acknowledged for writer in self.writers)
        print(f"{about}; {rows} transactions acknowledged, none lost, the slowest {slowest:.1f} s")

    def _reckon(self, tenant, about):
        with self.router.connect(tenant) as connection:
            written = connection.execute("SELECT writer, n FROM written").fetchall()
            counted = dict(connection.execute("SELECT writer, n FROM counted").fetchall())
        for writer in self.writers:
            if writer.tenant != tenant:
                continue
            there = {n for number, n in written if number == writer.number}
            lost = writer.numbers - there
            assert not lost, f"{about}: {tenant} lost {sorted(lost)[:5]} of writer {writer.number}"
            assert counted[writer.number] == len(there), f"{about}: {tenant} has a transaction by half"

    # What weapons aim at

    def postmaster(self):
        """Of a tenant by chance, of those that run; the writers wake one before long where none does."""
        return self._found(self._postmasters)

    def backend(self):
        """One that serves a session."""
        return self._found(lambda: [pid for pid in self._children() if "[local]" in processes.describe([pid])])

    def child(self):
        """A process of a postmaster: a backend, the WAL writer, the checkpointer …"""
        return self._found(self._children)

    def _found(self, candidates):
        until = time.monotonic() + 5
        while True:
            found = candidates()
            if found:
                return self.chance.choice(found)
            if time.monotonic() > until:
                return None
            self.rest(0.05)

    def _postmasters(self):
        """Numbers are used again; nobody else's process is harmed."""
        ours = set(processes.in_directory(self.router.home))
        found = []
        for tenant in self.tenants:
            with contextlib.suppress(OSError, IndexError, ValueError):
                found.append(self.router.postmaster(tenant))
        return [process for process in found if process in ours]

    def _children(self):
        postmasters = set(self._postmasters())
        return [pid for pid in processes.all_process_ids() if processes.parent(pid) in postmasters]


class Writer(threading.Thread):
    """Transactions of two statements, one after the other; reconnects when it is cut off."""

    def __init__(self, chaos, tenant, number):
        super().__init__(daemon=True)
        self.chaos, self.tenant, self.number = chaos, tenant, number
        self.numbers = set()
        self.fault = None
        self.slowest = 0.0

    @property
    def acknowledged(self):
        return len(self.numbers)

    def run(self):
        n = 0
        while not self.chaos.over.is_set():
            began = time.monotonic()
            try:
                with self.chaos.router.connect(self.tenant, connect_timeout=PATIENCE) as connection:
                    last = n + self.chaos.transactions if self.chaos.transactions else None
                    while not self.chaos.over.is_set() and n != last:
                        self.slowest = max(self.slowest, time.monotonic() - began)
                        began = time.monotonic()
                        n += 1
                        self._transaction(connection, n)
                        self.numbers.add(n)
            except psycopg.Error as error:
                self.chaos.met.update(told(error))
                if not is_excused(error, self.chaos.excuses):
                    self.fault = f"{self.tenant}: {error.sqlstate} {error}"
                    return
                self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(0.01 if self.chaos.transactions is None else 0.1)

    def _transaction(self, connection, n):
        with connection.transaction():
            connection.execute("INSERT INTO written VALUES (%s, %s)", (self.number, n))
            connection.execute("UPDATE counted SET n = n + 1 WHERE writer = %s", (self.number,))


class Passing:
    """A tenant that comes while everything dies, and may go again: whole or absent, and for good."""

    def __init__(self, name):
        self.name = name
        self.row = None  # what its client was told is written
        self.dropped = False  # told so
        self.may_be_gone = False

    def make(self, router):
        with router.connect(self.name, connect_timeout=PATIENCE) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            self.row = 42

    def drop(self, router):
        with control(router) as console:
            console.execute(f'DROP "{self.name}"')
            self.dropped = True

    def reckon(self, router, about):
        exists = (router.directory / self.name).exists()
        if self.dropped:
            assert not exists, f"{about}: {self.name} was dropped and is there"
        elif exists:
            with router.connect(self.name) as connection:
                (table,) = connection.execute("SELECT to_regclass('kept') IS NOT NULL").fetchone()
                assert table or self.row is None, f"{about}: {self.name} lost its table"
        else:
            assert self.row is None or self.may_be_gone, f"{about}: {self.name} is gone"


class Deed(threading.Thread):
    """What is done once, beside everything else: whatever hangs meanwhile, the harm goes on. It counts for its weapon
    when it is done."""

    def __init__(self, chaos, deed, weapon):
        super().__init__(daemon=True)
        self.chaos, self.deed, self.weapon = chaos, deed, weapon
        self.fault = None
        chaos.beside.append(self)
        self.start()

    def run(self):
        try:
            self.deed(self.chaos.router)
            self.chaos.done[self.weapon.__name__] += 1
        except psycopg.Error as error:
            self.chaos.met.update(told(error))
            if not is_excused(error, self.chaos.excuses):
                self.fault = f"{error.sqlstate} {error}"
        except FileNotFoundError:
            pass  # the socket of a router that is not there yet


# Weapons


def make_a_tenant(chaos):
    """From a spare where there is one."""
    tenant = Passing(f"passing_{len(chaos.passing)}")
    chaos.passing[tenant.name] = tenant
    Deed(chaos, tenant.make, make_a_tenant)


def drop_a_tenant(chaos):
    here = [tenant for tenant in chaos.passing.values() if tenant.row and not tenant.may_be_gone]
    if not here:
        return
    tenant = chaos.chance.choice(here)
    tenant.may_be_gone = True
    Deed(chaos, tenant.drop, drop_a_tenant)


def fill_the_disk(chaos):
    """To the last block, for a while. The test has given the base directory a file system of its own."""
    filler = chaos.router.directory / ".filler"
    if filler.exists():
        return False
    with open(filler, "wb") as file:
        _take_all_room(file)
    chaos.later(chaos.chance.uniform(0.2, 1.0), lambda: filler.unlink(missing_ok=True))
    return True


def _take_all_room(file):
    """In ever smaller pieces, until there is no room for a single block: others take some meanwhile, and a piece that
    does not fit as a whole takes nothing."""
    taken, piece = 0, 64 << 20
    while piece >= os.fstatvfs(file.fileno()).f_frsize:
        try:
            os.posix_fallocate(file.fileno(), taken, piece)
            taken += piece
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            piece //= 2


def take_the_descriptors(chaos):
    """What the router has open it keeps, and gets no more for a while."""
    router = chaos.router
    limit_descriptors(router.pid, len(os.listdir(f"/proc/{router.pid}/fd")) + 1)
    chaos.later(chaos.chance.uniform(0.1, 0.8), lambda: limit_descriptors(router.pid, 4096))
    return True


def kill_a_postmaster(chaos):
    return _signal(chaos.postmaster(), signal.SIGKILL)


def kill_a_backend(chaos):
    return _signal(chaos.backend(), signal.SIGKILL)


def kill_a_child(chaos):
    return _signal(chaos.child(), signal.SIGKILL)


def hang_a_postmaster(chaos):
    return _hang(chaos, chaos.postmaster())


def hang_a_child(chaos):
    return _hang(chaos, chaos.child())


def hang_the_router(chaos):
    return _hang(chaos, chaos.router.pid)


def kill_the_router(chaos):
    """And starts it again at the same place: at once, or after a while in which its children must have gone."""
    router = chaos.router
    router.kill()
    if chaos.chance.random() < 0.3:
        chaos.rest(1)
    router.start(port=router.port)
    return True


def restart_the_router(chaos):
    """In order, under load. One that hangs could not hear that it is to stop; a postmaster that hangs is waited for,
    which takes a while, and is rarely worth it."""
    _signal(chaos.router.pid, signal.SIGCONT)
    if chaos.chance.random() < 0.8:
        chaos.end_harm()
    chaos.router.stop(within=30)
    chaos.router.start(port=chaos.router.port)
    return True


COMING_AND_GOING = (make_a_tenant, make_a_tenant, drop_a_tenant)
EVERY_KILL = (kill_a_postmaster, kill_a_backend, kill_a_child, hang_a_postmaster, hang_a_child, hang_the_router,
              kill_the_router, restart_the_router)


def _signal(process, number):
    if process is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
        return True
    return False


def _hang(chaos, process):
    if not _signal(process, signal.SIGSTOP):
        return False
    chaos.later(chaos.chance.uniform(0.05, 1.5), lambda: _signal(process, signal.SIGCONT))
    return True
