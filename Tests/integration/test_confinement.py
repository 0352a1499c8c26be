"""A tenant's superuser is confined to the tenant's own directory by the kernel: what SQL can try."""

import os
import signal
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

import processes
from confinement import confined, expect_denied, expect_no_connection, sockets_directory

ROUTER_ARGUMENTS = ("--socket-dir", "/tmp")


@pytest.fixture(scope="module")
def connection(router):
    """A session of the tenant `own`, with a superuser."""
    with router.connect("own") as connection:
        yield connection


@pytest.fixture(scope="module")
def neighbour(router):
    """Held, so that it stays up; its data directory."""
    with router.connect("neighbour"):
        yield router.directory / "neighbour"


@confined
def test_users_are_superusers(connection):
    """Or PostgreSQL would refuse, in the same words, what the kernel is to refuse."""
    assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (True,)


OWN = "PG_VERSION"
OTHERS = ["{neighbour}/PG_VERSION", "../neighbour/PG_VERSION", "{base}/.routerd/lock", "../.routerd/lock",
          "{base}/.routerd/logs/neighbour.log", "{base}/.routerd/logs/own.log", "/etc/shadow", "/etc/debian_version",
          "/proc/self/environ", "/proc/{router}/environ"]


@confined
@pytest.mark.parametrize("read", ["pg_read_file", "pg_read_binary_file"])
def test_no_file_of_others_is_read(router, connection, neighbour, read):
    """Superusers read any file their process can: a neighbour's tables among them."""
    assert connection.execute(f"SELECT length({read}(%s))", [OWN]).fetchone()[0] > 0
    for path in OTHERS:
        expect_denied(connection, f"SELECT {read}(%s)", place(router, path))


@confined
def test_no_directory_of_others_is_listed(router, connection, neighbour):
    """The names in the base directory are those of all tenants."""
    assert connection.execute("SELECT count(*) FROM pg_ls_dir('.')").fetchone()[0] > 10
    for path in ("{base}", "..", "{neighbour}", "../neighbour", "{base}/.routerd", "../.routerd",
                 "{base}/.routerd/logs", "/", "/etc", "/proc", "/tmp"):
        expect_denied(connection, "SELECT pg_ls_dir(%s)", place(router, path))


@confined
def test_copy_reads_and_writes_own_files_only(router, connection, neighbour):
    """COPY opens what it is told as the server's user."""
    own = router.directory / "own/copied"
    connection.execute("CREATE TABLE lines (line text)")
    connection.execute(f"COPY (SELECT 'one') TO '{own}'")
    connection.execute(f"COPY lines FROM '{own}'")
    assert connection.execute("TABLE lines").fetchall() == [("one",)]
    for path in OTHERS:
        if path.startswith(("/", "{")):
            expect_denied(connection, f"COPY lines FROM '{place(router, path)}'")
    for path in ("{neighbour}/written", "{neighbour}/PG_VERSION", "{base}/written", "{base}/.routerd/pg_hba.conf",
                 "/tmp/routerd-escaped", "/dev/shm/routerd-escaped"):
        expect_denied(connection, f"COPY lines TO '{place(router, path)}'")
    assert not (neighbour / "written").exists() and (neighbour / "PG_VERSION").read_text().strip().isdigit()


@confined
def test_large_objects_are_own_files_only(router, connection, neighbour):
    """The other way to write a file byte by byte. In two statements: in one, the export does not see the object."""
    own = router.directory / "own/exported"
    large_object = connection.execute("SELECT lo_from_bytea(0, 'content')").fetchone()[0]
    connection.execute("SELECT lo_export(%s, %s)", [large_object, str(own)])
    again = connection.execute("SELECT lo_import(%s)", [str(own)]).fetchone()[0]
    assert connection.execute("SELECT lo_get(%s)", [again]).fetchone() == (b"content",)
    for path in ("{neighbour}/exported", "{neighbour}/PG_VERSION", "../neighbour/exported",
                 "{base}/.routerd/pg_hba.conf", "/tmp/routerd-escaped"):
        expect_denied(connection, "SELECT lo_export(%s, %s)", large_object, place(router, path))
    for path in OTHERS:
        expect_denied(connection, "SELECT lo_import(%s)", place(router, path))


@confined
def test_no_program_is_run(router, connection):
    """COPY … PROGRAM is a shell for whoever is superuser.

    The kernel's EACCES for that shell does not get so far: glibc's popen() says ENOMEM whatever it was (another C
    library may say the truth). That it is a permission is shown by native code, which asks for the same shell. One that
    runs needs no other program for an `echo`, so that it cannot fail for want of one."""
    touched = router.directory / "own/touched"
    connection.execute("CREATE TABLE output (line text)")
    for statement in (f"COPY (SELECT 1) TO PROGRAM ': > {touched}'", "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'",
                      "COPY output FROM PROGRAM 'echo escaped'", "COPY output FROM PROGRAM '/bin/echo escaped'"):
        with pytest.raises(psycopg.Error, match='could not execute command ".*": (Cannot allocate memory|Permission denied)$'):
            connection.execute(statement)
    assert not touched.exists() and connection.execute("TABLE output").fetchall() == []


