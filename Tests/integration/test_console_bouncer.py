"""The console beside PgBouncer's own: its figures, its columns, its commands, and Debian's exporter for it, unchanged."""

import concurrent.futures
import datetime
import os
import pwd
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import psycopg
import psycopg2
import pytest

import processes
import wire
from console import control
from router import IS_ROOT, Router, free_port, looked_after, temporary_directory

PGBOUNCER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
EXPORTER = Path(__file__).parents[2] / ".build/exporter"
TOPICS = ["STATS", "STATS_TOTALS", "STATS_AVERAGES", "TOTALS", "MEM", "POOLS", "DATABASES", "CLIENTS", "SERVERS",
          "LISTS", "USERS", "CONFIG", "VERSION"]
# By the numbers of their types: PgBouncer has int4 and numeric where the console has int8.
KINDS = {23: "number", 1700: "number", 20: "number", 25: "text", 1184: "time"}
TIMES = {"connect_time", "request_time"}  # PgBouncer's are text


@pytest.fixture(scope="module")
def file():
    """A configuration file that the router can read again."""
    directory = temporary_directory()
    path = directory / "routerd.conf"
    path.write_text("max-instances = 50\n")
    path.chmod(0o644)
    yield path
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def router(file):
    with looked_after([Router("--config", file, "--queue-timeout", "20s")]) as [router]:
        yield router.start()


@pytest.fixture
def console(router):
    with control(router) as connection:
        yield connection


