"""Native code that a tenant's superuser writes with lo_export and loads into a backend is confined like the backend.

Every refusal has its counterpart: the same code under the same user, not confined, is granted what it asks."""

import contextlib
import errno
import os
import pwd
import re
import socket
import stat
import tempfile
from pathlib import Path

import psycopg
import pytest

import processes
from confinement import GRANTED, Probe, compiled, confined, signals_confined, sockets_directory
from router import IS_ROOT, RUN_AS, postgres_program

pytestmark = [confined, compiled]
ROUTER_ARGUMENTS = ("--confine", "require")


@pytest.fixture(scope="module")
def tools():
    """A directory that everybody may read."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="module")
def probe(tools):
    return Probe(tools)


@pytest.fixture(scope="module")
def intruder(router, probe):
    with router.connect("intruder") as connection:
        probe.load(connection)
        yield connection


@pytest.fixture(scope="module")
def neighbour(router):
    """Held, so that it stays up; its data directory."""
    with router.connect("neighbour"):
        yield router.directory / "neighbour"


@pytest.fixture
def scratch(neighbour):
    """A file of the neighbour's that may be lost."""
    path = neighbour / "scratch"
    path.write_text("something")
    give_away(path)
    yield path
    path.unlink(missing_ok=True)


def test_the_library_does_what_is_allowed(router, probe, intruder):
    """Were every attempt denied, the refusals below would say nothing."""
    own = router.directory / "intruder"
    assert probe.inside(intruder, "read", own / "PG_VERSION") == GRANTED
    assert probe.inside(intruder, "write", own / "written") == GRANTED
    assert probe.inside(intruder, "truncate", own / "written") == GRANTED
    assert probe.inside(intruder, "remove", own / "written") == GRANTED
    assert probe.inside(intruder, "execute", postgres_program("postgres")) == GRANTED
    assert probe.inside(intruder, "signal", number=intruder.info.backend_pid) == GRANTED
    assert probe.inside(intruder, "read", own / "absent") == errno.ENOENT
    assert probe.inside(intruder, "no such attempt") == 1001


@pytest.mark.parametrize("path", [
    "{neighbour}", "{neighbour}/PG_VERSION", "{neighbour}/base/1/PG_VERSION",
    "{neighbour}/../intruder/../neighbour/PG_VERSION",
    "{base}", "{base}/.routerd", "{base}/.routerd/lock", "{base}/.routerd/template", "{base}/.routerd/logs",
    "{base}/.routerd/logs/neighbour.log", "{base}/.routerd/logs/intruder.log", "/", "/etc", "/etc/debian_version",
    "/proc", "/proc/self/environ", "/proc/{postmaster}/environ", "/proc/{postmaster}/cmdline", "/proc/{postmaster}/fd",
    "/proc/{postmaster}/mem", "/proc/net/unix", "/dev/zero", "/tmp", "/dev/shm"])
def test_files_of_others_cannot_be_read(router, probe, intruder, neighbour, path):
    """A backend reads with the rights of the system user, who owns every tenant's files."""
    path = path.format(neighbour=neighbour, base=router.directory, postmaster=router.postmaster("neighbour"))
    probe.expect_denied(intruder, "read", path)


@pytest.mark.parametrize("path", ["/etc/shadow", "/proc/{router}/environ", "/proc/{router}/fd", "/proc/{router}/mem"])
def test_files_of_root_and_of_the_router_cannot_be_read(router, probe, intruder, path):
    """Some of these the user could not read either, without any confinement."""
    assert probe.inside(intruder, "read", path.format(router=router.pid)) in (errno.EACCES, errno.EPERM)


def test_files_of_others_cannot_be_changed(router, probe, intruder, neighbour, scratch, tools):
    """One byte in a neighbour's pg_control is enough."""
    for what, path in (
            ("write", neighbour / "PG_VERSION"), ("write", scratch), ("truncate", scratch), ("remove", scratch),
            ("write", neighbour / "made_by_the_intruder"), ("make directory", neighbour / "made_by_the_intruder_too"),
            ("write", router.directory / ".routerd/pg_hba.conf"), ("make directory", router.directory / "squatted")):
        probe.expect_denied(intruder, what, path)
    for left in (neighbour / "made_by_the_intruder_too", router.directory / "squatted"):
        left.rmdir()
    (neighbour / "made_by_the_intruder").unlink()


