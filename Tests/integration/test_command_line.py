"""What the command says when it cannot serve: one clear line and the right exit code (0 done, 1 failed, 2 usage)."""

import os
import pwd
import re
import shutil
import socket
from pathlib import Path

import psycopg
import pytest

from router import IS_ROOT, READY, RUN_AS, command, free_port, temporary_directory

DONE, FAILED, USAGE = 0, 1, 2


@pytest.fixture
def home():
    path = temporary_directory()
    yield path
    for entry in path.iterdir():
        if entry.is_dir():
            entry.chmod(0o755)
    shutil.rmtree(path)


def serve(home, *arguments, port=None, **options):
    return command("serve", "--dir", home / "data", "--port", port or free_port(), *arguments, **options)


def one_clear_line(result, code, *words):
    """Exactly one line says what is wrong; it is no crash report."""
    said = (result.stderr + result.stdout).strip()
    assert result.returncode == code, f"exit code {result.returncode}: {said}"
    assert "Fatal error" not in said and "Swift" not in said, said
    about = [line for line in said.splitlines() if all(word.lower() in line.lower() for word in words)]
    assert len(about) == 1, f"no line, or several, with {words}:\n{said}"
    assert len(said.splitlines()) <= 3, said


def test_version_and_help(home):
    """Asking is no mistake."""
    for flag in ("--help", "--version"):
        result = command(flag)
        assert result.returncode == DONE and result.stdout.strip()
    text = command("serve", "--help").stdout
    for flag in ("--port", "--host", "--dir", "--auto-provision", "--no-auto-provision", "--log-level", "--log-format",
                 "--postgres-bin", "--run-as", "--max-instances", "--max-connections", "--max-clients", "--socket-dir", "--http",
                 "--io", "--inspect", "--inspect-values", "--queue-timeout", "--tenant-network", "--reuse-backends",
                 "--allow-remote-without-authentication"):
        assert flag in text, f"{flag} is not in the help"


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["--port", "banana"], ["--port", "65536"], ["--port", "-1"], ["--log-level", "loud"],
     ["--log-format", "xml"], ["--io", "kqueue"], ["--max-instances", "0"], ["--workers", "0"], ["--workers", "17"], ["--max-connections", "many"], ["--queue-timeout", "soon"],
     ["superfluous"], ["--port"]],
    ids=" ".join)
def test_bad_flags(home, arguments):
    """A flag with a typing error was ignored, and the default used instead."""
    result = command("serve", "--dir", home / "data", *arguments)
    assert result.returncode == USAGE, (result.returncode, result.stdout, result.stderr)
    assert result.stderr.strip()
    assert not (home / "data").exists()


@pytest.mark.parametrize(
    "name, value",
    [("ROUTERD_PORT", "banana"), ("ROUTERD_AUTO_PROVISION", "maybe"), ("ROUTERD_LOG_LEVEL", "loud"),
     ("ROUTERD_QUEUE_TIMEOUT", "soon"), ("ROUTERD_MAX_INSTANCES", "-3")])
def test_bad_environment(home, name, value):
    """The same for variables, naming the variable, since no flag was typed."""
    result = command("serve", "--dir", home / "data", environment={name: value})
    assert result.returncode == USAGE, (result.returncode, result.stdout, result.stderr)
    assert name in result.stderr


def test_serve_is_the_default_command(home):
    """`routerd` alone serves."""
    result = command("--dir", home / "data", "--postgres-bin", "/nonexistent", "--port", free_port())
    one_clear_line(result, FAILED, "/nonexistent")