@confined
def test_file_fdw_and_adminpack(router, connection, neighbour):
    """Two extensions that come with PostgreSQL and do nothing but reach for files."""
    connection.execute("CREATE EXTENSION file_fdw")
    connection.execute("CREATE SERVER files FOREIGN DATA WRAPPER file_fdw")
    for name, path in (("mine", router.directory / "own/PG_VERSION"), ("theirs", neighbour / "PG_VERSION")):
        connection.execute(f"CREATE FOREIGN TABLE {name} (line text) SERVER files OPTIONS (filename '{path}')")
    assert connection.execute("SELECT count(*) FROM mine").fetchone() == (1,)
    expect_denied(connection, "SELECT count(*) FROM theirs")
    if not connection.execute("SELECT FROM pg_available_extensions WHERE name = 'adminpack'").fetchone():
        return
    connection.execute("CREATE EXTENSION adminpack")
    connection.execute("SELECT pg_file_write('mine', 'content', false)")
    for call in (f"pg_file_write('{neighbour}/theirs', 'content', false)", f"pg_file_unlink('{neighbour}/PG_VERSION')",
                 f"pg_file_rename('mine', '{neighbour}/theirs')", f"pg_file_sync('{neighbour}/PG_VERSION')"):
        expect_denied(connection, f"SELECT {call}")
    assert (neighbour / "PG_VERSION").exists() and not (neighbour / "theirs").exists()


@confined
def test_tablespaces(router, connection, neighbour):
    """A tablespace is a symbolic link that PostgreSQL makes, and a directory that it fills."""
    for others in (neighbour, neighbour / "base", router.directory, router.directory / ".routerd", router.home):
        expect_denied(connection, f"CREATE TABLESPACE outside LOCATION '{others}'")
    connection.execute("SET allow_in_place_tablespaces = on")
    connection.execute("CREATE TABLESPACE in_place LOCATION ''")
    connection.execute("CREATE TABLE placed (n int) TABLESPACE in_place")
    connection.execute("INSERT INTO placed VALUES (1)")
    assert connection.execute("TABLE placed").fetchall() == [(1,)]


# Where a server answers that would let the tenant in, and one address where nobody does. Connections to the first two
# are possible for the test itself.
REACHABLE = {"routerd's own port": "host=127.0.0.1 port={port}", "routerd's own socket": "host=/tmp port={port}"}
UNREACHABLE = {
    "a neighbour's socket, which has no name any more": "host={sockets} port=5432",
    "an abstract socket": "host=@routerd port={port}",
    "another address": "host=192.0.2.1 port=5432 connect_timeout=2",
}


@confined
@pytest.mark.parametrize("where", [*REACHABLE, *UNREACHABLE])
def test_no_connection_is_made(router, connection, neighbour, where):
    """dblink from one tenant read its neighbour: whoever reaches a socket of PostgreSQL's, or routerd's own port, is
    let in under any name. A PostgreSQL of the host's own even takes the system user for its superuser."""
    address = {**REACHABLE, **UNREACHABLE}[where].format(
        port=router.port, sockets=sockets_directory(router, "neighbour")) + " dbname=neighbour user=alice"
    connection.execute("CREATE EXTENSION IF NOT EXISTS dblink")
    connection.execute("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
    if where in REACHABLE:
        with psycopg.connect(address) as control:
            assert control.execute("SELECT current_database()").fetchone() == ("neighbour",)
    expect_no_connection(connection, sql.SQL("SELECT dblink_connect({})").format(address))
    options = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), value) for name, value in conninfo_to_dict(address).items()
        if name != "user")
    connection.execute(
        sql.SQL("CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({})").format(options))
    connection.execute(
        "CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'alice', password_required 'false')")
    connection.execute("CREATE FOREIGN TABLE far (n int) SERVER elsewhere")
    expect_no_connection(connection, "TABLE far")
    connection.execute("DROP SERVER elsewhere CASCADE")


@confined
def test_no_subscription_connects(router, connection):
    """The third client inside PostgreSQL, that of replication."""
    with pytest.raises(psycopg.Error, match="Permission denied"):
        connection.execute(
            f"CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={router.port} dbname=neighbour user=alice'"
            " PUBLICATION p")