def test_links_lead_nowhere(router, probe, intruder, neighbour):
    """A link inside the data directory is the tenant's to make; where it leads is not."""
    own = router.directory / "intruder"
    for target in ("PG_VERSION", neighbour / "PG_VERSION", "/etc/debian_version"):
        (own / "probe.link").unlink(missing_ok=True)
        assert probe.inside(intruder, "link here", target) == GRANTED
        if target == "PG_VERSION":
            assert probe.inside(intruder, "read", own / "probe.link") == GRANTED
        else:
            probe.expect_denied(intruder, "read", own / "probe.link")


@pytest.mark.parametrize("program", ["/bin/sh", "/bin/true", "{tools}/probe"])
def test_no_program_can_be_executed(probe, intruder, tools, program):
    """The refusal behind every COPY … TO PROGRAM and archive_command, which say no more than that it did not run."""
    probe.expect_denied(intruder, "execute", program.format(tools=tools))


def test_an_own_program_cannot_be_executed(router, probe, intruder):
    """Uploaded, or made from the library: EXECUTE is not granted anywhere that can be written."""
    own = router.directory / "intruder/program"
    own.write_bytes(probe.program.read_bytes())
    give_away(own)
    own.chmod(0o755)
    probe.expect_denied(intruder, "execute", own)


@signals_confined
def test_nobody_else_is_signalled(router, probe, intruder, neighbour):
    """kill(2) asks for the same user only, and all tenants are one."""
    probe.expect_denied(intruder, "signal", number=router.postmaster("neighbour"))
    assert probe.inside(intruder, "signal", number=router.pid) == errno.EPERM


def test_nobody_else_is_traced(router, probe, intruder, neighbour):
    """ptrace, and what rests on it: memory, and descriptors of another process (a client's socket, say)."""
    yama = Path("/proc/sys/kernel/yama/ptrace_scope")
    for what in ("trace", "steal descriptor"):
        assert probe.inside(intruder, what, number=router.pid) == errno.EPERM
        if yama.exists() and yama.read_text().strip() != "0":
            assert probe.inside(intruder, what, number=router.postmaster("neighbour")) == errno.EPERM
        else:
            probe.expect_denied(intruder, what, number=router.postmaster("neighbour"))


def test_nobody_elses_limits_are_changed(router, probe, intruder, neighbour):
    """A limit of zero seconds of processor time kills a neighbour's postmaster, or the router, without a signal."""
    for what in ("prlimit", "setpriority"):
        probe.expect_denied(intruder, what, number=router.postmaster("neighbour"))
        assert probe.inside(intruder, what, number=router.pid) == errno.EPERM
        assert probe.inside(intruder, what, number=0) == GRANTED


def test_no_socket_of_others_is_reached(router, probe, intruder, tools):
    """Landlock lets everybody connect to a Unix socket that has a name: a PostgreSQL of the host, which knows the
    system user by that socket and makes him superuser, or the program that runs containers."""
    with listening(socket.AF_UNIX, str(tools / "named")), listening(socket.AF_UNIX, "\0routerd-test-abstract"):
        os.chmod(tools / "named", 0o777)
        probe.expect_denied(intruder, "connect unix", tools / "named")
        probe.expect_denied(intruder, "connect abstract", "routerd-test-abstract")


def test_no_network_is_reached(router, probe, intruder):
    """Neither the router's own port, where any name is let in, nor anything else that listens."""
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as port:
        probe.expect_denied(intruder, "connect tcp", number=port)
    probe.expect_denied(intruder, "connect tcp", number=router.port)
    probe.expect_denied(intruder, "bind tcp")
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(("127.0.0.1", 0))
        probe.expect_denied(intruder, "send udp", number=receiver.getsockname()[1])


def test_no_socket_of_a_neighbour_has_a_name(router, neighbour):
    """What has no name cannot be connected to; the router holds a descriptor."""
    for path in sockets_directory(router, "neighbour").iterdir():
        assert not stat.S_ISSOCK(path.stat().st_mode), path


