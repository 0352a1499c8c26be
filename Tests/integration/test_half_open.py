"""Connections that say nothing, or only half of something."""

import os
import time

import processes
import wire


def test_two_thousand_half_open_connections_harm_nobody(router, name):
    """Half-open connections before the startup packet leaked memory and descriptors."""
    router.value(name, "SELECT 1")
    memory, descriptors = processes.memory(router.pid, "VmRSS"), len(os.listdir(f"/proc/{router.pid}/fd"))
    silent = [router.wire() for _ in range(1000)]
    begun = [router.wire() for _ in range(1000)]
    for connection in begun:
        connection.send(wire.startup_packet("alice", name)[:11])
    try:
        assert processes.eventually(
            lambda: len(os.listdir(f"/proc/{router.pid}/fd")) >= descriptors + 1990, within=10)
        began = time.monotonic()
        assert router.value(name, "SELECT 1") == 1
        assert time.monotonic() - began < 1
        grown = processes.memory(router.pid, "VmRSS") - memory
        assert grown < 2000 * 4096 + (8 << 20), f"{grown / 2000:.0f} bytes each"
        assert begun[0].is_closed(within=0.1) is False
    finally:
        for connection in silent + begun:
            connection.close()
    assert processes.eventually(lambda: len(os.listdir(f"/proc/{router.pid}/fd")) <= descriptors + 2, within=10)


def test_five_thousand_half_open_connections_are_dropped_at_the_deadline(routers):
    """Half-open connections stayed for ever and the next client found no descriptor left."""
    router = routers("--startup-timeout", "2s")
    router.value("tenant", "SELECT 1")
    descriptors = len(os.listdir(f"/proc/{router.pid}/fd"))
    half_open = [router.wire() for _ in range(5000)]
    try:
        for connection in half_open[::2]:
            connection.send(wire.startup_packet("alice", "tenant")[:11])
        began = time.monotonic()
        assert router.value("tenant", "SELECT 1") == 1
        assert time.monotonic() - began < 2
        assert processes.eventually(lambda: len(os.listdir(f"/proc/{router.pid}/fd")) <= descriptors + 2, within=15)
        assert half_open[0].is_closed(within=1) and half_open[-1].is_closed(within=1)
    finally:
        for connection in half_open:
            connection.close()


def test_silent_connections_shut_nobody_out(routers):
    """With every place taken by clients that say nothing, the next one was closed without a word."""
    router = routers("--max-clients", "5")
    router.value("tenant", "SELECT 1")
    silent = [router.wire() for _ in range(300)]
    try:
        for _ in range(5):
            assert router.value("tenant", "SELECT 1") == 1
        assert silent[0].is_closed(within=5)
    finally:
        for connection in silent:
            connection.close()


def test_the_rest_of_a_startup_packet_may_come_late(router, name):
    """A startup packet split over two reads was dropped."""
    packet = wire.startup_packet("alice", name)
    with router.wire() as connection:
        connection.send(packet[:7])
        time.sleep(0.5)
        connection.send(packet[7:])
        assert not connection.until_ready().errors


def test_a_client_that_leaves_while_it_waits_for_a_first_connect(router, name):
    """Dead clients stayed queued and their instance never knew that nobody wanted it."""
    for index in range(20):
        with router.wire() as connection:
            connection.send(wire.startup_packet("alice", name))
    assert router.value(name, "SELECT 1") == 1
    with router.connect(name) as observer:
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        assert processes.eventually(lambda: observer.execute(sessions).fetchone() == (0,), within=5)


def test_connections_that_only_open_and_close(router, name):
    """Port scanners and load balancers' probes."""
    descriptors = len(os.listdir(f"/proc/{router.pid}/fd"))
    for _ in range(500):
        router.wire().close()
    assert processes.eventually(lambda: len(os.listdir(f"/proc/{router.pid}/fd")) <= descriptors + 2, within=5)
    assert router.value(name, "SELECT 1") == 1
