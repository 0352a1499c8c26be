"""The n-th system call fails, for every n: of a whole session, and of the making of a tenant. Nobody waits for an
answer that will not come, nothing is left over, and the next client is served."""

import errno
import itertools
import os
import random
import shutil
import time

import pytest

import processes
import wire
from faults import ALWAYS, ONE_BYTE, FailNth

SOAK = bool(os.environ.get("ROUTERD_SOAK"))
SEED = int(os.environ.get("ROUTERD_TEST_SEED") or random.randrange(1 << 32))
# How long the samples of this file may take, in seconds each.
SAMPLE = 7

# What the kernel can answer each call with (the manual's pages), as far as it makes a difference here. A read of an
# edge-triggered descriptor never says EAGAIN while there is something, so neither do we.
OF_A_SESSION = {
    "ECONNRESET": ["recv", "send"],
    "EPIPE": ["send"],
    "ETIMEDOUT": ["recv", "send", "connect"],
    "ENOMEM": ["recv", "send", "accept", "connect", "socket", "epoll_add", "setsockopt"],
    "ENOBUFS": ["send", "accept", "connect", "socket", "setsockopt"],
    "ENOSPC": ["epoll_add"],
    "EMFILE": ["accept", "socket"],
    "ENFILE": ["accept", "socket"],
    "EINTR": ["recv", "send", "accept", "epoll_wait"],
    "EAGAIN": ["send", "connect"],
    "ECONNREFUSED": ["connect"],
    "ECONNABORTED": ["accept"],
    "one byte": ["send"],
}
# What may be told to a client whose session the failure meets.
EXCUSES = ("08", "53", "57", "58")


@pytest.fixture
def rehearsal(routers):
    """Arguments of routerd → a router whose calls can be failed."""

    def begin(*arguments, **options):
        # io_uring asks the kernel behind the back of whoever stands between a program and its library.
        router = routers.prepared("--io", "epoll", *arguments, **options)
        faults = FailNth(router.home)
        router.environment |= faults.environment
        router.start()
        return router, faults

    return begin


def plan(table, places, budget):
    """(name of the error, its number, calls, n) in an order of chance: all in the soak, else until the time is up.
    `places(calls)` tells which n there are."""
    chance = random.Random(SEED)
    piles = []
    for name, calls in table.items():
        number = ONE_BYTE if name == "one byte" else getattr(errno, name)
        pile = [(name, number, calls, n) for n in places(calls)]
        chance.shuffle(pile)
        piles.append(pile)
    # One of each in turn, so that a sample has met them all.
    rows = [row for turn in itertools.zip_longest(*piles) for row in turn if row]
    until = time.monotonic() + budget
    for done, row in enumerate(rows):
        if not SOAK and time.monotonic() > until:
            print(f"seed {SEED}: {done} of {len(rows)}")
            return
        yield row
    print(f"seed {SEED}: all {len(rows)}")


# A whole session


def script(router, database):
    """What clients do, each part checked: the answer is right, or an error in words, or the end of the stream."""
    with router.wire(timeout=6) as client:
        _expect(client.startup("alice", database))
        _expect(client.query("SELECT 1"), [["1"]])
        client.send(wire.extended_query("SELECT $1::text", "two"))
        _expect(client.until_ready(), [["two"]])
        client.send(wire.query_message("COPY copied FROM STDIN"))
        tag, body = client.receive()
        if tag == b"E":
            raise wire.ServerError.parse(body)
        assert tag == b"G", tag
        for _ in range(3):
            client.send(wire.message(b"d", b"x" * 9000 + b"\n"))
        client.send(wire.message(b"c"))
        _expect(client.until_ready())
        _expect(client.query("SELECT repeat('y', 300000)"), [["y" * 300_000]])
        _expect(client.query("TRUNCATE copied"))
        client.send(wire.message(b"X"))
        assert client.is_closed(within=6), "not closed"


def _expect(transcript, rows=None):
    if transcript.errors:
        raise transcript.errors[0]
    assert rows is None or transcript.rows == rows


def outcome(run, *arguments):
    """None, or how it ended; a client that waits in vain is what must not be."""
    try:
        return run(*arguments)
    except wire.ServerError as error:
        assert error.sqlstate[:2] in EXCUSES, error
        return str(error)
    except (wire.Closed, ConnectionResetError, BrokenPipeError) as end:
        return f"closed: {end}"


def held(router):
    return len(os.listdir(f"/proc/{router.pid}/fd"))


