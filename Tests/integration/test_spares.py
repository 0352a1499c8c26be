"""A new name is given a cluster that was made, booted and warmed before anybody asked."""

import os
import re
import signal
import threading

import psycopg
import pytest

import processes
from router import postgres_program

DEBUG = ("--log-level", "debug")


def ready_spares(router):
    """Spares that have become ready since the router started."""
    return router.log.count("a spare is ready")


def claims(router):
    return len(re.findall(r'instance is ready.* claim=', router.log))


def wait_for_spares(router, count):
    assert processes.eventually(lambda: ready_spares(router) >= count, within=30), router.log[-2000:]


def spare_directories(router):
    """Their logs stand beside them."""
    return sorted(name for name in os.listdir(router.directory / ".routerd/spares") if not name.endswith(".log"))


def test_a_new_name_gets_a_spare_and_the_spare_is_replaced(routers):
    router = routers("--spares", "2", *DEBUG)
    wait_for_spares(router, 2)
    assert router.tenants() == set(), "a spare is nobody's, and no tenant's directory"
    before = spare_directories(router)
    with router.connect("alice", user="somebody_new") as connection:
        assert connection.execute("SELECT current_database(), current_user").fetchone() == ("alice", "somebody_new")
        assert connection.execute("SHOW is_superuser").fetchone() == ("on",)
    assert claims(router) == 1
    wait_for_spares(router, 3)
    after = spare_directories(router)
    assert len(after) == 2 and len(set(before) | set(after)) == 3, "names of spares are never used again"
    assert router.tenants() == {"alice"}
    identifiers = {router.value(name, "SELECT system_identifier FROM pg_control_system()") for name in ("alice", "bob")}
    assert len(identifiers) == 2


def test_the_router_leaves_a_claimed_spare_to_its_tenant(routers):
    """A spare keeps a connection of the router's for the claim. It ends with the claim, and where it has ended before, by
    a setting of the operator's or by force, the claim makes itself another."""
    router = routers("--spares", "1", *DEBUG)
    for index, name in enumerate(("kept", "cut")):
        wait_for_spares(router, index + 1)
        backends = [pid for pid in processes.descendants(router.pid) if "routerd template1" in processes.describe([pid])]
        if name == "cut":
            assert len(backends) == 1, "the new spare's"
            os.kill(backends[0], signal.SIGTERM)
            assert processes.eventually(lambda: processes.state(backends[0]) in (None, "Z", "X"), within=5)
        with router.connect(name) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (name,)
            own = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'routerd' AND backend_type = 'client backend'"
            assert processes.eventually(lambda: connection.execute(own).fetchone() == (0,), within=5)
        assert claims(router) == index + 1
    assert "cannot" not in router.log and "own failed" not in router.log


