"""`routerd run`: a server for the life of one command, of which nothing stays."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import processes
from router import BINARY, clean_environment, command, postgres_program, temporary_directory
from terminal import CTRL_C, Terminal

PSQL = postgres_program("psql")
COUNTER = """
import signal, sys, time
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("listening", flush=True)
end = time.monotonic() + 60
while not seen and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.5)
print(f"interrupted {len(seen)} times", flush=True)
sys.exit(9)
"""


def run(*arguments, **options):
    return command("run", *arguments, **{"timeout": 60} | options)


@pytest.fixture
def runs():
    """Starts `routerd run` in the background; afterwards nothing of it is left: no process, no directory."""
    started = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [BINARY, "run", *arguments], env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            text=True, cwd="/", **options)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def cluster(process):
    """The data directory of the one tenant that a run serves, as its postmaster has it."""
    for pid in processes.descendants(process.pid):
        directory = os.readlink(f"/proc/{pid}/cwd")
        if "/routerd-memory-" in directory and (Path(directory) / "PG_VERSION").exists():
            return Path(directory)
    return None


def expect_nothing_left(directory, within=8):
    server = directory.parent
    assert processes.eventually(lambda: not server.exists() and not processes.in_directory(server), within), (
        f"{server}: {processes.describe(processes.in_directory(server))}")


def test_the_command_finds_its_database():
    """The whole of a test suite's preparation in one line."""
    script = f"""env | grep -E '^(DATABASE_URL|PG)' | sort
        '{PSQL}' -Atc "SELECT current_database(), current_user"; '{PSQL}' "$DATABASE_URL" -Atc 'SELECT 42'"""
    result = run("--", "sh", "-c", script)
    lines = result.stdout.split()
    url = urlsplit(next(line for line in lines if line.startswith("DATABASE_URL=")).removeprefix("DATABASE_URL="))
    assert (url.scheme, url.username, url.path) == ("postgresql", "postgres", "/test")
    assert lines[1:] == [
        "PGDATABASE=test", "PGHOST=127.0.0.1", f"PGPORT={url.port}", "PGUSER=postgres", "test|postgres", "42"]
    assert result.returncode == 0
    errors = [line for line in result.stderr.splitlines() if "created new database" not in line]
    assert not errors, "the server is quiet"


def test_a_database_by_another_name():
    """A name that a URL cannot hold as it is."""
    script = "echo $DATABASE_URL; '%s' \"$DATABASE_URL\" -Atc 'SELECT current_database()'" % PSQL
    result = run("--database", "my app/ü", "--", "sh", "-c", script)
    assert result.stdout.splitlines()[0].endswith("/my%20app%2F%C3%BC")
    assert result.stdout.splitlines()[1] == "my app/ü"


@pytest.mark.parametrize(
    "arguments, code",
    [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137), (["sh", "-c", "kill -TERM $$"], 143),
     (["/nonexistent/command"], 127), (["/etc/passwd"], 126)],
    ids=["true", "status", "killed", "terminated", "absent", "no program"])
def test_it_ends_as_the_command_ends(arguments, code):
    """A suite that failed was taken for one that passed."""
    result = run("--", *arguments)
    assert result.returncode == code, result.stderr
    if code in (126, 127):
        assert arguments[0] in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, words", [([], "command"), (["--dir", "/nonexistent", "--", "true"], "--dir"), (["--nonsense"], "nonsense")],
    ids=["no command", "directory", "nonsense"])
def test_wrong_usage(arguments, words):
    result = run(*arguments)
    assert result.returncode == 2 and words in result.stderr, result.stderr


def test_a_server_that_does_not_start():
    """The command must not run against nothing."""
    result = run("--set", "no_such_setting=1", "--", "echo", "ran")
    assert result.returncode == 1 and "no_such_setting" in result.stderr and "ran" not in result.stdout


def test_options_of_the_server():
    result = run("--set", "work_mem=7MB", "--", PSQL, "-Atc", "SHOW work_mem")
    assert result.stdout.strip() == "7MB"


