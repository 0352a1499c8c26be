"""Backups, streamed write-ahead log and logical replication, through the router like any other session."""

import contextlib
import os
import shutil
import signal
import subprocess

import pytest

import processes
from router import postgres_program

ROUTER_ARGUMENTS = ("--tenant-network",)


def tenant(name):
    """How a physical replication connection, which names no database, says whom it means."""
    return {"PGOPTIONS": f"-c routerd.tenant={name}"}


@contextlib.contextmanager
def running(router, program, *arguments, database=None, environment=None):
    """A tool that streams until it is interrupted, which is no failure of it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    address = {"PGHOST": router.host, "PGPORT": str(router.port), "PGUSER": "alice"}
    process = subprocess.Popen(
        [postgres_program(program), *map(str, arguments), *(("--dbname", database) if database else ())],
        env=clean | address | (environment or {}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    try:
        yield process
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=10)
        assert process.returncode == 0, said
    finally:
        process.kill()
        process.wait()


def give_away(path, like):
    """To the user that the router runs as, where the test is root's."""
    owner = os.stat(like)
    for entry in (path, *path.rglob("*")):
        os.chown(entry, owner.st_uid, owner.st_gid)


@pytest.mark.parametrize("method", ["stream", "fetch"])
def test_a_base_backup_is_the_tenant_somewhere_else(router, routers, name, method):
    """A tenant could be dumped, but not moved: pg_basebackup names no database, and nobody could say whose files it
    meant."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE kept AS SELECT n, md5(n::text) AS digest FROM generate_series(1, 10000) n")
    other = routers.prepared()
    backup = other.directory / name
    other.directory.mkdir()
    router.run(
        postgres_program("pg_basebackup"), "--pgdata", backup, "--wal-method", method, "--checkpoint", "fast",
        environment=tenant(name))
    router.run(postgres_program("pg_verifybackup"), backup)
    # Not in the backup, though it is in the tenant.
    with router.connect(name) as connection:
        connection.execute("INSERT INTO kept VALUES (0, 'later')")

    give_away(other.directory, like=other.home)
    backup.chmod(0o700)
    other.start()
    assert other.value(name, "SELECT count(*) FROM kept WHERE digest = md5(n::text)") == 10_000
    assert other.value(name, "SELECT count(*) FROM kept") == 10_000


def test_a_base_backup_of_nobody_makes_nobody(router):
    """Without a name the tool got the cluster of a user called `replication`, made that moment."""
    before = router.tenants()
    result = router.run(
        postgres_program("pg_basebackup"), "--pgdata", router.home / "backup", check=False)
    assert result.returncode == 1
    assert "routerd.tenant" in result.stderr
    assert router.tenants() == before
    assert not (router.home / "backup").exists()


def test_receivewal_follows_the_write_ahead_log(router, name):
    """Archives a tenant to the last transaction, beside sessions and on a slot of its own."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE written (n int)")
    archive = router.home / f"{name}.archive"
    archive.mkdir()
    arguments = ("--directory", archive, "--slot", "archive", "--no-loop")
    router.run(
        postgres_program("pg_receivewal"), *arguments, "--create-slot", "--if-not-exists", environment=tenant(name))
    with running(router, "pg_receivewal", *arguments, environment=tenant(name)), router.connect(name) as connection:
        # A slot keeps nothing before somebody has read from it once.
        assert processes.eventually(lambda: any(archive.iterdir()), within=10)
        connection.execute("INSERT INTO written SELECT generate_series(1, 20000)")
        [(segment,)] = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())")
        connection.execute("SELECT pg_switch_wal()")
        assert processes.eventually((archive / segment).exists, within=10), list(archive.iterdir())
        assert (archive / segment).read_bytes() == (router.directory / name / "pg_wal" / segment).read_bytes()
    shutil.rmtree(archive)


def restart(router, name):
    """Stopped in an orderly way by somebody; the next client wakes it."""
    postmaster = router.postmaster(name)
    os.kill(postmaster, signal.SIGINT)
    assert processes.eventually(lambda: processes.state(postmaster) in (None, "Z", "X"), 10)