@pytest.mark.soak
def test_every_call_of_a_session(rehearsal):
    """A failure that nobody had thought of ended the server, or left a session, a descriptor or a client hanging."""
    router, faults = rehearsal("--queue-timeout", "3s", "--spares", "0")
    with router.connect("tenant") as connection:
        connection.execute("CREATE TABLE copied (t text)")
    script(router, "tenant")

    def places(calls):
        faults.arm(ALWAYS, calls, 1)
        script(router, "tenant")
        return range(1, faults.disarm()[0] + 1)

    usual = held(router)
    told = set()
    for name, number, calls, n in plan(OF_A_SESSION, places, SAMPLE):
        case = f"seed {SEED}: {name} at call {n} of {calls}"
        faults.arm(n, calls, number)
        try:
            ended = outcome(script, router, "tenant")
        except Exception as failure:
            raise AssertionError(f"{case}, which was {faults.disarm()[2]}") from failure
        _, fired, call = faults.disarm()
        case += f", which was {call}: {ended}"
        told |= {(name, bool(fired), ended)}
        assert router.process.poll() is None, f"{case}: the server has ended"
        released = lambda: held(router) <= usual
        assert processes.eventually(released, 6, interval=0.002), f"{case}: {held(router)} descriptors"
        assert outcome(script, router, "tenant") is None, f"{case}: the next client is not served"
    # A library that fails nothing would find nothing.
    assert len({name for name, fired, _ in told if fired}) > len(OF_A_SESSION) / 2
    assert any(ended for _, _, ended in told)


# The making of a tenant

OF_A_TENANT = {
    "ENOSPC": ["write", "copy", "mkdir", "rename", "sync"],
    "EDQUOT": ["write", "copy", "mkdir", "open"],
    "EIO": ["read", "write", "copy", "sync", "stat", "list", "open", "unlink"],
    "EMFILE": ["open", "socket", "pidfd", "landlock"],
    "ENOMEM": ["open", "clone", "epoll_add", "stat", "list", "bind", "connect", "landlock", "exec"],
    "EAGAIN": ["clone", "connect"],
    "EACCES": ["exec", "bind", "unlink", "chmod"],
    "EINTR": ["open", "read", "write", "copy"],
    "EPERM": ["child"],
    "ECONNREFUSED": ["connect"],
    "ECONNRESET": ["recv", "send"],
    "one byte": ["write", "send"],
}
# Calls made for each of a thousand files are one case, met in a thousand places: their first and last ones, and some.
EDGE, BETWEEN = 12, 12


class Workshop:
    """Makes a tenant for each failure and clears away what is done with."""

    def __init__(self, router):
        self.router = router
        self.made = 0

    def connect(self):
        """A name not used before; None, or how the connect ended."""
        self.made += 1
        self.name = f"tenant_{self.made}"
        return outcome(self._connect, self.name)

    def again(self):
        return outcome(self._connect, self.name)

    def _connect(self, name):
        with self.router.wire(timeout=20) as client:
            _expect(client.startup("alice", name))
            _expect(client.query("SELECT current_database(), count(*) > 300 FROM pg_class"), [[name, "t"]])

    def halves(self):
        """What stands in the place where clusters are put together."""
        return os.listdir(self.router.directory / ".routerd" / "staging")

    def clear(self):
        """Hibernated tenants are removed: a thousand of them would not fit into memory."""
        for tenant in self.router.tenants():
            if not (self.router.directory / tenant / "postmaster.pid").exists() and tenant != self.name:
                shutil.rmtree(self.router.directory / tenant, ignore_errors=True)


@pytest.mark.soak
def test_every_call_of_the_making_of_a_tenant(rehearsal):
    """A first connect that failed half-way left a directory that no later connect could use (row 4)."""
    router, faults = rehearsal("--idle-timeout", "1ms", "--max-instances", "8", "--spares", "0")
    workshop = Workshop(router)
    assert workshop.connect() is None
    assert processes.eventually(lambda: not router.postmasters(), 10)
    usual = held(router)

    def places(calls):
        faults.arm(ALWAYS, calls, 1)
        assert workshop.connect() is None
        count, _, _ = faults.disarm()
        if count <= 2 * EDGE + BETWEEN:
            return range(1, count + 1)
        between = random.Random(SEED).sample(range(EDGE + 1, count - EDGE), BETWEEN)
        return [*range(1, EDGE + 1), *between, *range(count - EDGE, count + 1)]

    fired = set()
    for name, number, calls, n in plan(OF_A_TENANT, places, SAMPLE):
        case = f"seed {SEED}: {name} at call {n} of {calls}"
        faults.arm(n, calls, number)
        try:
            ended = workshop.connect()
        except Exception as failure:
            raise AssertionError(f"{case}, which was {faults.disarm()[2]}") from failure
        call = faults.disarm()[2]
        case += f", which was {call}: {ended}"
        fired.add(call)
        assert router.process.poll() is None, f"{case}: the server has ended"
        assert processes.eventually(lambda: workshop.again() is None, 5, interval=0.05), f"{case}: the next is refused"
        assert not workshop.halves(), f"{case}: {workshop.halves()}"
        workshop.clear()
    assert len(fired) > 5
    # Every instance has gone to sleep: what is still held is lost.
    assert processes.eventually(lambda: not router.postmasters(), 10)
    assert processes.eventually(lambda: held(router) <= usual, 5), held(router)


