"""The verbs that steer a running routerd from another process: stats, list, stop, drop."""

import json
import os
import pwd
import re
import signal
import shutil
import subprocess
import threading
import time
from pathlib import Path

import jsonschema
import pytest

import processes
import wire
from router import BINARY, IS_ROOT, clean_environment, command, temporary_directory
from terminal import Terminal

ROUTER_ARGUMENTS = ("--max-connections", "1", "--max-instances", "7")
DONE, FAILED, USAGE, NOT_RUNNING = 0, 1, 2, 3
VERBS = {"stats": "router-stats", "list": "list-databases", "stop": "stop-router"}


def steer(router, verb, *arguments, **options):
    return command(verb, "--dir", router.directory, *arguments, **options)


def parsed(router, verb):
    result = steer(router, verb, "--json")
    assert result.returncode == DONE, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def empty():
    path = temporary_directory()
    yield path
    shutil.rmtree(path)


def test_stats_in_json(router):
    """Scripts of the predecessor read port, activeConnections, pool, dbName, locked and queueLength."""
    with router.connect("alice"):
        with router.wire() as waiting:
            waiting.send(wire.startup_packet("bob", "alice"))
            stats = processes.eventually(
                lambda: (now := parsed(router, "stats"))["waitingClients"] == 1 and now, within=5)
            assert stats["port"] == router.port and stats["activeConnections"] == 2
            assert (stats["pool"]["totalInstances"], stats["pool"]["maxInstances"]) == (1, 7)
            assert stats["pool"]["spares"] >= 0
            (instance,) = stats["pool"]["instances"]
            assert (instance["dbName"], instance["locked"], instance["queueLength"]) == ("alice", True, 1)
            assert (instance["state"], instance["sessions"]) == ("ready", 1)
            assert instance["processID"] == router.postmaster("alice")
            assert abs(instance["since"] - time.time()) < 60
            assert stats["processID"] == router.pid and stats["baseDirectory"] == str(router.directory)


def schema(name):
    return json.loads((Path(__file__).parents[2] / "docs/schema" / f"{name}.json").read_text())


@pytest.mark.parametrize("verb", ["stats", "list"])
def test_json_keeps_to_its_schema(router, verb):
    """What programs read is written down, and nothing else is printed."""
    router.value("described", "SELECT 1")
    for arguments in ([], ["--sizes"]) if verb == "list" else ([],):
        answer = json.loads(steer(router, verb, "--json", *arguments).stdout)
        jsonschema.validate(answer, schema(verb))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate([{}] if verb == "list" else {}, schema(verb))


def test_sizes(router):
    """A tenant that fills the disk is found by the one column that says so."""
    with router.connect("heavy") as connection:
        connection.execute("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    sizes = {one["dbName"]: one["sizeBytes"] for one in json.loads(steer(router, "list", "--sizes", "--json").stdout)}
    measured = int(subprocess.run(
        ["du", "-s", "--block-size=1", router.directory / "heavy"], capture_output=True, text=True, check=True).stdout.split()[0])
    assert abs(sizes["heavy"] - measured) < 4 << 20
    assert sizes["heavy"] > 20_000_000
    assert "SIZE" in steer(router, "list", "--sizes").stdout and "SIZE" not in steer(router, "list").stdout


def test_tables_for_people(router):
    """Columns that stand under each other, and nothing in a name that a terminal would obey."""
    router.value("alice", "SELECT 1")
    router.value("\x1b[31mred", "SELECT 1")
    lines = steer(router, "list").stdout.splitlines()
    assert re.match(r"DATABASE +STATE +SESSIONS +QUEUE +PID +FOR$", lines[0])
    assert len({line.index("ready") for line in lines[1:]}) == 1 and len(lines) > 2
    assert "\x1b" not in "".join(lines) and any("[31mred" in line for line in lines)
    stats = steer(router, "stats").stdout
    assert f"127.0.0.1:{router.port}" in stats and re.search(r"instances  \d of 7", stats) and "alice" in stats


@pytest.mark.parametrize("verb", [*VERBS, *VERBS.values()])
def test_no_server(empty, verb):
    """An exit code of its own, because scripts start one then; the directory need not even exist."""
    for directory in (empty, empty / "absent"):
        result = command(verb, "--dir", directory)
        assert result.returncode == NOT_RUNNING, (result.returncode, result.stderr)
        assert str(directory) in result.stderr and "routerd serve --dir" in result.stderr
        assert result.stdout == "" and len(result.stderr.splitlines()) == 1
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["stats", "--nonsense"], ["list", "superfluous"], ["drop"], ["stats", "--watch", "soon"],
                  ["drop", "alice"]], ids=" ".join)
def test_wrong_usage(empty, arguments):
    """Nothing is done by halves, and the help that is named is the verb's own."""
    result = command(*arguments, "--dir", empty)
    assert result.returncode == USAGE, (result.returncode, result.stderr)
    assert f"routerd {arguments[0]} --help" in result.stderr or "--yes" in result.stderr


@pytest.mark.parametrize("verb", ["stats", "list", "stop", "drop", *VERBS.values()])
def test_help_teaches_by_example(verb):
    result = command(verb, "--help")
    assert result.returncode == DONE
    assert re.search(r"\$ routerd \w+", result.stdout) and "--dir" in result.stdout


def test_the_directory_from_the_environment(router):
    """As for serve."""
    result = command("stats", "--json", environment={"ROUTERD_DIR": str(router.directory)})
    assert json.loads(result.stdout)["port"] == router.port


