"""What a tenant's superuser can set, rewrite and rename, and what becomes of it at the next boot."""

import os
import pwd
import re
import shutil
import signal
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import processes
from confinement import compiled, confined, expect_denied, sockets_directory
from router import IS_ROOT, RUN_AS

pytestmark = confined


@pytest.fixture(scope="module")
def neighbour(router):
    """Held, so that it stays up; its data directory."""
    with router.connect("neighbour"):
        yield router.directory / "neighbour"


def restart(router, tenant):
    """The instance ends; whoever connects next boots it with what was set."""
    postmaster = router.postmaster(tenant)
    os.kill(postmaster, signal.SIGQUIT)
    assert processes.eventually(lambda: processes.state(postmaster) in (None, "Z", "X"), within=5)


def alter_system(connection, name, value):
    connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value))


def write(connection, path, content):
    """A file of the tenant's own; in two statements, or the export does not see the object."""
    large_object = connection.execute("SELECT lo_from_bytea(0, %s)", [content.encode()]).fetchone()[0]
    connection.execute("SELECT lo_export(%s, %s)", [large_object, str(path)])


def log_of(router, tenant):
    return (router.directory / f".routerd/logs/{tenant}.log").read_text()


PINNED = {
    "listen_addresses": ("*", ""), "port": ("5433", "5432"), "unix_socket_directories": ("/tmp", None),
    "unix_socket_permissions": ("0777", "0000"), "hba_file": ("{own}/pg_hba.conf", "{base}/.routerd/pg_hba.conf"),
    "ident_file": ("{own}/pg_ident.conf", "{base}/.routerd/pg_ident.conf"), "ssl": ("on", "off"),
    "logging_collector": ("on", "off"), "log_destination": ("csvlog", "stderr"), "cluster_name": ("somebody", "pinned"),
    "dynamic_shared_memory_type": ("posix", "mmap"), "restart_after_crash": ("off", "on"),
}


@pytest.mark.parametrize("how", ["ALTER SYSTEM", "postgresql.conf"])
def test_pinned_settings_stay(router, how):
    """Each of them opens the instance to others, or shuts the router out; tried both ways that a tenant has, with a
    pg_hba.conf of its own that lets nobody in."""
    own = router.directory / "pinned"
    with router.connect("pinned") as connection:
        sockets = connection.execute("SHOW unix_socket_directories").fetchone()[0]
        wanted = {name: value.format(own=own) for name, (value, _) in PINNED.items()}
        if how == "ALTER SYSTEM":
            for name, value in wanted.items():
                alter_system(connection, name, value)
        else:
            connection.execute("ALTER SYSTEM RESET ALL")
            lines = [f"{name} = '{value}'\n" for name, value in wanted.items()]
            write(connection, own / "postgresql.conf", "".join(lines))
        for name in ("pg_hba.conf", "pg_ident.conf"):
            connection.execute(f"COPY (SELECT 'local all all reject') TO '{own / name}'")
        connection.execute("SELECT pg_reload_conf()")
    router.value("pinned", "SELECT 1", user="after_the_reload")
    restart(router, "pinned")
    with router.connect("pinned", "after_the_restart") as connection:
        for name, (_, expected) in PINNED.items():
            value = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()[0]
            if expected is not None:
                assert value == expected.format(base=router.directory), name
        now = connection.execute("SHOW unix_socket_directories").fetchone()[0]
        assert Path(now) == sockets_directory(router, "pinned") and Path(now).parent == Path(sockets).parent


def test_the_data_directory_is_not_a_setting(router, neighbour):
    """An instance that boots in its neighbour's directory."""
    with router.connect("moving") as connection:
        with pytest.raises(psycopg.errors.CantChangeRuntimeParam):
            alter_system(connection, "data_directory", str(neighbour))
        write(connection, router.directory / "moving/postgresql.conf", f"data_directory = '{neighbour}'\n")
    restart(router, "moving")
    assert router.value("moving", "SHOW data_directory") == str(router.directory / "moving")


def test_files_that_the_postmaster_writes(router, neighbour):
    """The postmaster is confined as its backends are: it boots, and writes no file elsewhere."""
    with router.connect("outward") as connection:
        alter_system(connection, "external_pid_file", str(neighbour / "external.pid"))
    restart(router, "outward")
    assert router.value("outward", "SELECT 1") == 1
    assert "Permission denied" in next(
        line for line in log_of(router, "outward").splitlines() if "external PID file" in line)
    assert not (neighbour / "external.pid").exists()


