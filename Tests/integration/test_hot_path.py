"""What relaying a message costs, of what can be counted: no memory, no reference, and so many system calls.

Compiled for debugging the same code allocates, so this is about a release: `make gate` builds one and runs this."""

import contextlib

import pytest

import wire
from meters import MemoryMeter, reactor_thread, system_calls
from router import BINARY, Router, looked_after
from test_io_engines import io_uring_is_refused

if BINARY.parent.name == "debug":
    pytest.skip("is about a release: make gate", allow_module_level=True)

ROUND_TRIPS = 200
AT_ONCE = 8
# A window may meet what the router does once a second; it does not meet it every time.
WINDOWS = 10
NOTHING = (0, 0, 0)
# System calls of the router per round trip: with one client, and at most with eight whose messages come together.
ALONE = {"epoll": 6, "io_uring": 4}
CROWDED = {"epoll": 4.5, "io_uring": 1}
# What else the router did meanwhile.
TOLERANCE = 0.3


@pytest.fixture(scope="module", params=["epoll", "io_uring"])
def engine(request):
    if request.param == "io_uring" and (reason := io_uring_is_refused()):
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="module")
def metered(engine):
    """A router with the meter in it, and eight clients who have been served so often that every pool is filled."""
    with looked_after([Router("--io", engine)]) as [router]:
        router.meter = MemoryMeter(router.home)
        router.environment |= router.meter.environment
        router.start()
        with contextlib.ExitStack() as stack:
            router.clients = [stack.enter_context(router.wire()) for _ in range(AT_ONCE)]
            for client in router.clients:
                client.startup("alice", "tenant")
            for work in WORK.values():
                work(router.clients)
            yield router


# What clients do


def queries(clients, times=ROUND_TRIPS):
    for _ in range(times):
        clients[0].query("SELECT 1")


def prepared(clients):
    for _ in range(ROUND_TRIPS // 4):
        clients[0].send(wire.extended_query("SELECT $1::text", "two"))
        clients[0].until_ready()


def crowd(clients, times=ROUND_TRIPS // AT_ONCE):
    for _ in range(times):
        for client in clients:
            client.send(wire.query_message("SELECT 1"))
        for client in clients:
            client.until_ready()


def large_values(clients):
    clients[0].query("SELECT repeat('x', 1000000)")
    clients[0].query("SELECT length('" + "y" * 500_000 + "')")


def copies(clients):
    clients[0].query("CREATE TEMPORARY TABLE IF NOT EXISTS copied (t text)")
    clients[0].send(wire.query_message("COPY copied FROM STDIN"))
    assert clients[0].receive()[0] == b"G"
    clients[0].send(wire.message(b"d", b"x" * 100 + b"\n") * 200 + wire.message(b"c"))
    clients[0].until_ready()
    clients[0].query("COPY copied TO STDOUT")
    clients[0].query("TRUNCATE copied")


WORK = {"queries": queries, "prepared": prepared, "crowd": crowd, "large values": large_values, "copies": copies}


def least(router, work, expected=None, **options):
    """Of several windows the one in which nothing else was going on."""
    counted = []
    while len(counted) < WINDOWS and expected not in counted:
        counted.append(router.meter.count(lambda: work(router.clients), **options))
    return min(counted)


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
def test_no_memory_and_no_reference_for_a_message(metered, work):
    """One allocation per message is a lock that every thread shares, and was not seen until it was measured."""
    assert least(metered, work, NOTHING) == NOTHING


def test_the_meter_sees_one_allocation(metered):
    """A meter that sees nothing would be content with everything: one byte is allocated with each of the two sends of
    a round trip, and nothing else."""
    planted = (2 * ROUND_TRIPS, 2 * ROUND_TRIPS, 0)
    assert least(metered, queries, planted, plants=True) == planted


def test_the_meter_sees_what_swift_allocates(metered):
    """The same for Swift's own: a new session is made of strings and boxes."""

    def connect(_):
        with metered.wire() as client:
            client.startup("alice", "tenant")

    counted = least(metered, connect)
    assert counted.taken > 10 and counted.given_back > 10 and counted.references > 10


def calls_per_round_trip(router, work, round_trips, **options):
    warm_up = lambda: queries(router.clients, times=3)
    counts = system_calls(reactor_thread(router.pid), lambda: work(router.clients), warm_up, **options)
    print(f"system calls of {round_trips} round trips, by their numbers: {counts}")
    return sum(counts.values()) / round_trips


def test_system_calls_of_a_round_trip(metered, engine):
    """Nearly all that a proxy costs is the kernel's part: one call more for each message makes a release slower, and no
    test fails."""
    calls = calls_per_round_trip(metered, lambda clients: queries(clients, 100), 100)
    assert calls < ALONE[engine] + TOLERANCE
    # The gate closes: neither a bound that is one lower holds, nor what is asked of a crowd.
    assert calls > ALONE[engine] - 1 + TOLERANCE and calls > CROWDED[engine] + TOLERANCE


def test_system_calls_of_a_crowd(metered, engine):
    """What several ask in one tick shares the call that waits."""
    rounds = 12
    calls = calls_per_round_trip(metered, lambda clients: crowd(clients, rounds), rounds * AT_ONCE, hold=0.005)
    assert 0 < calls < CROWDED[engine] + TOLERANCE