def test_the_command_keeps_its_user():
    """Root's test suite found itself running as postgres, unable to write its report."""
    assert run("--", "id", "-u").stdout.strip() == str(os.geteuid())


def test_connections_that_are_left_open(runs):
    """A suite that forgot a worker waited for it for ever, or left the server to it."""
    asleep = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%sleep(100)' AND pid <> pg_backend_pid()"
    script = f"""'{PSQL}' -qc 'SELECT pg_sleep(100)' &
        while ! '{PSQL}' -Atc "{asleep}" | grep -q 1; do :; done
        echo asleep
        exit 3"""
    process = runs("--", "sh", "-c", script, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == "asleep\n"
    started = time.monotonic()
    assert process.wait(20) == 3
    assert time.monotonic() - started < 10


def test_a_signal_is_passed_on_and_nothing_stays(runs):
    """CI ends a job with SIGTERM."""
    script = f"'{PSQL}' -qc 'SELECT 1' >/dev/null 2>&1; exec '{sys.executable}' -c '{COUNTER}'"
    process = runs("--", "sh", "-c", script)
    assert process.stdout.readline() == "listening\n"
    directory = cluster(process)
    assert directory, processes.describe(processes.descendants(process.pid))
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 5
    expect_nothing_left(directory, within=0)


def test_a_run_that_is_killed_leaves_nothing(runs):
    """No signal handler runs then: the server notices by itself."""
    process = runs("--", "sh", "-c", f"'{PSQL}' -qc 'SELECT 1' >/dev/null 2>&1; echo ready; exec sleep 20")
    assert process.stdout.readline() == "ready\n"
    directory = cluster(process)
    # The shell says that it is ready before it is the sleeper; others of the family end meanwhile.
    sleepers = lambda: [pid for pid in processes.descendants(process.pid) if "Name:\tsleep\n" in processes.status(pid)]
    (sleeper,) = processes.eventually(sleepers, within=5)
    process.kill()
    process.wait()
    os.kill(sleeper, signal.SIGKILL)
    expect_nothing_left(directory)


def test_ctrl_c_reaches_the_command_once():
    """Once by the terminal and once more by the program in between: pytest took the second one for impatience, and the
    database was gone before its fixtures could clean up."""
    with Terminal() as terminal:
        process = terminal.start([str(BINARY), "run", "--", sys.executable, "-c", COUNTER], env=clean_environment(), cwd="/")
        try:
            terminal.read_until(b"listening")
            terminal.type(CTRL_C)
            terminal.read_until(b"interrupted 1 times")
            assert process.wait(20) == 9
        finally:
            process.kill()
            process.wait()


def test_the_template_is_made_once():
    """initdb took longer than most suites. A copy that somebody has damaged is never trusted."""
    cache = temporary_directory()
    try:
        said = []
        for _ in range(2):
            result = run("--log-level", "info", "--", "true", environment={"XDG_CACHE_HOME": str(cache)})
            assert result.returncode == 0, result.stderr
            said.append("initdb" in result.stderr)
        assert said == [True, False]
        (control,) = cache.glob("routerd/*/global/pg_control")
        control.unlink()
        result = run("--", PSQL, "-Atc", "SELECT 1", environment={"XDG_CACHE_HOME": str(cache)})
        assert result.stdout.strip() == "1", result.stderr
        assert control.exists(), "a whole one is in its place"
    finally:
        shutil.rmtree(cache)


def test_many_at_once(runs):
    """Suites run side by side: no port, no directory, no template is shared in a way that hurts."""
    script = f"'{PSQL}' -Atqc 'CREATE TABLE t AS SELECT 1 AS n' -c 'SELECT count(*) FROM t' 2>/dev/null"
    started = [runs("--", "sh", "-c", script) for _ in range(4)]
    assert [process.communicate(timeout=60)[0].split() for process in started] == [["1"]] * 4
