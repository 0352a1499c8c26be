"""What the tests of confinement share: whether the kernel has it, refusals told apart, and native code."""

import ctypes
import errno
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from router import IS_ROOT, RUN_AS

HERE = Path(__file__).parent
COMPILER = shutil.which("gcc") or shutil.which("cc")

GRANTED = 0
DENIED = (errno.EACCES, errno.EPERM)


def _landlock():
    """The kernel's Landlock ABI; landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) has number 444."""
    return ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)


confined = pytest.mark.skipif(_landlock() < 3, reason="this kernel has no Landlock that routerd uses")
signals_confined = pytest.mark.skipif(_landlock() < 6, reason="this kernel's Landlock does not govern signals")
compiled = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


def expect_denied(connection, statement, *parameters):
    """The kernel's refusal, told apart from a file that is absent and from a statement that is wrong."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="Permission denied"):
        connection.execute(statement, parameters or None)


def expect_no_connection(connection, statement):
    with pytest.raises(psycopg.errors.SqlclientUnableToEstablishSqlconnection) as refused:
        connection.execute(statement)
    assert "Permission denied" in (refused.value.diag.message_detail or ""), refused.value


def sockets_directory(router, tenant):
    arguments = Path(f"/proc/{router.postmaster(tenant)}/cmdline").read_bytes().decode().split("\0")
    (setting,) = [argument for argument in arguments if argument.startswith("unix_socket_directories=")]
    return Path(setting.split("=", 1)[1])


def compile(source, target, *options):
    subprocess.run(
        [COMPILER, "-O1", "-Wall", "-Wextra", "-Werror", *options, "-o", str(target), str(HERE / source)], check=True)
    target.chmod(0o755)
    return target


class Probe:
    """probe.c, in the hands of a tenant and, for comparison, under the same user where nothing confines it."""

    def __init__(self, directory):
        self.program = compile("probe.c", directory / "probe")
        self.library = {}

    def load(self, connection):
        """As somebody without a shell would: through a large object, into the tenant's own directory."""
        major = connection.info.server_version // 10000
        if major not in self.library:
            target = self.program.with_name(f"probe{major}.so")
            compile("probe.c", target, "-shared", "-fPIC", f"-DSERVER_MAJOR={major}")
            self.library[major] = target.read_bytes()
        path = connection.execute("SELECT current_setting('data_directory') || '/probe.so'").fetchone()[0]
        large_object = connection.execute("SELECT lo_from_bytea(0, %s)", [self.library[major]]).fetchone()[0]
        connection.execute("SELECT lo_export(%s, %s)", [large_object, path])
        connection.execute(sql.SQL(
            "CREATE FUNCTION attempt(cstring, cstring, bigint) RETURNS bigint AS {} LANGUAGE c STRICT").format(path))

    def inside(self, connection, what, path="", number=0):
        """What becomes of an attempt in the tenant's backend: 0 or an errno."""
        query = sql.SQL("SELECT attempt({}, {}, {})").format(what, str(path), number)
        return connection.execute(query).fetchone()[0]

    def outside(self, what, path="", number=0):
        """The same attempt by the same user, not confined."""
        identity = {}
        if IS_ROOT:
            account = pwd.getpwnam(RUN_AS)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        result = subprocess.run(
            [self.program, what, str(path), str(number)], capture_output=True, text=True, check=True, cwd="/",
            **identity)
        return int(result.stdout)

    def expect_denied(self, connection, what, path="", number=0):
        """The attempt fails for want of permission, and succeeds where it is not confined."""
        inside, outside = self.inside(connection, what, path, number), self.outside(what, path, number)
        assert inside in DENIED, f"{what} {path}: {os.strerror(inside) if inside else 'granted'}"
        assert outside == GRANTED, f"{what} {path}, not confined: {os.strerror(outside)}"