@compiled
def test_a_library_of_a_neighbour_is_not_preloaded(router, neighbour):
    """It is there, and may not be read: the boot is refused in words, and repaired by whoever owns the directory."""
    library = neighbour / "library.so"
    shutil.copy(next(Path("/usr/lib/postgresql").glob("*/lib/auto_explain.so")), library)
    give_away(library)
    with router.connect("preloading") as connection:
        expect_denied(connection, sql.SQL("LOAD {}").format(str(library)))
        alter_system(connection, "shared_preload_libraries", str(library))
    restart(router, "preloading")
    with pytest.raises(psycopg.OperationalError) as refused:
        router.connect("preloading")
    assert 'database "preloading" cannot be started' in str(refused.value)
    assert "Permission denied" in str(refused.value) and "library.so" in str(refused.value)
    (router.directory / "preloading/postgresql.auto.conf").write_text("shared_preload_libraries = 'auto_explain'\n")
    assert processes.eventually(lambda: answer(router, "preloading", "SHOW shared_preload_libraries"), within=10) \
        == "auto_explain"


def test_an_archive_command_does_not_run(router):
    """A shell command that the postmaster's archiver runs as soon as a segment is full.

    127 is what system() makes of the kernel's EACCES for /bin/sh. A shell that runs would say it of a program that it
    does not find, and this command needs none: it would make the file, where it may."""
    archived = router.directory / "archiving/archived"
    with router.connect("archiving") as connection:
        alter_system(connection, "archive_mode", "on")
        alter_system(connection, "archive_command", f": > {archived}")
    restart(router, "archiving")
    with router.connect("archiving") as connection:
        archive_a_segment(connection)
        refusal = "archive command failed with exit code 127"
        assert processes.eventually(lambda: refusal in log_of(router, "archiving"), within=5)
    assert not archived.exists()


def test_an_archive_library_writes_own_files_only(router, neighbour):
    """What replaces the command since PostgreSQL 15 is C code, which needs no shell."""
    own = router.directory / "archiving/archive"
    with router.connect("archiving") as connection:
        if connection.info.server_version < 150000:
            pytest.skip("there are no archive libraries before PostgreSQL 15")
        alter_system(connection, "archive_mode", "on")
        connection.execute("ALTER SYSTEM RESET archive_command")
        alter_system(connection, "archive_library", "basic_archive")
        connection.execute("LOAD 'basic_archive'")
        alter_system(connection, "basic_archive.archive_directory", str(neighbour))
    before = set(neighbour.iterdir())
    restart(router, "archiving")
    with router.connect("archiving") as connection:
        archive_a_segment(connection)
        assert processes.eventually(lambda: failed_segments(connection) > 0, within=5)
        refusal = rf'could not create file "{re.escape(str(neighbour))}/[^"]*": Permission denied'
        assert re.search(refusal, log_of(router, "archiving"))
        own.mkdir()
        give_away(own)
        alter_system(connection, "basic_archive.archive_directory", str(own))
        connection.execute("SELECT pg_reload_conf()")
        assert processes.eventually(lambda: any(own.iterdir()), within=5), "the control: its own directory"
    assert {path.name for path in neighbour.iterdir()} - {path.name for path in before} <= {"library.so"}


def test_the_router_follows_no_link_of_a_tenants(router, neighbour):
    """The router is not confined, and writes and reads in a directory where a tenant may put links."""
    router.value("linked", "SELECT 1")
    restart(router, "linked")
    own = router.directory / "linked"
    kept = {name: (neighbour / name).read_bytes() for name in ("postgresql.conf", "PG_VERSION", "routerd.conf")}
    for name, target in (("routerd.conf", neighbour / "postgresql.conf"),
                         ("routerd.conf.new", neighbour / "PG_VERSION"), ("routerd.claim", "/dev/zero")):
        (own / name).unlink(missing_ok=True)
        (own / name).symlink_to(target)
    assert router.value("linked", "SELECT 1") == 1
    assert {name: (neighbour / name).read_bytes() for name in kept} == kept
    assert not (own / "routerd.conf").is_symlink()


