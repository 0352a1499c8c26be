"""Where nothing confines a tenant its users are no superusers: on an older kernel, or by --confine off."""

import shutil
import subprocess

import psycopg
import pytest

from confinement import COMPILER, compile, compiled, confined
from router import BINARY, Router, clean_environment, free_port, looked_after, temporary_directory


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """The command that runs a program where Landlock, or seccomp, does not exist."""
    if COMPILER is None:
        return None
    return compile("no_landlock.c", tmp_path_factory.mktemp("kernel") / "no_landlock")


@pytest.fixture(scope="module", params=[pytest.param("an older kernel", marks=compiled), "off"])
def unconfined(request, kernel):
    """A router that confines nobody, for one reason or the other."""
    if request.param == "off":
        router = Router("--confine", "off")
    else:
        router = Router("--confine", "auto")
        router.launcher = [kernel, "landlock"]
    with looked_after([router]):
        yield router.start()


def test_the_log_says_so(unconfined):
    """Somebody who relies on superusers, or on the confinement, must learn of it."""
    reason = "asked for by --confine off" if "off" in unconfined.arguments else "this kernel has no Landlock"
    assert f"instances are confined: off: {reason}" in unconfined.log


def test_nobody_is_superuser(unconfined):
    """A superuser whom nothing confines owns the machine: he reads files, writes them and runs programs."""
    unconfined.value("neighbour", "SELECT 1")
    neighbour = unconfined.directory / "neighbour/PG_VERSION"
    with unconfined.connect("tenant") as connection:
        role = connection.execute(
            "SELECT rolsuper, rolreplication, rolbypassrls, rolcreatedb FROM pg_roles WHERE rolname = current_user")
        assert role.fetchone() == (False, False, False, True)
        for statement in (
                "SELECT pg_read_file('PG_VERSION')", f"SELECT pg_read_file('{neighbour}')",
                f"SELECT pg_read_binary_file('{neighbour}')", "SELECT pg_ls_dir('.')",
                "SELECT pg_stat_file('PG_VERSION')",
                f"COPY (SELECT 1) TO '{unconfined.directory}/tenant/written'", "COPY (SELECT 1) TO PROGRAM 'true'",
                "SELECT lo_import('PG_VERSION')", "SELECT lo_export(1, '/tmp/routerd-escaped')",
                "ALTER SYSTEM SET archive_command = 'true'", "LOAD '/tmp/library'", "CREATE EXTENSION dblink",
                "CREATE FUNCTION f() RETURNS int AS '/tmp/library' LANGUAGE c",
                "CREATE TABLESPACE outside LOCATION '/tmp'", "SET session_preload_libraries = 'library'",
                "ALTER ROLE routerd NOLOGIN", "SET ROLE routerd", "GRANT pg_execute_server_program TO CURRENT_USER",
                "GRANT pg_read_server_files TO CURRENT_USER", "ALTER ROLE CURRENT_USER SUPERUSER",
                "CREATE ROLE another SUPERUSER"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_everybody_owns_the_database(unconfined):
    """What applications do all day needs no superuser."""
    with unconfined.connect("owned", "first") as connection:
        connection.execute("CREATE SCHEMA s")
        connection.execute("CREATE TABLE s.t (n int)")
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        connection.execute("CREATE EXTENSION pg_trgm")
        connection.execute("CREATE DATABASE another")
        connection.execute("CREATE PUBLICATION p FOR TABLE t")
        if connection.info.server_version >= 160000:
            connection.execute("CREATE ROLE made")
        else:
            # There, who may create roles may make himself a member of pg_execute_server_program.
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("CREATE ROLE made")
    with unconfined.connect("owned", "second") as connection:
        connection.execute("CREATE TABLE public.u (n int)")
        assert connection.execute("SELECT current_user").fetchone() == ("second",)


@compiled
@pytest.mark.parametrize("missing, reason", [
    ("landlock", "this kernel has no Landlock"),
    pytest.param("seccomp", "this kernel has no filters of system calls (seccomp)", marks=confined)])
def test_required_and_not_there(kernel, missing, reason):
    """Whoever requires it is not served without."""
    home = temporary_directory()
    try:
        result = subprocess.run(
            [str(part) for part in (kernel, missing, BINARY, "serve", "--port", free_port(), "--dir", home / "data",
                                    "--confine", "require")],
            env=clean_environment(), capture_output=True, text=True, timeout=20, check=False, cwd="/")
        assert result.returncode == 1, result.stderr
        assert reason in result.stderr
        assert "://" not in result.stdout
    finally:
        shutil.rmtree(home)