def test_the_aliases_of_the_predecessor(router):
    """Its scripts go on working."""
    assert "port" in parsed(router, "router-stats")
    assert isinstance(parsed(router, "list-databases"), list)


def test_stop_waits_until_it_is_gone(routers):
    """A script that starts another server next found the directory in use."""
    router = routers()
    assert "no tenants yet" in steer(router, "list").stdout
    assert parsed(router, "list") == []
    with router.connect("alice") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        assert steer(router, "stop").returncode == DONE
        router.expect_exit(0, within=1)
        router.expect_no_process()
    assert steer(router, "stop-router").returncode == NOT_RUNNING
    router.restart()
    assert router.value("alice", "SELECT n FROM kept") == 1
    assert steer(router, "stop-router").returncode == DONE
    router.expect_exit(0, within=1)


def test_a_second_stop_hurries(routers):
    """An instance that does not stop held the first one up."""
    router = routers()
    router.value("stuck", "SELECT 1")
    postmaster = router.postmaster("stuck")
    family = [postmaster, *processes.descendants(postmaster)]
    os.kill(postmaster, signal.SIGSTOP)
    results = []
    first = threading.Thread(target=lambda: results.append(steer(router, "stop", timeout=60).returncode))
    first.start()
    assert processes.eventually(lambda: "stopping" in router.log, within=5)
    assert parsed(router, "stats")["state"] == "stopping"
    began = time.monotonic()
    assert steer(router, "stop", timeout=60).returncode == DONE
    first.join()
    assert results == [DONE] and time.monotonic() - began < 15
    assert "stopping in a hurry" in router.log
    router.expect_exit(0, within=2)
    router.expect_no_process(family, within=2)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_another_user_is_told_whom_to_be(router):
    """"Permission denied" says nothing about what to do."""
    result = subprocess.run(
        [BINARY, "stats", "--dir", router.directory], user="nobody", env=clean_environment(), cwd="/",
        capture_output=True, text=True, check=False)
    owner = pwd.getpwuid(router.directory.stat().st_uid).pw_name
    assert result.returncode == FAILED and f'"{owner}"' in result.stderr, result.stderr


def test_watch(routers):
    """One line of JSON each time, until it is interrupted or the server is gone."""
    router = routers()
    watching = subprocess.Popen(
        [BINARY, "stats", "--json", "--watch", "100ms", "--dir", router.directory], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=clean_environment(), cwd="/")
    try:
        for _ in range(3):
            assert json.loads(watching.stdout.readline())["port"] == router.port
        router.process.terminate()
        router.expect_exit(0)
        assert watching.wait(10) == NOT_RUNNING
    finally:
        watching.kill()
        watching.communicate()


def test_watch_on_a_terminal(router):
    """It draws over what it drew, and Ctrl-C ends it."""
    with Terminal() as terminal:
        process = terminal.start(
            [str(BINARY), "list", "--watch", "--dir", str(router.directory)], env=clean_environment(), cwd="/")
        terminal.read_until(b"\x1b[J")
        router.value("seen_later", "SELECT 1")
        terminal.read_until(b"seen_later")
        terminal.type(b"\x03")
        assert process.wait(10) == -signal.SIGINT


def test_drop_asks(router):
    """A name typed in passing deleted a database."""
    router.value("alice", "SELECT 1")
    with Terminal() as terminal:
        process = terminal.start(
            [str(BINARY), "drop", "alice", "--dir", str(router.directory)], env=clean_environment(), cwd="/")
        terminal.read_until(b"Type its name")
        terminal.type(b"yes\n")
        assert process.wait(10) == FAILED
    assert "alice" in router.tenants()


def test_drop(router):
    """Stopped, removed, and the next connect finds a new one."""
    with router.connect("dropped") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    result = steer(router, "drop", "dropped", "--yes")
    assert (result.returncode, result.stdout) == (DONE, "dropped dropped\n")
    assert "dropped" not in router.tenants()
    again = steer(router, "drop", "dropped", "--yes")
    assert again.returncode == FAILED and "no database" in again.stderr
    assert router.value("dropped", "SELECT to_regclass('kept') IS NULL"), "the next client finds what was dropped"


def test_drop_without_a_server(routers):
    """The one tenant goes, and what its links lead to stays: a link into another one emptied that one too."""
    router = routers()
    for name in ("dropped", "kept"):
        with router.connect(name) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    router.stop()
    outside = router.home / "outside"
    outside.mkdir()
    (outside / "file").write_text("content")
    own, neighbour = router.directory / "dropped", router.directory / "kept"
    for target in (outside, outside / "file", neighbour, neighbour / "PG_VERSION"):
        for directory in (own, own / "base"):
            (directory / f"link to {target.name}").symlink_to(target)
    before = contents(neighbour)
    result = steer(router, "drop", "dropped", "--yes")
    assert (result.returncode, result.stdout) == (DONE, "dropped dropped\n"), result.stderr
    assert not own.exists() and os.listdir(router.directory / ".routerd/trash") == []
    assert contents(neighbour) == before and (outside / "file").read_text() == "content"
    again = steer(router, "drop", "dropped", "--yes")
    assert again.returncode == FAILED and "no database" in again.stderr
    router.start()
    assert router.value("kept", "SELECT answer FROM kept") == 42
    assert router.value("dropped", "SELECT to_regclass('kept') IS NULL")


def contents(directory):
    """Of every file."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_completion_scripts():
    """Every shell's, with the verbs in it."""
    for shell in ("bash", "zsh", "fish"):
        script = command("--generate-completion-script", shell).stdout
        assert all(verb in script for verb in ("stats", "list", "stop", "drop")), shell
