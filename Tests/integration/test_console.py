"""The router's console: the databases `routerd` and `pgbouncer` on the port, and the control socket."""

import asyncio
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import time

import asyncpg
import psycopg
import pytest
from psycopg import sql

import processes
import wire
from confinement import expect_denied, expect_no_connection
from console import control, private, token
from router import IS_ROOT, Router, command, looked_after, postgres_program, temporary_directory

TOPICS = ["HELP", "VERSION", "ROUTER", "TENANTS", "INSTANCES", "CLIENTS", "SERVERS", "QUEUE", "POOLS", "DATABASES",
          "USERS", "LISTS", "CONFIG", "STATE", "STATS", "STATS_TOTALS", "STATS_AVERAGES", "TOTALS", "MEM"]
# Every command that changes something, and what it answers to whoever may.
CHANGES = {
    "DROP nobody": "3D000", "HIBERNATE nobody": "55000", "WAKE nobody": "3D000", "INSPECT nobody ON": "3D000",
    "KILL_CLIENT 999999": "42704", "PAUSE nobody": "3D000", "RESUME nobody": "55000", "DISABLE nobody": "3D000",
    "ENABLE nobody": "3D000", "KILL nobody": "3D000", "RECONNECT nobody": "3D000", "WAIT_CLOSE nobody": "3D000",
    "SET port = 1": "0A000", "RELOAD": None, "SHUTDOWN": None}


@pytest.fixture(scope="module")
def router():
    """With a Unix socket of its own, which is no control socket."""
    directory = temporary_directory()
    with looked_after([Router("--socket-dir", directory)]) as [router]:
        yield router.start()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def narrow():
    """One session for each tenant, and few clients."""
    with looked_after([Router("--max-connections", "1", "--max-clients", "3")]) as [router]:
        yield router.start()


def looking(router, **more):
    return router.connect("routerd", **more)


def rows(connection, text):
    """A result as dictionaries."""
    cursor = connection.execute(text)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


@pytest.mark.parametrize("database", ["routerd", "pgbouncer"])
def test_psql_shows_everything(router, database):
    """The console speaks to psql as any server does, with as many rows as it says."""
    router.value("tenant", "SELECT 1")
    asked = [part for topic in TOPICS for part in ("-c", f"SHOW {topic}")]
    result = router.run(postgres_program("psql"), *asked, database=database)
    assert len(re.findall(r"\(\d+ rows?\)", result.stdout)) == len(TOPICS), result.stdout
    shown = router.run(postgres_program("psql"), "-Atc", "SHOW VERSION; SHOW STATE", database=database).stdout
    assert re.match(r"routerd [\d.]+ \(PostgreSQL \d+\.\d+\)\nstate\|serving\n", shown)
    assert database not in router.tenants()


def test_psql_on_the_control_socket(router):
    """`psql -h <dir>/.routerd routerd` is all that one has to remember."""
    result = router.run(
        postgres_program("psql"), "-At", "-h", private(router), "-p", "5432", "-d", "routerd", "-c", "SHOW ROUTER",
        environment={"PGPASSWORD": token(router)})
    assert f"|{router.pid}|{router.port}|127.0.0.1:{router.port}|" in result.stdout


@pytest.mark.parametrize("binary", [False, True])
def test_psycopg_with_both_formats(router, binary):
    """The extended protocol, with columns of their own types."""
    router.value("typed", "SELECT 1")
    with control(router) as connection:
        assert processes.eventually(lambda: not rows(connection, "SHOW SERVERS"), within=5)
        with connection.cursor(binary=binary) as cursor:
            (row,) = [row for row in cursor.execute("SHOW TENANTS", prepare=True).fetchall() if row[0] == "typed"]
            assert row[1] == "ready" and row[2:5] == (0, 0, False) and row[5] == router.postmaster("typed")
            assert abs(row[6].timestamp() - time.time()) < 60
            (uptime,) = [
                value for column, value in zip(
                    [c.name for c in cursor.execute("SHOW ROUTER", prepare=True).description], cursor.fetchone())
                if column == "uptime_s"]
            assert isinstance(uptime, int)