@pytest.fixture
def later():
    """Runs what has to wait in another thread."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield pool.submit


def rows(connection, text):
    cursor = connection.execute(text)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def stats(console, database, topic="STATS"):
    found = [row for row in rows(console, f"SHOW {topic}") if row["database"] == database]
    return found[0] if found else None


def state(console, database):
    (found,) = [row for row in rows(console, "SHOW TENANTS") if row["name"] == database]
    return found["state"]


# What passed

def test_every_byte_and_query_is_counted(router, console):
    """While a session lives, and the same after it has ended."""
    began = time.monotonic()
    with router.wire() as client:
        client.startup("alice", "counted")
        asked = [wire.query_message(text) for text in
                 ("SELECT 1", "BEGIN", "SELECT pg_sleep(0.05)", "SELECT 1/0", "ROLLBACK", "SELECT 1; SELECT 2")]
        asked.append(wire.extended_query("SELECT $1", "x"))
        for message in asked:
            client.send(message)
            client.until_ready()
        living = stats(console, "counted")
    took = (time.monotonic() - began) * 1_000_000
    assert processes.eventually(lambda: not rows(console, "SHOW SERVERS"), within=5)
    ended = stats(console, "counted")
    assert living == ended
    assert (ended["total_query_count"], ended["total_xact_count"]) == (7, 4)
    assert ended["total_requests"] == ended["total_query_count"]
    assert ended["total_received"] == sum(map(len, asked))
    assert ended["total_sent"] > 7 * len("Z....I")
    assert 50_000 <= ended["total_query_time"] <= ended["total_xact_time"] <= took
    assert 0 < ended["total_wait_time"] <= took
    assert all(isinstance(value, (int, str)) for value in ended.values())
    totals = {row["name"]: row["value"] for row in rows(console, "SHOW TOTALS")}
    assert totals["total_client_bytes"] >= ended["total_received"] and totals["total_query_count"] >= 7
    assert stats(console, "counted", "STATS_TOTALS")["bytes_received"] == ended["total_received"]


def test_what_a_dropped_tenant_did_is_not_undone(router, console):
    """A counter that went back made every graph of rates negative."""
    def queries():
        return dict(console.execute("SHOW TOTALS").fetchall())["total_query_count"]

    router.value("dropped", "SELECT 1")
    assert processes.eventually(lambda: stats(console, "dropped")["total_query_count"] == 1, within=5)
    before = queries()
    console.execute("DROP dropped")
    assert stats(console, "dropped") is None
    assert queries() == before


def test_memory_is_the_kernels(router, console):
    """Pages that the kernel counts for the process, and what of them is known."""
    memory = {row["name"]: row for row in rows(console, "SHOW MEM")}
    assert abs(memory["page"]["memtotal"] - processes.memory(router.pid, "VmRSS")) < 8 << 20
    assert memory["session"]["used"] >= 1
    assert all(row["memtotal"] == row["size"] * (row["used"] + row["free"]) for row in memory.values())


# Columns and exporter

@pytest.fixture(scope="module")
def bouncer():
    """PgBouncer itself."""
    directory, port = temporary_directory(), free_port()
    (directory / "pgbouncer.ini").write_text(
        f"[databases]\napp = host=127.0.0.1 port=1\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\nadmin_users = admin\n")
    user = {"user": "postgres", "group": pwd.getpwnam("postgres").pw_gid} if IS_ROOT else {}
    process = subprocess.Popen(
        [PGBOUNCER, "-q", directory / "pgbouncer.ini"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, **user)
    try:
        yield processes.eventually(lambda: bouncer_console("127.0.0.1", port), within=5)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)


def bouncer_console(host, port):
    try:
        connection = psycopg2.connect(host=host, port=port, dbname="pgbouncer", user="admin")
    except psycopg2.OperationalError:
        return None
    connection.autocommit = True
    return connection


def columns(connection, topic):
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {topic}")
        return [(column.name, KINDS[column.type_code]) for column in cursor.description], cursor.fetchall()


@pytest.mark.parametrize("topic", TOPICS)
def test_columns_are_pgbouncers(router, bouncer, topic):
    """All of them, in their order; ours stand behind them. Tools pick them by name or by place."""
    theirs, their_rows = columns(bouncer, topic)
    ours, our_rows = columns(bouncer_console(*router.address), topic)
    expected = [(name, "time" if name in TIMES else kind) for name, kind in theirs]
    assert ours[:len(expected)] == expected
    if topic in ("TOTALS", "LISTS"):
        assert [row[0] for row in our_rows] == [row[0] for row in their_rows]


@pytest.mark.parametrize("topic", TOPICS)
def test_values_are_of_their_columns_types(router, console, topic):
    """The extended protocol, as text and as binary: a driver made strings of numbers, or of nothing at all."""
    router.value("typed", "SELECT 1")
    python = {20: int, 25: str, 1184: datetime.datetime}
    for binary in (False, True):
        with console.cursor(binary=binary) as cursor:
            shown = cursor.execute(f"SHOW {topic}", prepare=True).fetchall()
            kinds = [python[column.type_code] for column in cursor.description]
            assert all(value is None or isinstance(value, kind) for row in shown for value, kind in zip(row, kinds))


def test_debians_exporter(router, file):
    """It asks for `total_requests`, which PgBouncer itself has not had since 1.8: beside that it starts and fails."""
    port, log = free_port(), file.with_name("exporter.log")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTHON"))}
    with open(log, "wb") as output:
        process = subprocess.Popen(
            ["/usr/bin/python3", EXPORTER / "usr/bin/prometheus-pgbouncer-exporter", "--host", "127.0.0.1",
             "--port", str(port), "--pgbouncer-host", router.host, "--pgbouncer-port", str(router.port)],
            env=environment | {"PYTHONPATH": str(EXPORTER / "usr/lib/python3/dist-packages")},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        with router.connect("exported") as connection:
            connection.execute("SELECT 1")
            # Its own words.
            assert processes.eventually(lambda: "Listing on port" in log.read_text(), within=15), log.read_text()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                metrics = answer.read().decode()
    finally:
        process.terminate()
        process.wait()
    assert not re.search("ERROR|Traceback", log.read_text()), log.read_text()
    for name in ("requests_total", "received_bytes_total", "sent_bytes_total", "query_microseconds_total",
                 "pool_size", "reserve_pool"):
        assert re.search(rf'^pgbouncer_{name}{{database="exported"}} \d', metrics, re.M), metrics
    for name in ("active_clients", "waiting_clients"):
        assert re.search(rf'^pgbouncer_{name}{{database="exported",user="alice"}} \d', metrics, re.M), metrics
    for name in ("databases", "users", "pools", "free_clients", "used_clients", "login_clients", "free_servers",
                 "used_servers", "dns_names", "dns_zones", "dns_queries", "dns_pending"):
        assert re.search(rf"^pgbouncer_{name} \d", metrics, re.M), metrics
    assert 'pgbouncer_requests_total{database="exported"} 1.0' in metrics


# Commands

def test_pause_waits_for_sessions_and_keeps_new_ones_waiting(router, console, later):
    """Whoever copies a tenant's files must know that nobody writes them any more."""
    with control(router) as other:
        held = router.connect("paused")
        pause = later(other.execute, "PAUSE paused")
        assert processes.eventually(lambda: database(console, "paused")["paused"] == 1, within=5)
        newcomer = later(router.value, "paused", "SELECT 1")
        assert processes.eventually(
            lambda: [row["waits_for"] for row in rows(console, "SHOW QUEUE")] == ["the end of the pause (RESUME)"], 5)
        assert held.execute("SELECT 1").fetchone() == (1,)
        assert not pause.done()
        held.close()
        pause.result(timeout=10)
        assert state(console, "paused") == "cold" and not newcomer.done()
        assert database(console, "paused")["paused"] == 1, "a cold tenant that is paused is shown"
        console.execute("RESUME paused")
        assert newcomer.result(timeout=10) == 1
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            console.execute("RESUME paused")


