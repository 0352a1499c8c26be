"""The ways in and out of a tenant that docs/tenants.md tells, as it tells them."""

import os
import shutil
import subprocess

import psycopg
import pytest

import processes
from console import control
from router import BINARY, clean_environment, postgres_program

DIGEST = "SELECT count(*), sum(hashtext(k::text)) FROM kept k"


def fill(router, name):
    """Rows, and roles that are not made by connecting; what the rows look like to a query."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE kept AS SELECT n, md5(n::text) AS digest FROM generate_series(1, 5000) n")
        connection.execute("CREATE ROLE readers")
        connection.execute("GRANT SELECT ON kept TO readers")
    router.value(name, "SELECT 1", user="bob")
    return look(router, name)


def look(router, name):
    with router.connect(name) as connection:
        return connection.execute(DIGEST).fetchone()


def put_in_place(source, router, name):
    """Aside first, then by rename: the router must never see half of it."""
    aside = router.directory / f".{name}"
    subprocess.run(["cp", "-a", source, aside], check=True)
    owner = os.stat(router.home)
    for path in (aside, *aside.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    aside.chmod(0o700)
    aside.rename(router.directory / name)


def drop(router, name):
    subprocess.run(
        [str(BINARY), "drop", name, "--yes", "--dir", str(router.directory)], env=clean_environment(), cwd="/",
        check=True, capture_output=True)
    assert name not in router.tenants()


def test_a_dump_with_its_roles(router, name, tmp_path):
    """A dump alone names roles that the new tenant does not have, and its restore stopped at the first of them."""
    source, target = f"{name}_from", f"{name}_to"
    before = fill(router, source)
    router.run(postgres_program("pg_dump"), "-Fc", "-f", tmp_path / "dump", database=source)
    bring_roles(router, source, router, target)
    router.run(postgres_program("pg_restore"), "--exit-on-error", "-d", target, tmp_path / "dump")
    assert look(router, target) == before
    assert router.value(target, "SELECT has_table_privilege('readers', 'kept', 'SELECT')")


def test_a_base_backup_is_put_back(router, name):
    """What a backup is for: the tenant as it was, under its own name, while the others are served."""
    before = fill(router, name)
    backup = router.home / f"backup_{name}"
    router.run(postgres_program("pg_basebackup"), "-D", backup, "-c", "fast",
               environment={"PGOPTIONS": f"-c routerd.tenant={name}"})
    router.run(postgres_program("pg_verifybackup"), backup)
    with router.connect(name) as connection, router.connect(f"{name}_neighbour") as neighbour:
        connection.execute("DELETE FROM kept")
        connection.close()
        drop(router, name)
        put_in_place(backup, router, name)
        assert look(router, name) == before
        assert neighbour.execute("SELECT 1").fetchone() == (1,)


def test_a_sleeping_tenant_is_copied_and_moves(router, routers, name):
    """A copy made while somebody woke the tenant was torn; a lock that the router respects keeps it asleep."""
    before = fill(router, name)
    with control(router) as console:
        console.execute(f'HIBERNATE "{name}"')
    tenant, copy = router.directory / name, router.home / f"copy_{name}"
    with subprocess.Popen(["flock", tenant, "sh", "-c", "echo locked; read line"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as lock:
        assert lock.stdout.readline() == "locked\n"
        assert not (tenant / "postmaster.pid").exists()
        with pytest.raises(psycopg.OperationalError, match="is being repaired"):
            router.connect(name)
        shutil.copytree(tenant, copy)
        assert not (tenant / "postmaster.pid").exists()
        lock.communicate("\n")
    assert processes.eventually(lambda: _let_in(router, name), 10)
    assert look(router, name) == before
    other = routers()
    put_in_place(copy, other, name)
    assert look(other, name) == before
    # Where it was it goes, once it is served where it is.
    drop(router, name)


def bring_roles(source, name, target, new_name):
    roles = source.run(postgres_program("pg_dumpall"), "-l", name, "--roles-only").stdout
    roles = "".join(line for line in roles.splitlines(keepends=True) if "routerd" not in line)
    told = target.run(postgres_program("psql"), "-X", "-q", database=new_name, input=roles).stderr.splitlines()
    # The one who restores exists already, by connecting.
    assert [line for line in told if "ERROR" in line] == ['ERROR:  role "alice" already exists'], told


def _let_in(router, name):
    try:
        return look(router, name)
    except psycopg.OperationalError:
        return None


def test_to_another_router_through_a_pipe(router, routers, name):
    """How a tenant comes to another version of PostgreSQL: out of one server into the other."""
    before = fill(router, name)
    other = routers()
    bring_roles(router, name, other, name)
    dump = subprocess.Popen([postgres_program("pg_dump"), "-d", router.conninfo(name)], stdout=subprocess.PIPE)
    with dump:
        subprocess.run([postgres_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", other.conninfo(name)],
                       stdin=dump.stdout, stdout=subprocess.DEVNULL, check=True)
    assert dump.returncode == 0
    assert look(other, name) == before