def test_asyncpg(router):
    """It prepares every statement under a name and wants all values in binary."""
    async def ask():
        connection = await asyncpg.connect(
            host=str(private(router)), port=5432, database="routerd", user="admin", password=token(router))
        try:
            (row,) = await connection.fetch("SHOW ROUTER")
            tenants = await connection.fetch("SHOW TENANTS")
            return dict(row), tenants
        finally:
            await connection.close()

    router.value("tenant", "SELECT 1")
    row, tenants = asyncio.run(ask())
    assert (row["pid"], row["port"], row["state"]) == (router.pid, router.port, "serving")
    assert all(isinstance(tenant["locked"], bool) for tenant in tenants) and tenants


def test_a_transaction_changes_nothing(router):
    """Drivers begin one before the first statement unless they are told not to."""
    with psycopg.connect(router.conninfo("routerd")) as connection:
        assert connection.execute("SHOW VERSION").fetchone()
        connection.commit()
        connection.execute("SHOW VERSION")
        connection.rollback()


def test_what_is_no_command(router):
    """A wrong word is answered with the right ones, and what PgBouncer has with why it is missing."""
    with looking(router) as connection:
        with pytest.raises(psycopg.errors.SyntaxError) as error:
            connection.execute("SHWO TENANTS")
        assert "SHOW HELP | VERSION" in error.value.diag.message_hint
        for command in ["SUSPEND", "SHOW FDS", "SELECT 1", "CREATE DATABASE x"]:
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                connection.execute(command)
        assert connection.execute("SHOW VERSION").fetchone()


@pytest.mark.parametrize("command", CHANGES)
@pytest.mark.parametrize("way", ["tcp", "socket"])
def test_who_may_only_look(router, way, command):
    """Anybody who can connect could have stopped the router."""
    host = {"tcp": router.host, "socket": router.arguments[-1]}[way]
    with looking(router, host=host) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as error:
            connection.execute(command)
        assert ".routerd" in error.value.diag.message_hint
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(command, prepare=True)
        assert connection.execute("SHOW STATE").fetchone() == ("state", "serving")


def test_whoever_has_the_token_may(router):
    """The matrix of commands is whole only if it has every command that there is."""
    with control(router) as connection:
        verbs = {row[0].split()[0] for row in connection.execute("SHOW HELP").fetchall()} - {"SHOW"}
        assert verbs == {command.split()[0] for command in CHANGES}
        for command, state in CHANGES.items():
            if state is None:
                continue
            with pytest.raises(psycopg.Error) as error:
                connection.execute(command)
            assert error.value.sqlstate == state, command
        connection.execute("RELOAD")
    assert "nobody" not in router.tenants()


@pytest.mark.parametrize("password", ["", "guess", "0" * 64])
def test_a_wrong_token(router, password):
    """The control socket is reachable for every process of the same user, tenants' instances among them."""
    with pytest.raises(psycopg.OperationalError, match="token|no password"):
        control(router, password=password)
    with wire.Connection(str(private(router) / ".s.PGSQL.5432")) as connection:
        connection.send(wire.startup_packet("admin", "routerd"))
        assert connection.receive() == (b"R", (3).to_bytes(4, "big"))
        connection.send(wire.message(b"p", password.encode() + b"\0"))
        (error,) = connection.until_ready().errors
        assert (error.severity, error.sqlstate) == ("FATAL", "28P01")


def test_nothing_before_the_token(router):
    """A query in front of the password was once answered."""
    with wire.Connection(str(private(router) / ".s.PGSQL.5432")) as connection:
        connection.send(wire.startup_packet("admin", "routerd") + wire.query_message("SHUTDOWN"))
        assert connection.receive()[0] == b"R"
        (error,) = connection.until_ready().errors
        assert error.sqlstate == "08P01"
    assert router.process.poll() is None