def test_taken_port(home):
    """Found after half a minute of initdb, or worse, served by somebody else's PostgreSQL."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one_clear_line(serve(home, port=port), FAILED, str(port), "in use")


def test_directory_in_use_by_another_routerd(routers):
    """Two routers on one directory corrupted both their clusters."""
    router = routers()
    router.value("tenant", "SELECT 1")
    result = command("serve", "--dir", router.directory, "--port", free_port())
    one_clear_line(result, FAILED, str(router.directory), str(router.pid))
    assert router.value("tenant", "SELECT 1") == 1


def test_missing_postgresql(home):
    """Said at start, with what to do, not to the first client."""
    empty = home / "empty"
    empty.mkdir()
    one_clear_line(serve(home, "--postgres-bin", empty), FAILED, str(empty))
    assert not (home / "data").exists()


def test_a_parent_directory_the_user_cannot_enter(home):
    """Started by root in /root, every instance failed with "Permission denied" somewhere in its log."""
    closed = home / "closed"
    closed.mkdir()
    closed.chmod(0o700 if IS_ROOT else 0o000)
    one_clear_line(command("serve", "--dir", closed / "data", "--port", free_port()), FAILED, str(closed))


def test_a_file_in_place_of_the_directory(home):
    """The mistake of a moment, and the answer says which path."""
    (home / "data").write_text("not a directory")
    one_clear_line(serve(home), FAILED, str(home / "data"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_remote_without_authentication_is_refused(home, host):
    """Thousands of open databases are found on the internet every year."""
    one_clear_line(serve(home, "--host", host), USAGE, "--allow-remote-without-authentication")


def test_remote_without_authentication_when_told_to(routers):
    """Whoever knows the network may; the loopback interface of this machine is part of 0.0.0.0."""
    router = routers.prepared("--allow-remote-without-authentication", host="0.0.0.0").start()
    router.host = "127.0.0.1"
    assert router.value("tenant", "SELECT 1") == 1


@pytest.mark.skipif(not IS_ROOT, reason="only root can change its user")
def test_unknown_user_to_run_as(home):
    """Found before anything is made."""
    one_clear_line(serve(home, "--run-as", "no_such_user"), FAILED, "no_such_user")


@pytest.mark.skipif(not IS_ROOT, reason="only root can change its user")
def test_root_drops_to_run_as_for_good(routers):
    """PostgreSQL refuses to run as root; a router that stays root is one bug away from being everybody's."""
    router = routers()
    router.value("tenant", "SELECT 1")
    expected = [str(pwd.getpwnam(RUN_AS).pw_uid)] * 4
    for pid in [router.pid, *router.postmasters()]:
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^Uid:\s+(.*)$", status, re.M)[1].split() == expected
        assert "0" not in re.search(r"^Gid:\s+(.*)$", status, re.M)[1].split()
        assert "0" not in re.search(r"^Groups:(.*)$", status, re.M)[1].split()
        assert int(re.search(r"^CapEff:\s+(.*)$", status, re.M)[1], 16) == 0
    assert router.directory.stat().st_uid == int(expected[0])


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a directory away")
def test_root_gives_away_only_what_it_made(home):
    """A typing error in --dir must not hand /etc to the postgres user."""
    (home / "data").mkdir(mode=0o755)
    (home / "data").chmod(0o755)
    os.chown(home / "data", 0, 0)
    result = serve(home)
    one_clear_line(result, FAILED, str(home / "data"))
    assert (home / "data").stat().st_uid == 0


def test_options_from_the_environment(routers):
    """Containers configure by variables; a flag beats them."""
    router = routers.prepared()
    router.environment.update(
        ROUTERD_PORT="1", ROUTERD_DIR="/nonexistent", ROUTERD_MAX_CONNECTIONS="3", ROUTERD_QUEUE_TIMEOUT="1s",
        ROUTERD_LOG_FORMAT="json")
    router.start()
    assert router.log.lstrip().startswith("{")
    held = [router.connect("tenant") for _ in range(3)]
    with router.wire() as fourth:
        (error,) = fourth.startup("alice", "tenant").errors
        assert error.sqlstate == "53300" and "--max-connections" in error.hint
    for connection in held:
        connection.close()


def test_the_ready_line(routers):
    """The first thing a person sees: where it listens, which PostgreSQL, and something to paste."""
    router = routers()
    version = router.value("tenant", "SHOW server_version").split()[0]
    (line,) = [line for line in router.log.splitlines() if READY.search(line)]
    assert f"127.0.0.1:{router.port}" in router.log
    assert version in router.log
    (example,) = re.findall(r"postgres(?:ql)?://[^\s\"]+", line)
    with psycopg.connect(example, user="alice") as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (example.rsplit("/", 1)[1],)


@pytest.mark.parametrize("host", ["127.0.0.5", "::1"])
def test_the_example_reaches_the_router_wherever_it_listens(routers, host):
    """The example said localhost, which is another address."""
    router = routers(host=host)
    (example,) = re.findall(r"postgres(?:ql)?://[^\s\"]+", router.log)
    with psycopg.connect(example, user="alice") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