def test_known_limits_under_one_user(router, probe, intruder, neighbour, scratch, tools):
    """What one system user for all tenants leaves possible. docs/tenants.md says so; whoever cures one of these finds
    out here that the page has to be changed."""
    assert probe.inside(intruder, "stat", neighbour / "PG_VERSION") == GRANTED
    assert intruder.execute("SELECT size FROM pg_stat_file(%s)", [str(scratch)]).fetchone() == (len("something"),)
    assert probe.inside(intruder, "chmod", scratch) == GRANTED
    assert probe.inside(intruder, "chmod", neighbour) == GRANTED
    directory = neighbour / "scratch.d"
    directory.mkdir()
    directory.chmod(0o755)
    give_away(directory)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        intruder.execute(f"CREATE TABLESPACE outside LOCATION '{directory}'")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    directory.rmdir()
    # A stat tells what exists, and so which names other tenants have.
    assert probe.inside(intruder, "stat", router.directory / "nobody") == errno.ENOENT
    # The segment by which a postmaster tells that another serves its directory; no tenant's data is in it.
    segment = int((neighbour / "postmaster.pid").read_text().splitlines()[6].split()[1])
    assert probe.inside(intruder, "shared memory", number=segment) == GRANTED
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(str(tools / "datagrams"))
        os.chmod(tools / "datagrams", 0o777)
        assert probe.inside(intruder, "send unix", tools / "datagrams") == GRANTED


# What a postmaster is given


def everyone_of(router, tenant):
    postmaster = router.postmaster(tenant)
    return [postmaster, *processes.descendants(postmaster)]


def test_no_new_privileges(router, neighbour):
    """Without it a program with the set-user-id bit is a way out, and Landlock and seccomp ask for it."""
    family = [processes.status(pid) for pid in everyone_of(router, "neighbour")]
    assert family[0], "the postmaster lives"
    # A worker of autovacuum may have ended meanwhile.
    for status in filter(None, family):
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert re.search(r"^Seccomp:\s+2$", status, re.M)
        assert re.search(r"^CapEff:\s+0+$", status, re.M)
        assert re.search(r"^Umask:\s+0077$", status, re.M)
        if IS_ROOT:
            user = pwd.getpwnam(RUN_AS)
            assert re.search(rf"^Uid:(\s+{user.pw_uid}){{4}}$", status, re.M)
            assert re.search(rf"^Gid:(\s+{user.pw_gid}){{4}}$", status, re.M)


def test_descriptors_of_its_own_only(router, neighbour):
    """A descriptor that leaks into a postmaster is a way around every rule about paths: the base directory's, the
    lock's, a client's socket, the reactor's."""
    held = processes.sockets(router.pid)
    for pid in everyone_of(router, "neighbour"):
        assert not processes.sockets(pid) & held
        for target in descriptors(pid):
            assert re.fullmatch(
                rf"socket:.*|pipe:.*|anon_inode:.*|/dev/null|{re.escape(str(neighbour))}(/.*)?"
                rf"|{re.escape(str(router.directory))}/\.routerd/logs/neighbour\.log(\.1)?", target), target
            assert target != "anon_inode:[pidfd]"


def test_an_environment_of_its_own(router, neighbour):
    """The environment of whoever started routerd has passwords in it; any function of a tenant's can read its own."""
    assert "PYTEST_CURRENT_TEST" in environment_names(router.pid)
    names = environment_names(router.postmaster("neighbour"))
    assert names <= {"PATH", "LC_ALL", "NOTIFY_SOCKET", "PGDATA"}, names


def test_made_for_the_owner_only(router, neighbour):
    """Neither the directory of a tenant nor a file in it is anybody else's to read."""
    with router.connect("neighbour") as connection:
        connection.execute("CREATE TABLE made AS SELECT 1")
        connection.execute("CHECKPOINT")
    for path in [neighbour, *neighbour.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_ended_before_the_router_when_memory_runs_out(router, neighbour):
    """The router serves everybody; an instance that is ended costs one tenant a recovery."""
    score = int(Path(f"/proc/{router.pid}/oom_score_adj").read_text())
    assert int(Path(f"/proc/{router.postmaster('neighbour')}/oom_score_adj").read_text()) > score


# Parts


def give_away(path):
    """To the user of the tenants."""
    if IS_ROOT:
        user = pwd.getpwnam(RUN_AS)
        os.chown(path, user.pw_uid, user.pw_gid)


@contextlib.contextmanager
def listening(family, address):
    with contextlib.closing(socket.socket(family)) as listener:
        listener.bind(address)
        listener.listen()
        name = listener.getsockname()
        yield name[1] if family == socket.AF_INET else name


def environment_names(pid):
    lines = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return {line.split("=")[0] for line in lines if line}


def descriptors(pid):
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{name}")