def test_a_pid_file_that_names_a_neighbour(router, neighbour):
    """The router ends what a stale pid file names, if it is what it says: a neighbour's postmaster is not."""
    router.value("naming", "SELECT 1")
    restart(router, "naming")
    postmaster = router.postmaster("neighbour")
    lines = (neighbour / "postmaster.pid").read_text()
    (router.directory / "naming/postmaster.pid").write_text(lines)
    give_away(router.directory / "naming/postmaster.pid")
    assert router.value("naming", "SELECT 1") == 1
    assert processes.state(postmaster) not in (None, "Z", "X")
    assert router.postmaster("neighbour") == postmaster and router.value("neighbour", "SELECT 1") == 1


# Roles


@pytest.mark.parametrize("change", [
    "ALTER ROLE postgres NOLOGIN", "ALTER ROLE postgres NOSUPERUSER", "DROP ROLE postgres",
    "ALTER ROLE routerd CONNECTION LIMIT 0", "ALTER ROLE routerd PASSWORD 'secret'",
    "ALTER ROLE routerd VALID UNTIL '2000-01-01'", "ALTER ROLE routerd SET search_path = nowhere",
    "ALTER ROLE ALL SET search_path = nowhere", "REVOKE ALL ON DATABASE template1 FROM PUBLIC",
    "ALTER DATABASE template1 CONNECTION LIMIT 0"])
def test_the_router_still_gets_in(router, change, name):
    """The tenant's superuser is as powerful as the router's role: new users must still be made."""
    with router.connect("roles", "admin") as connection:
        for statement in ("DROP ROLE IF EXISTS postgres", "CREATE ROLE postgres LOGIN SUPERUSER", change):
            connection.execute(statement)
    assert router.value("roles", "SELECT current_user", user=name) == name


def test_the_routers_role_is_not_dropped(router):
    """PostgreSQL itself keeps the role that initdb made."""
    with router.connect("roles", "admin") as connection:
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            connection.execute("DROP ROLE routerd")


@pytest.mark.parametrize("change, undo, reason", [
    ("ALTER ROLE routerd RENAME TO renamed", "ALTER ROLE renamed RENAME TO routerd", 'role "routerd" does not exist'),
    ("ALTER ROLE routerd NOLOGIN", "ALTER ROLE routerd LOGIN", 'role "routerd" is not permitted to log in'),
    ("ALTER ROLE routerd NOSUPERUSER", "ALTER ROLE routerd SUPERUSER", "must be superuser to create superusers"),
    ("ALTER ROLE routerd SET default_transaction_read_only = on", "ALTER ROLE routerd RESET ALL",
     "cannot execute CREATE ROLE in a read-only transaction"),
    ("ALTER DATABASE template1 ALLOW_CONNECTIONS false", "ALTER DATABASE template1 ALLOW_CONNECTIONS true",
     'database "template1" is not currently accepting connections'),
])
def test_what_shuts_the_router_out_is_said_in_words(router, change, undo, reason, name):
    """A tenant that shuts the router's role out has users that exist, and gets no new ones; the refusal used to be
    'role does not exist', of the user's own name."""
    with router.connect("shut_out", "admin") as connection:
        if "NOSUPERUSER" in change and connection.info.server_version >= 160000:
            pytest.skip("PostgreSQL itself refuses it")
        connection.execute(change)
        try:
            with pytest.raises(psycopg.OperationalError) as refused:
                router.connect("shut_out", name)
            assert f'role "{name}" does not exist, and the router cannot create it' in str(refused.value)
            assert f"It was told: {reason}." in str(refused.value)
            assert router.value("shut_out", "SELECT current_user", user="admin") == "admin"
        finally:
            connection.execute(undo)
    assert router.value("shut_out", "SELECT current_user", user=name) == name


# Parts


def give_away(path):
    """To the user of the tenants."""
    if IS_ROOT:
        user = pwd.getpwnam(RUN_AS)
        os.chown(path, user.pw_uid, user.pw_gid)


def answer(router, tenant, statement):
    try:
        return router.value(tenant, statement)
    except psycopg.OperationalError:
        return None


def archive_a_segment(connection):
    connection.execute("CREATE TABLE IF NOT EXISTS filled (n int)")
    connection.execute("INSERT INTO filled VALUES (1)")
    connection.execute("SELECT pg_switch_wal()")


def failed_segments(connection):
    return connection.execute("SELECT failed_count FROM pg_stat_archiver").fetchone()[0]