def database(console, name):
    found = [row for row in rows(console, "SHOW DATABASES") if row["name"] == name]
    return found[0] if found else {"paused": None, "disabled": None}


def test_pause_of_everything(router, console, later):
    """Before the machine goes down for a moment."""
    router.value("all_one", "SELECT 1")
    console.execute("PAUSE")
    assert dict(console.execute("SHOW STATE").fetchall())["paused"] == "yes"
    assert not rows(console, "SHOW INSTANCES")
    newcomers = [later(router.value, name, "SELECT 1") for name in ("all_one", "all_two")]
    assert processes.eventually(lambda: len(rows(console, "SHOW QUEUE")) == 2, within=5)
    console.execute("RESUME")
    assert [newcomer.result(timeout=10) for newcomer in newcomers] == [1, 1]
    assert dict(console.execute("SHOW STATE").fetchall())["paused"] == "no"


def test_a_pause_has_the_patience_of_the_queue(router, console):
    """A paused client that nobody resumed waited for ever; one that left was resumed."""
    router.value("patient", "SELECT 1")
    console.execute("PAUSE patient")
    console.execute("SET queue_timeout = 100ms")
    try:
        with router.wire() as gone:
            gone.send(wire.startup_packet("alice", "patient"))
        with router.wire() as client:
            (error,) = client.startup("alice", "patient").errors
        assert (error.severity, error.sqlstate) == ("FATAL", "57P03") and "RESUME" in error.hint
    finally:
        console.execute("SET queue_timeout = 20s")
        console.execute("RESUME patient")
    assert router.value("patient", "SELECT 1") == 1


def test_kill_ends_and_pauses(router, console, later):
    """Everybody out at once, and nobody in until the operator says so."""
    held = router.connect("killed")
    console.execute("KILL killed")
    with pytest.raises(psycopg.errors.AdminShutdown):
        held.execute("SELECT 1")
    held.close()
    assert state(console, "killed") == "cold"
    newcomer = later(router.value, "killed", "SELECT 1")
    assert processes.eventually(lambda: rows(console, "SHOW QUEUE"), within=5)
    console.execute("RESUME killed")
    assert newcomer.result(timeout=10) == 1


