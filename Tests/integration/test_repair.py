"""`routerd repair NAME`: a setting that no boot survives cannot be undone over SQL."""

import itertools
import os
import re
import shlex
import signal
import subprocess
import threading

import pytest

import processes
from router import BINARY, clean_environment, command
from terminal import Terminal

TOO_LARGE = "4TB"  # of shared memory, which no machine has


@pytest.fixture
def tenant(router, name):
    """A tenant with a table, and what stops it: `tenant("ALTER …", "ALTER …")`."""
    def broken(*statements):
        with router.connect(name) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            connection.execute("ALTER SYSTEM SET work_mem = '3MB'")
            for statement in statements:
                connection.execute(statement)
        stop(router, name)
        return router.directory / name
    return broken


def stop(router, name):
    postmaster = router.postmaster(name)
    os.kill(postmaster, signal.SIGINT)
    assert processes.eventually(lambda: not processes.in_directory(router.directory / name), 10)


def repair(router, name, *arguments):
    return command("repair", name, "--dir", router.directory, *arguments, timeout=60)


def refusal(router, name):
    with router.wire() as connection:
        return connection.startup("alice", name).errors[0]


def comes_back(router, name):
    """A tenant that kept failing is tried again a little later."""
    def answer():
        with router.wire() as connection:
            if not connection.startup("alice", name).errors:
                return connection.query("SELECT answer FROM kept").value
    return processes.eventually(answer, within=16, interval=0.05) == "42"


def append(path, line):
    with open(path, "a") as file:
        file.write(line + "\n")


def untouched(directory):
    """No variant, no second name of an original."""
    return not [entry.name for entry in directory.iterdir() if "repair" in entry.name or entry.name.endswith(".new")]


# What stands in postgresql.auto.conf as ALTER SYSTEM writes it, and what PostgreSQL says of it. ALTER SYSTEM refuses the
# first two, but an upgrade, or a library that is gone, leaves the like behind.
FILES = ("postgresql.auto.conf", "postgresql.conf")
CULPRITS = {
    "unknown parameter": ("no_such_setting = 'on'", "no_such_setting", "unrecognized configuration parameter"),
    "invalid value": ("max_connections = 'many'", "max_connections", 'invalid value for parameter "max_connections"'),
    "no syntax": ("work_mem == 3MB", "work_mem", "syntax error"),
    "missing library": (
        "shared_preload_libraries = 'nonsense'", "shared_preload_libraries", 'could not access file "nonsense"'),
    "too much memory": (f"shared_buffers = '{TOO_LARGE}'", "shared_buffers", "could not map anonymous shared memory"),
}


@pytest.mark.parametrize("culprit, file", [*zip(CULPRITS, itertools.cycle(FILES)), ("missing library", FILES[0])])
def test_the_line_that_stops_a_boot(router, name, tenant, culprit, file):
    """The only way out was to find the file and to guess the line."""
    line, setting, message = CULPRITS[culprit]
    directory = tenant()
    append(directory / file, line)
    append(directory / file, "maintenance_work_mem = '5MB'  # innocent")
    before = (directory / file).read_text()
    number = before.splitlines().index(line) + 1

    error = refusal(router, name)
    assert (error.severity, error.sqlstate) == ("FATAL", "57P03")
    [hint] = re.findall(r"routerd (repair .*)", error.hint)
    shown = command(*shlex.split(hint), timeout=60)
    assert shown.returncode == 1, shown
    for part in (f"{directory}/{file}, line {number}", line, setting, message):
        assert part in shown.stdout, shown.stdout
    assert "innocent" not in shown.stdout and "--yes" in shown.stderr
    assert (directory / file).read_text() == before and untouched(directory)

    repaired = repair(router, name, "--yes")
    assert repaired.returncode == 0, repaired
    kept = before.splitlines()
    comment = (directory / file).read_text().splitlines()
    assert comment.pop(number - 1).startswith("#") and kept.pop(number - 1) == line
    assert comment == kept and untouched(directory)
    assert comes_back(router, name)
    assert router.value(name, "SHOW work_mem") == "3MB"
    assert router.value(name, "SHOW maintenance_work_mem") == "5MB"


def test_several_lines_to_blame(router, name, tenant):
    """One mistake hides the next: PostgreSQL names those that it reads, and only then meets those that it does not
    survive."""
    directory = tenant(
        "ALTER SYSTEM SET shared_preload_libraries = 'nonsense'", f"ALTER SYSTEM SET shared_buffers = '{TOO_LARGE}'")
    append(directory / "postgresql.auto.conf", "no_such_setting = 'on'")
    # Overridden, so that it stops nothing before the other one is gone, but then.
    append(directory / "postgresql.conf", "shared_preload_libraries = 'nonsense too'")
    result = repair(router, name, "--yes")
    assert result.returncode == 0, result
    for word in ("no_such_setting", "'nonsense'", "'nonsense too'", TOO_LARGE):
        assert word in result.stdout, result.stdout
    assert "work_mem = " not in result.stdout
    assert comes_back(router, name)


def test_nothing_to_repair(router, name, tenant):
    """Asked for the wrong tenant, or once too often."""
    directory = tenant()
    before = {entry.name: entry.read_bytes() for entry in directory.glob("postgresql*.conf")}
    result = repair(router, name, "--yes")
    assert result.returncode == 0 and "nothing to repair" in result.stdout, result
    assert {entry.name: entry.read_bytes() for entry in directory.glob("postgresql*.conf")} == before
    assert comes_back(router, name)