def test_the_control_socket_leads_to_no_tenant(router):
    """One door for each purpose."""
    with pytest.raises(psycopg.OperationalError, match="console only"):
        control(router, dbname="tenant")


def test_socket_and_token_are_private(router):
    """Both decide who may delete everything."""
    for name, kind in ((".s.PGSQL.5432", stat.S_ISSOCK), ("token", stat.S_ISREG)):
        status = (private(router) / name).stat()
        assert kind(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_uid == os.stat(private(router)).st_uid
    assert re.fullmatch("[0-9a-f]{64}", token(router))


def test_each_run_has_a_token_of_its_own(routers):
    """A token that stayed the same was in a backup; a stale socket was believed after a crash."""
    router = routers()
    first = token(router)
    router.kill()
    assert (private(router) / ".s.PGSQL.5432").exists()
    router.expect_no_process(within=3)
    assert command("stats", "--dir", router.directory).returncode == 3
    router.restart()
    assert token(router) != first
    with control(router) as connection:
        assert connection.execute("SHOW VERSION").fetchone()
    with pytest.raises(psycopg.OperationalError):
        control(router, password=first)
    router.stop()
    assert not (private(router) / ".s.PGSQL.5432").exists() and not (private(router) / "token").exists()


def test_a_long_path(routers):
    """A socket's path has 107 bytes at most, a directory's many more."""
    router = routers.prepared()
    router.directory = router.home / ("long" * 20) / ("path" * 20)
    router.start()
    result = command("stats", "--dir", router.directory, "--json")
    assert result.returncode == 0, result.stderr
    assert f'"port" : {router.port}' in result.stdout


def test_a_tenant_reaches_nothing(router):
    """A tenant's superuser runs as the same user: the kernel hides the token, and the socket from whoever knows it."""
    with router.connect("intruder") as connection:
        confined = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()[0]
        if not confined:
            pytest.skip("without Landlock nobody is superuser")
        for statement in (f"SELECT pg_read_file('{private(router)}/token')",
                          f"CREATE TABLE stolen (line text); COPY stolen FROM '{private(router)}/token'",
                          f"SELECT lo_import('{private(router)}/token')"):
            expect_denied(connection, statement)
        connection.execute("CREATE EXTENSION dblink")
        connection.execute("CREATE EXTENSION postgres_fdw")
        for password in ("guess", token(router)):
            address = f"host={private(router)} port=5432 dbname=routerd user=admin password={password}"
            expect_no_connection(connection, sql.SQL("SELECT dblink_connect({})").format(address))
            connection.execute(sql.SQL(
                "CREATE SERVER console FOREIGN DATA WRAPPER postgres_fdw"
                " OPTIONS (host {}, port '5432', dbname 'routerd')").format(str(private(router))))
            connection.execute(sql.SQL(
                "CREATE USER MAPPING FOR PUBLIC SERVER console"
                " OPTIONS (user 'admin', password {}, password_required 'false')").format(password))
            connection.execute("CREATE FOREIGN TABLE version (line text) SERVER console")
            expect_no_connection(connection, "TABLE version")
            connection.execute("DROP SERVER console CASCADE")
    # What was refused is there for whoever may.
    with control(router) as connection:
        assert connection.execute("SHOW VERSION").fetchone()
    assert router.process.poll() is None


def own_address():
    """An address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") or address == "0.0.0.0" else address


@pytest.mark.skipif(own_address() is None, reason="this machine has loopback addresses only")
def test_the_console_is_for_this_machine(routers):
    """Whoever reaches the port from elsewhere would read every tenant's name."""
    router = routers.prepared("--allow-remote-without-authentication", host="0.0.0.0").start()
    router.host = own_address()
    assert router.value("tenant", "SELECT 1") == 1
    with router.wire() as connection:
        (error,) = connection.startup("alice", "routerd").errors
        assert (error.severity, error.sqlstate) == ("FATAL", "42501")
    router.host = "127.0.0.1"
    with looking(router) as connection:
        assert connection.execute("SHOW VERSION").fetchone()


def test_listing_wakes_nobody(routers):
    """A GUI's list of databases started all of them. What a killed server left behind is none that could be asked."""
    router = routers()
    for tenant in ("one", "two", "three words"):
        router.value(tenant, "SELECT 1")
    router.stop()
    router.restart()
    with looking(router) as connection:
        tenants = rows(connection, "SHOW TENANTS")
    listed = json.loads(command("list", "--json", "--dir", router.directory).stdout)
    assert [(tenant["dbName"], tenant["state"], tenant["locked"], tenant["queueLength"]) for tenant in listed] == [
        (name, "cold", False, 0) for name in ("one", "three words", "two")]
    assert "processID" not in listed[0]
    assert [(tenant["name"], tenant["state"]) for tenant in tenants] == [
        ("one", "cold"), ("three words", "cold"), ("two", "cold")]
    assert all(abs(tenant["since"].timestamp() - time.time()) < 60 for tenant in tenants)
    with looking(router) as connection:
        assert rows(connection, "SHOW INSTANCES") == []


def test_clients_queue_and_kill(narrow):
    """Who is connected, who waits for what, and one session that has to go."""
    router = narrow
    held = router.connect("tenant", user="holder", application_name="holding")
    waiting = router.wire()
    waiting.send(wire.startup_packet("patient", "tenant"))
    with control(router) as console:
        assert processes.eventually(lambda: rows(console, "SHOW QUEUE"), within=5)
        (queued,) = rows(console, "SHOW QUEUE")
        assert (queued["position"], queued["database"], queued["user"]) == (1, "tenant", "patient")
        assert "--max-connections" in queued["waits_for"]
        clients = {client["user"]: client for client in rows(console, "SHOW CLIENTS")}
        assert clients["holder"]["state"] == "active" and clients["patient"]["state"] == "waiting"
        assert clients["holder"]["application_name"] == "holding"
        assert clients["holder"]["remote_pid"] == held.info.backend_pid
        assert clients["admin"]["database"] == "routerd"
        (pool,) = [pool for pool in rows(console, "SHOW POOLS") if pool["user"] == "holder"]
        assert (pool["cl_active"], pool["cl_waiting"], pool["sv_active"]) == (1, 0, 1)
        (server,) = rows(console, "SHOW SERVERS")
        assert (server["link"], server["id"]) == (clients["holder"]["ptr"], clients["holder"]["id"])
        (instance,) = [instance for instance in rows(console, "SHOW INSTANCES") if instance["name"] == "tenant"]
        assert instance["locked"] is True and instance["waiting"] == 1

        console.execute(f"KILL_CLIENT {clients['holder']['id']}")
        with pytest.raises(psycopg.errors.AdminShutdown):
            held.execute("SELECT 1")
        assert not waiting.until_ready().errors
        with pytest.raises(psycopg.errors.UndefinedObject):
            console.execute(f"KILL_CLIENT {clients['holder']['id']}")
    waiting.close()
    held.close()
    assert re.search(r"info console: kill client \d+ address=\S*uid=\d+\S* .*user=admin", router.log)


def test_a_killed_client_that_waits_is_told(narrow):
    """Closed without a word, it looked like a crash."""
    router = narrow
    with router.connect("tenant"), router.wire() as waiting, control(router) as console:
        waiting.send(wire.startup_packet("patient", "tenant"))
        (queued,) = processes.eventually(lambda: rows(console, "SHOW QUEUE"), within=5)
        console.execute(f"KILL_CLIENT {queued['id']}")
        (error,) = waiting.until_ready().errors
        assert (error.severity, error.sqlstate) == ("FATAL", "57P01")
        assert rows(console, "SHOW QUEUE") == []


def test_wake_hibernate_and_drop(router):
    """What an administrator does to a tenant, each answered when it is done."""
    def state():
        (tenant,) = [tenant for tenant in rows(console, "SHOW TENANTS") if tenant["name"] == "Steered"] or [{}]
        return tenant.get("state")

    with router.connect("Steered") as connection:
        connection.execute("CREATE TABLE kept (n int)")
    with control(router) as console:
        console.execute("HIBERNATE Steered")
        assert state() == "cold"
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            console.execute("HIBERNATE Steered")
        with pytest.raises(psycopg.errors.InvalidCatalogName):
            console.execute("WAKE steered")
        console.execute("WAKE Steered")
        assert state() == "ready"
        with pytest.raises(psycopg.errors.InvalidCatalogName):
            console.execute("DROP steered")
        console.execute("DROP Steered")
        assert state() is None and "Steered" not in router.tenants()
        with pytest.raises(psycopg.errors.InvalidCatalogName):
            console.execute("DROP Steered")


def test_shutdown(routers):
    """From the console it is the same as a signal."""
    router = routers()
    with router.connect("tenant") as session:
        with control(router) as console:
            console.execute("SHUTDOWN")
        router.expect_exit(0)
        router.expect_no_process()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert "info console: shutdown" in router.log
    assert "stopped" in router.log.splitlines()[-1]


def test_a_full_router_can_be_asked(narrow):
    """The moment at which one has to look is the moment at which nobody is let in."""
    router = narrow
    with router.connect("a"), router.connect("b"), router.connect("c"):
        with router.wire() as fourth:
            assert fourth.startup("alice", "d").errors[0].sqlstate == "53300"
        with control(router) as console:
            states = {client["database"]: client["state"] for client in rows(console, "SHOW CLIENTS")}
            assert (states["a"], states["b"], states["c"]) == ("active",) * 3
        with looking(router) as console:
            assert console.execute("SHOW VERSION").fetchone()


def test_a_console_that_does_not_read(router):
    """Answers that nobody took filled the router's memory."""
    with wire.Connection(router.address, receive_buffer=4096) as connection:
        connection.startup("alice", "routerd")
        before = processes.memory(router.pid, "VmRSS")
        connection.socket.settimeout(1)
        try:
            for _ in range(1000):
                connection.send(wire.query_message("SHOW HELP;" * 30))
        except TimeoutError:
            pass
        assert processes.memory(router.pid, "VmRSS") - before < 32 << 20
        with looking(router) as other:
            assert other.execute("SHOW VERSION").fetchone()


def test_a_hundred_listings_a_second_beside_load(router):
    """Monitoring raised everyone's latency."""
    with router.connect("load", user="postgres") as connection:
        connection.execute("CREATE TABLE warm (n int)")
    script = router.home / "select.sql"
    script.write_text("SELECT 1;\n")
    load = subprocess.Popen(
        [postgres_program("pgbench"), "-n", "-h", router.host, "-p", str(router.port), "-U", "postgres", "-c", "4",
         "-T", "2", "-f", str(script), "load"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with looking(router) as console:
            began, slowest = time.monotonic(), 0
            for index in range(150):
                time.sleep(max(0, began + index / 100 - time.monotonic()))
                asked = time.monotonic()
                assert ("load", "ready") in [row[:2] for row in console.execute("SHOW TENANTS").fetchall()]
                slowest = max(slowest, time.monotonic() - asked)
            assert time.monotonic() - began < 3, "fewer than 50 a second"
            assert slowest < 1
    finally:
        output, _ = load.communicate(timeout=20)
    assert load.returncode == 0 and "number of failed transactions: 0" in output, output


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_another_user_cannot_connect(router):
    """The directory is the first of the fences."""
    script = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('{private(router)}/.s.PGSQL.5432')"
    result = subprocess.run(
        ["python3", "-c", script], user="nobody", capture_output=True, text=True, check=False, cwd="/")
    assert result.returncode != 0 and "PermissionError" in result.stderr