def test_kill_is_of_the_name_as_it_is_written(router, console):
    """Unicode holds the two names equivalent, so that one tenant's sessions ended with the other's."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    with router.connect(decomposed) as bystander:
        router.value(composed, "SELECT 1")
        console.execute(f'KILL "{composed}"')
        assert bystander.execute("SELECT 1").fetchone() == (1,)
    console.execute(f'RESUME "{composed}"')


def test_whoever_leaves_while_it_waits_gives_its_place_back(router, console):
    """A cron job with a timeout said PAUSE until nobody could say RESUME any more."""
    with router.connect("crowded"):
        for _ in range(20):
            impatient = control(router)
            impatient.pgconn.send_query(b"PAUSE crowded")
            assert processes.eventually(lambda: database(console, "crowded")["paused"] == 1, within=5)
            impatient.close()
        assert processes.eventually(lambda: len(rows(console, "SHOW CLIENTS")) <= 3, within=5)
        with control(router) as operator:
            operator.execute("RESUME crowded")


def test_a_dropped_tenants_pause_goes_with_it(router, console):
    router.value("short", "SELECT 1")
    console.execute("PAUSE short")
    console.execute("DROP short")
    assert router.value("short", "SELECT 1") == 1


def test_disable_refuses_new_clients_only(router, console):
    with router.connect("disabled") as held:
        console.execute("DISABLE disabled")
        assert database(console, "disabled")["disabled"] == 1
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            router.connect("disabled")
        assert held.execute("SELECT 1").fetchone() == (1,)
        console.execute("ENABLE disabled")
        assert router.value("disabled", "SELECT 1") == 1


def test_reconnect_and_wait_close(router, console, later):
    """Backends are their sessions' own: they are replaced when those end."""
    with control(router) as other, router.connect("closing") as old:
        console.execute("WAIT_CLOSE closing")
        console.execute("RECONNECT closing")
        wait = later(other.execute, "WAIT_CLOSE closing")
        with router.connect("closing"):
            needed = sorted(row["close_needed"] for row in rows(console, "SHOW SERVERS") if row["database"] == "closing")
            assert needed == [0, 1] and not wait.done()
            old.close()
            wait.result(timeout=10)


def test_whoever_waited_at_a_reconnect_gets_a_new_backend(router, console, later):
    """WAIT_CLOSE waited for the sessions of clients that had been in the queue, although their backends were new."""
    with control(router) as other, router.connect("awaited") as old:
        pause = later(other.execute, "PAUSE awaited")
        assert processes.eventually(lambda: database(console, "awaited")["paused"] == 1, within=5)
        newcomer = later(router.connect, "awaited")
        assert processes.eventually(lambda: rows(console, "SHOW QUEUE"), within=5)
        console.execute("RECONNECT awaited")
        console.execute("RESUME awaited")
        assert pause.exception(timeout=10)
        with newcomer.result(timeout=10):
            wait = later(other.execute, "WAIT_CLOSE awaited")
            needed = sorted(row["close_needed"] for row in rows(console, "SHOW SERVERS") if row["database"] == "awaited")
            assert needed == [0, 1] and not wait.done()
            old.close()
            wait.result(timeout=5)


def test_set_and_reload(router, console, file):
    """SET holds until the file is read again; a file that is wrong changes nothing and says so."""
    def value(key):
        (row,) = [row for row in rows(console, "SHOW CONFIG") if row["key"] == key]
        return row["value"]

    console.execute("SET max_instances = 40")
    assert value("max_instances") == "40"
    for wrong, sqlstate in (("max_instances = many", "22023"), ("max_instances = 0", "22023"), ("port = 1", "0A000"),
                            ("max_instances = 99999", "22023"), ("nothing = 1", "42704"), ("max_instances", "42601")):
        with pytest.raises(psycopg.Error) as error:
            console.execute(f"SET {wrong}")
        assert error.value.sqlstate == sqlstate, wrong
    assert value("max_instances") == "40"
    file.write_text("max-instances = 45\n")
    console.execute("RELOAD")
    assert value("max_instances") == "45"
    file.write_text("max-instances = none\n")
    with pytest.raises(psycopg.errors.ConfigFileError):
        console.execute("RELOAD")
    assert value("max_instances") == "45"
    file.write_text("max-instances = 50\n")
    console.execute("RELOAD")


def test_a_router_that_stops_keeps_nobody_waiting(routers, later):
    """A paused client, and the console that waits for a pause, would have outlived it."""
    router = routers()
    held = router.connect("stopping")
    with control(router) as console, control(router) as other:
        pause = later(other.execute, "PAUSE stopping")
        assert processes.eventually(lambda: database(console, "stopping")["paused"] == 1, within=5)
        with router.wire() as client:
            client.send(wire.startup_packet("alice", "stopping"))
            assert processes.eventually(lambda: rows(console, "SHOW QUEUE"), within=5)
            console.execute("SHUTDOWN")
            (error,) = client.until_ready().errors
            assert error.sqlstate == "57P03"
        with pytest.raises(psycopg.errors.CannotConnectNow):
            pause.result(timeout=10)
    held.close()
    router.expect_exit(0)