@confined
def test_a_socket_that_has_a_name_lets_nobody_in(router):
    """From its first moment to READY an instance's socket has a name, which a neighbour could guess: while it has,
    nobody may connect, whoever asks. The router is stopped in that moment, which takes luck on a busy machine."""
    router.value("waking", "SELECT 1")
    runtime = sockets_directory(router, "waking").parent
    with ThreadPoolExecutor() as executor:
        for _ in range(10):
            os.kill(router.postmaster("waking"), signal.SIGQUIT)
            waking = executor.submit(router.value, "waking", "SELECT 1")
            mode = mode_of_a_named_socket(router, runtime)
            assert waking.result() == 1
            if mode is not None:
                break
    assert mode == 0
    assert not list(runtime.glob("*/.s.PGSQL.5432")), "an instance that is ready has a socket with a name"


def mode_of_a_named_socket(router, runtime):
    """Of a postmaster that has announced its readiness to a router that is stopped; None if it was stopped too late."""
    seen = processes.eventually(lambda: next(iter(runtime.glob("*/.s.PGSQL.5432")), None), within=5, interval=0)
    os.kill(router.pid, signal.SIGSTOP)
    try:
        time.sleep(0.2)
        return stat.S_IMODE(seen.stat().st_mode)
    except (AttributeError, FileNotFoundError):
        return None
    finally:
        os.kill(router.pid, signal.SIGCONT)


def test_parallel_query(router, name):
    """Workers need shared memory, which a confinement too strict denies them."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT n FROM generate_series(1, 300000) n")
        connection.execute("ANALYZE numbers")
        for setting in ("min_parallel_table_scan_size = 0", "parallel_setup_cost = 0", "parallel_tuple_cost = 0",
                        "max_parallel_workers_per_gather = 2"):
            connection.execute(f"SET {setting}")
        plan = connection.execute("EXPLAIN (ANALYZE, FORMAT JSON) SELECT sum(n) FROM numbers").fetchone()[0]
        assert _find(plan, "Workers Launched") >= 1
        assert connection.execute("SELECT sum(n) FROM numbers").fetchone() == (300_000 * 300_001 // 2,)


@pytest.mark.parametrize("extension", ["pgcrypto", "pg_trgm", "hstore", "uuid-ossp", "postgres_fdw", "plpgsql"])
def test_extensions(router, extension):
    """Libraries and scripts are read from PostgreSQL's own directories."""
    with router.connect("extensions") as connection:
        connection.execute(f'CREATE EXTENSION IF NOT EXISTS "{extension}"')


def test_what_an_ordinary_application_needs(router, name):
    """Time zones, text search dictionaries, large sorts in temporary files, random numbers."""
    with router.connect(name) as connection:
        assert connection.execute(
            "SELECT timestamptz '2024-07-01 12:00+00' AT TIME ZONE 'Europe/Berlin'").fetchone()[0].hour == 14
        assert connection.execute("SELECT to_tsvector('english', 'running dogs')").fetchone() == ("'dog':2 'run':1",)
        connection.execute("SET work_mem = '64kB'")
        assert connection.execute(
            "SELECT count(*) FROM (SELECT n FROM generate_series(1, 200000) n ORDER BY md5(n::text)) s").fetchone()[0]
        assert connection.execute("SELECT gen_random_uuid() <> gen_random_uuid()").fetchone() == (True,)
        connection.execute("CREATE TABLE t (n int)")
        connection.execute("VACUUM FULL t")
        connection.execute("CHECKPOINT")
        connection.execute("ALTER SYSTEM SET work_mem = '3MB'")
        connection.execute("SELECT pg_reload_conf()")
    with router.connect(name) as connection:
        assert processes.eventually(lambda: connection.execute("SHOW work_mem").fetchone() == ("3MB",), within=3)


def test_no_client_socket_reaches_a_postmaster(router, name):
    """Sockets leaked into children: a client's connection stayed open after the router had closed it."""
    held = [router.connect(f"{name}_{index}") for index in range(3)]
    clients = processes.tcp_sockets(router.port)
    assert len(clients) > 3
    for index in range(3):
        postmaster = router.postmaster(f"{name}_{index}")
        for pid in [postmaster, *processes.descendants(postmaster)]:
            assert not processes.sockets(pid) & clients
    for connection in held:
        connection.close()


def test_postgres_listens_on_no_tcp_port(router, name):
    """One port is promised; a cluster that also listens on 5432 is reachable without the router."""
    router.value(name, "SELECT 1")
    assert router.value(name, "SHOW listen_addresses") == ""


def place(router, path):
    return path.format(base=router.directory, neighbour=router.directory / "neighbour", router=router.pid)


def _find(plan, key):
    if isinstance(plan, dict):
        if key in plan:
            return plan[key]
        plan = list(plan.values())
    if isinstance(plan, list):
        for part in plan:
            found = _find(part, key)
            if found is not None:
                return found
    return None