def test_no_line_to_blame(router, name, tenant):
    """A damaged cluster is not made better by removing its settings."""
    directory = tenant()
    control = directory / "global" / "pg_control"
    content = control.read_bytes()
    control.write_bytes(b"\0" * len(content))
    before = (directory / "postgresql.auto.conf").read_bytes()
    result = repair(router, name, "--yes")
    assert result.returncode == 1, result
    assert "no line" in result.stderr and "incompatible with server" in result.stdout, result
    assert (directory / "postgresql.auto.conf").read_bytes() == before and untouched(directory)
    control.write_bytes(content)
    assert comes_back(router, name)


def test_a_tenant_that_runs(router, name):
    """Booting it a second time would be the damage."""
    with router.connect(name) as connection:
        result = repair(router, name, "--yes")
        assert result.returncode == 1 and "runs" in result.stderr, result
        assert str(router.postmaster(name)) in result.stderr
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_who_does_not_exist(router, tmp_path):
    """Nothing is made by asking."""
    router.value("postgres", "SELECT 1")
    before = router.tenants()
    result = repair(router, "nobody")
    assert result.returncode == 1 and 'database "nobody" does not exist' in result.stderr, result
    assert router.tenants() == before
    result = repair(router, "x" * 64)
    assert result.returncode == 2 and "63" in result.stderr, result
    result = command("repair", "nobody", "--dir", tmp_path / "nowhere")
    assert result.returncode == 1 and str(tmp_path / "nowhere") in result.stderr, result
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "line, code, words", [("", 1, 'database "nobody" does not exist'), ('confine = "loosely"', 2, "routerd.toml:2: confine"),
                          ('postgres-bin = "/nowhere/bin"', 1, "/nowhere/bin")],
    ids=["dir", "confine", "postgres-bin"])
def test_what_its_servers_file_says(router, tmp_path, line, code, words):
    """Where the file alone names the directory, it looked in ./data, or did not know the option."""
    file = tmp_path / "routerd.toml"
    file.write_text(f'dir = "{router.directory}"\n{line}\n')
    result = command("repair", "nobody", "--config", file)
    assert result.returncode == code and words in result.stderr, result
    assert command("repair", "nobody", environment={"ROUTERD_CONFIG": str(file)}).stderr == result.stderr


def test_without_a_server(routers):
    """The server does not start either, where it is the only tenant's fault; or it is on another machine."""
    router = routers()
    with router.connect("tenant") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    router.stop()
    append(router.directory / "tenant" / "postgresql.auto.conf", "shared_preload_libraries = 'nonsense'")
    assert repair(router, "tenant", "--yes").returncode == 0
    router.restart()
    assert router.value("tenant", "SELECT answer FROM kept") == 42
    assert not [line for line in router.log.splitlines() if " error " in line]


def on_a_terminal(router, name, answer):
    """What it says and the exit code, when somebody is there to type."""
    with Terminal() as terminal:
        process = terminal.start(
            [str(BINARY), "repair", name, "--dir", str(router.directory)], env=clean_environment(), cwd="/")
        said = terminal.read_until(b"Type the database's name")
        terminal.type(answer)
        return said.decode(), process.wait(20)


def test_somebody_is_asked(router, name, tenant):
    """A slip of the finger removes nothing."""
    directory = tenant("ALTER SYSTEM SET shared_preload_libraries = 'nonsense'")
    file = directory / "postgresql.auto.conf"
    before = file.read_text()
    for answer in (b"\n", b"yes\n", b"\x04"):
        said, code = on_a_terminal(router, name, answer)
        assert "nonsense" in said and code == 1
        assert file.read_text() == before
    _, code = on_a_terminal(router, name, name.encode() + b"\n")
    assert code == 0
    assert comes_back(router, name)


def test_clients_that_come_meanwhile(router, name, tenant):
    """A server that boots what is being repaired meets half a configuration; a repair that meets the server's boot
    blames the wrong line."""
    directory = tenant(f"ALTER SYSTEM SET shared_buffers = '{TOO_LARGE}'")
    over, answers = threading.Event(), []

    def connect():
        while not over.is_set():
            answers.append(refusal(router, name))

    clients = [threading.Thread(target=connect) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for _ in range(3):
            result = repair(router, name)
            assert result.returncode == 1, result
            assert re.findall(r", line \d+\n  (.*)", result.stdout) == [f"shared_buffers = '{TOO_LARGE}'"], result.stdout
    finally:
        over.set()
        for client in clients:
            client.join()
    assert {answer.sqlstate for answer in answers} <= {"57P03", "55006"}, {str(answer) for answer in answers}
    assert untouched(directory)
    assert repair(router, name, "--yes").returncode == 0
    assert comes_back(router, name)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_a_repair_that_is_interrupted(router, name, tenant, signal_number):
    """Half-way through, the tenant's files stood there without the lines that were being tried."""
    directory = tenant(f"ALTER SYSTEM SET shared_buffers = '{TOO_LARGE}'")
    file = directory / "postgresql.auto.conf"
    before = file.read_text()
    for line in range(40):
        append(directory / "postgresql.conf", f"custom.setting_{line} = 'x'")
    process = subprocess.Popen(
        [BINARY, "repair", name, "--dir", router.directory], env=clean_environment(), cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert processes.eventually(lambda: file.read_text() != before, 10, interval=0.001)
    process.send_signal(signal_number)
    process.communicate(timeout=20)
    assert process.returncode in (1, -signal_number)
    assert processes.eventually(lambda: not processes.in_directory(directory), 10)
    if signal_number == signal.SIGINT:
        assert file.read_text() == before and untouched(directory)
    else:
        # The next to come puts it back: the server for a client, or the next repair.
        assert refusal(router, name).sqlstate in ("57P03", "55006")
        assert file.read_text() == before and untouched(directory)
    assert repair(router, name, "--yes").returncode == 0
    assert comes_back(router, name)