def make_logical(router, name):
    """What takes a restart is the tenant's own to set, as in any PostgreSQL."""
    with router.connect(name) as connection:
        connection.execute("ALTER SYSTEM SET wal_level = 'logical'")
    restart(router, name)
    assert router.value(name, "SHOW wal_level") == "logical"


def test_recvlogical_decodes_what_is_committed(router, name):
    """Change data capture: a replication connection that names its database like any other."""
    make_logical(router, name)
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE written (n int PRIMARY KEY, word text)")
    decoded = router.home / f"{name}.decoded"
    arguments = ("--slot", "decoder", "--no-loop")
    router.run(
        postgres_program("pg_recvlogical"), *arguments, "--create-slot", "--plugin", "test_decoding", "--dbname", name)
    with running(
            router, "pg_recvlogical", *arguments, "--start", "--file", decoded, "--fsync-interval", "1",
            "--status-interval", "1", database=name):
        with router.connect(name) as connection:
            connection.execute("INSERT INTO written VALUES (1, 'one')")
            with pytest.raises(ZeroDivisionError), connection.transaction():
                connection.execute("INSERT INTO written VALUES (2, 'never')")
                raise ZeroDivisionError
            connection.execute("UPDATE written SET word = 'uno'")
        seen = lambda: decoded.exists() and "'uno'" in decoded.read_text()
        assert processes.eventually(seen, within=10)
    changes = [line for line in decoded.read_text().splitlines() if line.startswith("table")]
    assert changes == [
        "table public.written: INSERT: n[integer]:1 word[text]:'one'",
        "table public.written: UPDATE: n[integer]:1 word[text]:'uno'"]
    decoded.unlink()


def test_a_subscription_to_another_tenant(router, name):
    """A copy of what was there and then every change, from one tenant's instance to another's through the router; and
    again after each side has been away."""
    publisher, subscriber = f"{name}_from", f"{name}_to"
    make_logical(router, publisher)
    with router.connect(publisher) as connection:
        connection.execute("CREATE TABLE shared AS SELECT n FROM generate_series(1, 1000) n")
        connection.execute("ALTER TABLE shared ADD PRIMARY KEY (n)")
        connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    address = f"host={router.host} port={router.port} user=alice dbname={publisher}"
    with router.connect(subscriber) as connection:
        connection.execute("CREATE TABLE shared (n int PRIMARY KEY)")
        connection.execute(f"CREATE SUBSCRIPTION mine CONNECTION '{address}' PUBLICATION everything")
        # Seconds otherwise, between two attempts after the publisher was away.
        connection.execute("ALTER SYSTEM SET wal_retrieve_retry_interval = '200ms'")
        connection.execute("SELECT pg_reload_conf()")

    def arrives(count):
        received = lambda: router.value(subscriber, "SELECT count(*) FROM shared") == count
        assert processes.eventually(received, within=20), router.value(subscriber, "SELECT count(*) FROM shared")

    def publish(first, last):
        with router.connect(publisher) as connection:
            connection.execute("INSERT INTO shared SELECT generate_series(%s::int, %s::int)", (first, last))

    arrives(1000)
    publish(1001, 1500)
    arrives(1500)
    restart(router, publisher)
    publish(1501, 1600)
    arrives(1600)
    restart(router, subscriber)
    publish(1601, 1700)
    arrives(1700)
    with router.connect(subscriber) as connection:
        connection.execute("DROP SUBSCRIPTION mine")


def test_a_subscription_takes_the_tenant_network(routers):
    """Confined to its own files and its own sockets: a tenant reaches no network unless it is said so."""
    router = routers()
    with router.connect("tenant") as connection:
        if connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,):
            pytest.skip("nothing confines it on this kernel")
        with pytest.raises(Exception, match="Permission denied"):
            connection.execute(
                f"CREATE SUBSCRIPTION mine CONNECTION 'host={router.host} port={router.port} dbname=other' "
                "PUBLICATION everything")
    assert router.tenants() == {"tenant"}