def test_a_claimed_spare_behaves_like_any_cluster(routers, tmp_path):
    """The postmaster was started in a directory that has another name since: whatever keeps the old path in mind
    shows when it reads a file again."""
    router = routers("--spares", "1", *DEBUG)
    wait_for_spares(router, 1)
    with router.connect("alice") as connection:
        assert claims(router) == 1
        connection.execute("CREATE TABLE kept AS SELECT n FROM generate_series(1, 1000) n")
        connection.execute("CREATE EXTENSION pgcrypto")
        # Configuration, by SQL and by file.
        connection.execute("ALTER SYSTEM SET work_mem = '7MB'")
        assert connection.execute("SELECT pg_reload_conf()").fetchone() == (True,)
        assert processes.eventually(lambda: router.value("alice", "SHOW work_mem") == "7MB", within=5)
        with open(router.directory / "alice/postgresql.conf", "a") as file:
            file.write("maintenance_work_mem = '9MB'\n")
        _pg_ctl(router, "reload")
        assert processes.eventually(lambda: router.value("alice", "SHOW maintenance_work_mem") == "9MB", within=5)
        assert router.value("alice", "SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == 0
        # Parallel workers find the shared memory of the cluster.
        connection.execute("SET debug_parallel_query = regress" if _major(connection) >= 16
                           else "SET force_parallel_mode = regress")
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
    assert "server is running" in _pg_ctl(router, "status")

    backup = router.home / "backup"
    router.run(postgres_program("pg_basebackup"), "-D", backup, "-X", "fetch", "-c", "fast",
               environment={"PGOPTIONS": "-c routerd.tenant=alice"})
    router.run(postgres_program("pg_verifybackup"), backup)
    assert (backup / "routerd.claim").exists() is False

    # A crash of one backend restarts the others in the same postmaster.
    postmaster = router.postmaster("alice")
    with router.connect("alice") as connection, pytest.raises(psycopg.OperationalError):
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        connection.execute("SELECT pg_sleep(10)")
    assert router.value("alice", "SELECT count(*) FROM kept") == 1000
    assert router.postmaster("alice") == postmaster
    assert router.value("alice", "SHOW work_mem") == "7MB"


def test_a_claimed_spare_survives_a_restart(routers):
    router = routers("--spares", "1", *DEBUG)
    wait_for_spares(router, 1)
    with router.connect("alice") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert claims(router) == 1
    router.stop()
    assert spare_directories(router) == [], "spares are made anew"
    router.restart()
    assert router.value("alice", "SELECT answer FROM kept") == 42
    assert router.value("alice", "SHOW data_directory") == str(router.directory / "alice")
    # And one whose router was killed.
    with router.connect("bob") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 43 AS answer")
    router.kill()
    router.expect_no_process(within=8)
    router.restart()
    assert router.value("bob", "SELECT answer FROM kept") == 43
    assert router.value("alice", "SELECT answer FROM kept") == 42


def test_what_a_killed_router_left_of_its_spares_is_removed(routers):
    """Orphans of spares would be 29 MB each, for ever."""
    router = routers("--spares", "2", *DEBUG)
    wait_for_spares(router, 2)
    left = spare_directories(router)
    router.kill()
    router.expect_no_process(within=8)
    router.restart()
    assert processes.eventually(lambda: not set(left) & set(spare_directories(router)), within=10)
    wait_for_spares(router, 4)
    assert router.tenants() == set()


def test_spares_leave_their_places_to_tenants(routers):
    """A spare that nobody has asked for must not keep a client waiting, nor an instance from staying."""
    router = routers("--spares", "2", "--max-instances", "2", *DEBUG)
    wait_for_spares(router, 2)
    with router.connect("one") as one, router.connect("two") as two:
        assert one.execute("SELECT 1").fetchone() == two.execute("SELECT 1").fetchone() == (1,)
        assert len(router.postmasters()) == 2
    for name in ("three", "one", "two", "three"):
        assert router.value(name, "SELECT current_database()") == name
        assert len(router.postmasters()) <= 2


def test_no_spares_where_nothing_is_created(routers):
    router = routers("--spares", "2", "--no-auto-provision", *DEBUG)
    assert not processes.eventually(lambda: ready_spares(router) > 0, within=1)


def test_a_burst_of_new_names(routers):
    """More names at once than there are spares, and than may boot at once."""
    router = routers("--spares", "3", *DEBUG)
    wait_for_spares(router, 3)
    count = 100 if os.environ.get("ROUTERD_SOAK") else 30
    results, failures = {}, []

    def connect(name):
        try:
            results[name] = router.value(name, "SELECT current_database()", user=f"user_of_{name}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=connect, args=(f"burst{index}",)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, f"{len(failures)} failed, the first: {failures[0]}"
    assert results == {name: name for name in results} and len(results) == count
    assert claims(router) >= 1


def _pg_ctl(router, verb):
    """As the user whose cluster it is: pg_ctl refuses root."""
    command = [postgres_program("pg_ctl"), verb, "-D", router.directory / "alice"]
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    return router.run(*command).stdout


def _major(connection):
    return connection.info.server_version // 10000
