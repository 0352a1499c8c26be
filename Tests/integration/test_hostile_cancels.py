"""Cancel requests from people who guess, leave half-way, or carry keys of odd lengths."""

import os
import struct
import threading
import time

import pytest

import processes
import wire

SOAK = bool(os.environ.get("ROUTERD_SOAK"))
STORM = 100_000 if SOAK else 10_000


@pytest.mark.soak
def test_ten_thousand_wrong_keys(router, name):
    """A cancel storm filled the connection limit (row 7): wrong keys reach no instance, and cost next to nothing."""
    with router.wire(timeout=60) as connection, router.connect(name) as observer:
        process_id, secret = connection.startup("alice", name).key
        (number,) = struct.unpack("!I", secret)
        connection.send(wire.query_message("SELECT pg_sleep(3600), 'done'"))
        backends = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        descriptors, memory = open_descriptors(router), processes.memory(router.pid, "VmRSS")
        most = 0
        for index in range(STORM):
            with router.wire() as canceller:
                canceller.send(wire.cancel_request(process_id, struct.pack("!I", (number + 1 + index) % 2**32)))
            if index % 1000 == 0:
                most = max(most, observer.execute(backends).fetchone()[0])
        assert most == 2
        assert processes.eventually(lambda: open_descriptors(router) <= descriptors, within=5)
        assert processes.memory(router.pid, "VmRSS") - memory < 16 << 20
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        assert observer.execute(asleep).fetchone() == (1,)
        with router.wire() as canceller:
            canceller.send(wire.cancel_request(process_id, secret))
        (error,) = connection.until_ready().errors
        assert error.sqlstate == "57014"


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 8, 32, 255, 256, 257, 2000])
def test_keys_of_every_length(router, name, length):
    """Protocol 3.2 allows keys of up to 256 bytes; a longer or a shorter one is nobody's, and no reason to wait."""
    with router.wire() as connection:
        process_id, secret = connection.startup("alice", name).key
        connection.send(wire.query_message("SELECT pg_sleep(0.3), 'done'"))
        wrong = (bytes(byte ^ 0x55 for byte in secret) * 500)[:length]
        for key in (wrong, (secret + bytes(2000))[:length]):
            if key == secret:
                continue
            with router.wire() as canceller:
                canceller.send(wire.cancel_request(process_id, key))
                assert canceller.is_closed(within=5)
        assert connection.until_ready().rows[0][1] == "done"


@pytest.mark.parametrize("cut", [1, 4, 7, 8, 12, 15])
def test_a_cancel_that_dies_half_way_cancels_nothing(router, name, cut):
    """Three quarters of a key are none, and the connection that brought them is forgotten."""
    with router.wire() as connection:
        key = connection.startup("alice", name).key
        connection.send(wire.query_message("SELECT pg_sleep(0.3), 'done'"))
        descriptors = open_descriptors(router)
        for abrupt in (False, True):
            canceller = router.wire()
            canceller.send(wire.cancel_request(*key)[:cut])
            if abrupt:
                canceller.socket.setsockopt(wire.socket.SOL_SOCKET, wire.socket.SO_LINGER, struct.pack("ii", 1, 0))
            canceller.close()
        assert connection.until_ready().rows[0][1] == "done"
        assert processes.eventually(lambda: open_descriptors(router) <= descriptors, within=5)


@pytest.mark.parametrize("abrupt", [False, True], ids=["closed", "reset"])
def test_a_cancel_whose_sender_does_not_wait_is_carried_out(router, name, abrupt):
    """Drivers close at once behind their cancel request; it counts none the less."""
    with router.wire() as connection:
        key = connection.startup("alice", name).key
        connection.send(wire.query_message("SELECT pg_sleep(20)"))
        with router.connect(name) as observer:
            asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            assert processes.eventually(lambda: observer.execute(asleep).fetchone() == (1,), within=10)
        canceller = router.wire()
        canceller.send(wire.cancel_request(*key))
        if abrupt:
            time.sleep(0.001)
            canceller.socket.setsockopt(wire.socket.SOL_SOCKET, wire.socket.SO_LINGER, struct.pack("ii", 1, 0))
        canceller.close()
        if abrupt:
            # A reset may overtake the request; what counts is that the session is whole afterwards.
            time.sleep(0.2)
            with router.wire() as again:
                again.send(wire.cancel_request(*key))
        began = time.monotonic()
        (error,) = connection.until_ready().errors
        assert error.sqlstate == "57014" and time.monotonic() - began < 5
        assert connection.query("SELECT 1").value == "1"


def test_cancels_while_the_instance_stops(routers):
    """A cancel that meets a closing socket must not hold the stop up, or its sender."""
    router = routers("--idle-timeout", "1s")
    stop = threading.Event()
    with router.wire() as connection:
        key = connection.startup("alice", "tenant").key

    def storm():
        while not stop.is_set():
            try:
                with router.wire() as canceller:
                    canceller.send(wire.cancel_request(*key))
                    assert canceller.is_closed(within=5)
            except OSError:
                return

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        assert processes.eventually(lambda: not (router.directory / "tenant" / "postmaster.pid").exists(), within=10)
        assert router.value("tenant", "SELECT 1") == 1
    finally:
        stop.set()
        thread.join()


def open_descriptors(router):
    return len(os.listdir(f"/proc/{router.pid}/fd"))
