"""An instance nobody uses stops, and wakes for the next client."""

import threading
import time

import processes


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
    failures = []

    def reconnect():
        end = time.monotonic() + 4
        while time.monotonic() < end:
            try:
                assert router.value("tenant", "SELECT 1") == 1
            except Exception as error:
                failures.append(error)
            time.sleep(0.013)

    threads = [threading.Thread(target=reconnect) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, f"{len(failures)} failed, the first: {failures[0]}"


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
    assert processes.eventually(lambda: "something is at work in it" in router.log, within=10)
    assert len(router.postmasters()) == 1
    router.value("other", "SELECT 1")
    assert processes.eventually(lambda: len(router.postmasters()) == 1, within=10), "the other one hibernates"
    assert router.postmaster("subscriber") in router.postmasters()


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
