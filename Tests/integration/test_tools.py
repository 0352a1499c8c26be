"""PostgreSQL's own tools, which take one server for one cluster: what each of them meets here, as the README's
limits say it."""

import pytest

from router import postgres_program


def run(router, tool, *arguments, **options):
    return router.run(postgres_program(tool), *arguments, **options)


@pytest.fixture
def tenant(router, name):
    """A database of its own with one table of 100 rows."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 100) AS n")
    return name


def test_pg_isready(router, tenant):
    """It connects like everybody else: the answer is the tenant's, not only the router's."""
    result = run(router, "pg_isready", database=tenant)
    assert result.stdout == f"{router.host}:{router.port} - accepting connections\n"


def test_pg_isready_makes_tenants(router):
    """Without a name it asks for the user's, which is made like any other."""
    run(router, "pg_isready", user="isready_user")
    assert "isready_user" in router.tenants()


def test_pg_isready_finds_no_server(routers):
    router = routers()
    router.stop()
    assert run(router, "pg_isready", check=False).returncode == 2


def test_psql_lists_one_instance(router, tenant):
    """The databases of the tenant's own instance, never the other tenants."""
    run(router, "pg_isready", database="somebody_else")
    listed = run(router, "psql", "-l", "-A", "-t", "-F", "|", "-d", tenant).stdout
    names = {line.split("|")[0] for line in listed.splitlines()}
    assert names == {tenant, "template0", "template1", "routerd=CTc/routerd"}


def test_psql_lists_postgres_without_a_name(router):
    """psql -l without -d asks the database `postgres`, even when PGDATABASE names another."""
    run(router, "psql", "-l", database="not_asked")
    assert "postgres" in router.tenants() and "not_asked" not in router.tenants()


def test_createdb_and_dropdb_stay_inside(router, tenant):
    """Both act on the instance that they reach through --maintenance-db; the same name through the router is a
    tenant of its own, made empty on the first connect, and outlives dropdb."""
    inside, maintenance = f"{tenant}_in", f"--maintenance-db={tenant}"
    run(router, "createdb", maintenance, inside)
    assert inside not in router.tenants()
    assert router.value(tenant, "SELECT count(*) FROM pg_database WHERE datname = %s", inside) == 1
    again = run(router, "createdb", maintenance, inside, check=False)
    assert again.returncode == 1 and "already exists" in again.stderr

    assert router.value(inside, "SELECT current_database()") == inside
    run(router, "dropdb", maintenance, inside)
    assert router.value(tenant, "SELECT count(*) FROM pg_database WHERE datname = %s", inside) == 0
    assert inside in router.tenants()
    missing = run(router, "dropdb", maintenance, inside, check=False)
    assert missing.returncode == 1 and "does not exist" in missing.stderr
    run(router, "dropdb", maintenance, "--if-exists", inside)


def test_createdb_without_maintenance_database(router):
    """It goes to the tenant `postgres`, which is made for that."""
    run(router, "createdb", "inside_postgres")
    assert "postgres" in router.tenants() and "inside_postgres" not in router.tenants()
    run(router, "dropdb", "inside_postgres")


def test_pg_dumpall(router, tenant):
    """One tenant with its roles and rows; the router's own role is among them, other tenants are not."""
    with router.connect(tenant, user="second_role"):
        pass
    with router.connect("not_dumped") as other:
        other.execute("CREATE TABLE secret (n int)")
    dump = run(router, "pg_dumpall", "-l", tenant).stdout
    assert f"\nCREATE DATABASE {tenant} " in dump and f"\n\\connect {tenant}\n" in dump
    assert "CREATE ROLE second_role;" in dump and "CREATE ROLE routerd;" in dump
    assert "COPY public.kept (n) FROM stdin;\n1\n2\n" in dump
    assert "not_dumped" not in dump and "secret" not in dump


def test_pg_dumpall_follows_names(router, tenant):
    """A database made inside is listed, but its name leads to the tenant of that name: an empty one here."""
    inside = f"{tenant}_in"
    run(router, "createdb", f"--maintenance-db={tenant}", inside)
    dump = run(router, "pg_dumpall", "-l", tenant).stdout
    assert f"\n\\connect {inside}\n" in dump and inside in router.tenants()


def test_vacuumdb(router, tenant):
    run(router, "vacuumdb", "--analyze", tenant)
    assert router.value(tenant, "SELECT reltuples FROM pg_class WHERE relname = 'kept'") == 100


def test_vacuumdb_all(router, tenant):
    """All databases of one instance; their names are the router's tenants, so template1 is made."""
    result = run(router, "vacuumdb", "--all", f"--maintenance-db={tenant}")
    assert {line.rpartition(" ")[2] for line in result.stdout.splitlines()} == {f'"{tenant}"', '"template1"'}
    assert "template1" in router.tenants()
