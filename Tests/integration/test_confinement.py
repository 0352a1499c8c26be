"""A tenant's superuser is confined to the tenant's own directory by the kernel."""

import ctypes

import psycopg
import pytest

import processes


def _landlock():
    """The kernel's Landlock ABI; landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) has number 444."""
    return ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) >= 1


confined = pytest.mark.skipif(not _landlock(), reason="this kernel has no Landlock")


@confined
def test_no_program_can_be_run(router, name):
    """COPY … TO PROGRAM is a shell for whoever is superuser."""
    with router.connect(name) as connection:
        for statement in ("COPY (SELECT 1) TO PROGRAM 'touch /tmp/escaped'", "COPY (SELECT 1) TO PROGRAM 'true'"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement)
        assert connection.execute("SELECT 1").fetchone() == (1,)


@confined
def test_a_neighbour_cannot_be_read_or_written(router, name):
    """Superusers read any file their process can: the neighbour's tables among them."""
    router.value(name + "_neighbour", "SELECT 1")
    neighbour = router.directory / f"{name}_neighbour"
    with router.connect(name + "_own") as connection:
        assert connection.execute("SELECT pg_read_file('PG_VERSION')").fetchone()[0].strip().isdigit()
        for statement in (
                f"SELECT pg_read_file('{neighbour}/PG_VERSION')",
                f"SELECT pg_read_file('../{neighbour.name}/PG_VERSION')",
                f"SELECT pg_ls_dir('{router.directory}')",
                "SELECT pg_read_file('/etc/debian_version')",
                f"COPY (SELECT 1) TO '{neighbour}/written'",
                "COPY (SELECT 1) TO '/tmp/routerd-escaped'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert not (neighbour / "written").exists()


@confined
def test_the_routers_own_files_cannot_be_read(router, name):
    """What lies under .routerd decides who may connect to whom."""
    with router.connect(name) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT pg_ls_dir('{router.directory}/.routerd')")


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


def test_without_confinement_nobody_is_superuser(routers):
    """A superuser whom nothing confines owns the machine."""
    router = routers("--confine", "off")
    assert router.value("tenant", "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    assert "confined: off" in router.log
    with router.connect("tenant") as connection:
        connection.execute("CREATE TABLE own (n int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'")