# The claim of a spare

# Never all that could take a directory out of the way at once: from then on, that would be a disk that nothing leaves.
OF_A_CLAIM = {
    "ENOSPC": ["write", "rename", "sync"],
    "EIO": ["write", "sync", "unlink", "stat"],
    "EMFILE": ["open"],
    "ENOMEM": ["open", "stat", "connect"],
    "one byte": ["write"],
}
# Their clusters would not fit into memory all at once.
AT_ONCE = 20


class Claims:
    """Names that one spare after the other is given to, each with a row of its own."""

    def __init__(self, router):
        self.router = router
        self.private = router.directory / ".routerd"
        self.names = []
        self.made = 0

    def connect(self):
        """A name not used before, while a spare is ready; None, or how the connect ended."""
        self.made += 1
        self.names.append(f"tenant_{self.made}")
        return self.again()

    def again(self):
        return outcome(self._connect, self.names[-1])

    def _connect(self, name):
        with self.router.wire(timeout=20) as client:
            _expect(client.startup("alice", name))
            _expect(client.query("CREATE TABLE IF NOT EXISTS kept AS SELECT current_database() AS name"))
            _expect(client.query("SELECT name FROM kept"), [[name]])

    def await_spare(self):
        """One is announced for every name that has taken one since the start."""
        is_ready = lambda: self.router.latest_log.count("a spare is ready") > len(self.names)
        assert processes.eventually(is_ready, 30, interval=0.01), self.router.latest_log[-2000:]

    def restart(self):
        """Every name has its row, and nothing else is there."""
        self.router.stop()
        # A log that could not be renamed served on.
        assert not [name for name in os.listdir(self.private / "spares") if not name.endswith(".log")]
        assert self.router.tenants() == set(self.names)
        self.router.start()
        assert "stays where it is" not in self.router.latest_log
        assert os.listdir(self.private / "staging") == []
        assert processes.eventually(lambda: not os.listdir(self.private / "trash"), 20)
        for name in self.names:
            with self.router.wire(timeout=20) as client:
                _expect(client.startup("alice", name))
                _expect(client.query("SELECT name FROM kept"), [[name]])
        self.router.stop()
        assert not [name for name in self.names if (self.router.directory / name / "routerd.claim").exists()]
        for name in self.names:
            shutil.rmtree(self.router.directory / name)
        self.names = []
        self.router.start()


@pytest.mark.soak
@pytest.mark.parametrize("times", [1, ALWAYS], ids=["once", "from_then_on"])
def test_every_call_of_a_claim(rehearsal, times):
    """A claim that failed and could not be taken back was finished by the next start, whatever had become of the name
    meanwhile."""
    router, faults = rehearsal("--idle-timeout", "1ms", "--max-instances", "8", "--spares", "1", "--log-level", "debug")
    claims = Claims(router)

    def places(calls):
        claims.await_spare()
        faults.arm(ALWAYS, calls, 1)
        assert claims.connect() is None
        return range(1, faults.disarm()[0] + 1)

    fired = set()
    for name, number, calls, n in plan(OF_A_CLAIM, places, SAMPLE / 3):
        case = f"seed {SEED}: {name} at call {n} of {calls}"
        claims.await_spare()
        faults.arm(n, calls, number, times)
        try:
            ended = claims.connect()
        except Exception as failure:
            raise AssertionError(f"{case}, which was {faults.disarm()[2]}") from failure
        call = faults.disarm()[2]
        case += f", which was {call}: {ended}"
        fired.add(call)
        assert router.process.poll() is None, f"{case}: the server has ended"
        assert processes.eventually(lambda: claims.again() is None, 10, interval=0.05), f"{case}: the next is refused"
        if len(claims.names) == AT_ONCE:
            claims.restart()
    claims.restart()
    assert len(fired - {None}) > 2, fired
