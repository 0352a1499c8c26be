"""Where options come from: flags over variables over a file over defaults; and what a file's change does at run time."""

import json
import os
import re
import shutil
import signal
import threading
from pathlib import Path

import psycopg
import pytest

import processes
from router import command, free_port, temporary_directory

README = Path(__file__).parents[2] / "README.md"

# A value that differs from the default, as the file has it and as a variable has it.
OTHERS = {
    "port": ("6000", "6000"), "host": ('"localhost"', "localhost"), "dir": ('"/srv/x"', "/srv/x"),
    "auto-provision": ("false", "off"), "max-instances": ("7", "7"), "max-connections": ("8", "8"), "spares": ("2", "2"),
    "max-clients": ("99", "99"), "queue-timeout": ('"7s"', "7s"), "idle-timeout": ("90", "90s"),
    "startup-timeout": ('"500ms"', "500ms"), "confine": ('"off"', "off"), "set": ('{ work_mem = "9MB" }', "work_mem=9MB"),
    "memory": ("true", "on"), "tenant-network": ("true", "on"),
    "reuse-backends": ("false", "off"), "socket-dir": ('"/run/x"', "/run/x"),
    "http": ('"localhost:9187"', "localhost:9187"),
    "postgres-bin": ('"/opt/x"', "/opt/x"), "run-as": ('"nobody"', "nobody"), "log-level": ('"debug"', "debug"),
    "io": ('"epoll"', "epoll"), "workers": ("2", "2"), "inspect": ("true", "on"), "inspect-values": ("true", "on"), "log-format": ('"json"', "json"), "allow-remote-without-authentication": ("true", "on"),
}


def options(*arguments, **more):
    result = command("config", "--json", *arguments, **more)
    assert result.returncode == 0, result.stderr
    return {option["name"]: option for option in json.loads(result.stdout)}


@pytest.fixture
def file():
    """A configuration file that whoever serves can read."""
    home = temporary_directory()
    yield home / "routerd.toml"
    shutil.rmtree(home)


# One table


def test_the_readme_has_the_table():
    """An option that nobody reads about does not exist."""
    rows = {}
    for line in README.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`--"):
            rows[cells[0].split("`")[1].split()[0]] = (cells[1].split("`")[1], cells[2].replace("`", ""))
    told = {option["flag"]: (option["variable"], option["default"]) for option in options().values()}
    assert rows == told


def test_the_help_has_the_table():
    text = re.sub(r"\s+", " ", command("serve", "--help").stdout)
    for option in options().values():
        assert option["flag"] in text
        assert f"{option['help']} (default: {option['default']})." in text, option["name"]


def test_every_option_from_the_file(file):
    """With the line, because a file may be long."""
    assert set(OTHERS) == set(options()) - {"config"}
    file.write_text("# a comment\n\n" + "".join(f"{name} = {value}\n" for name, (value, _) in OTHERS.items()))
    told = options("--config", file)
    assert told["config"]["origin"] == {"kind": "flag"} and told["config"]["value"] == str(file)
    for line, name in enumerate(OTHERS, start=3):
        option = told["set.work_mem" if name == "set" else name]
        assert option["origin"] == {"kind": "file", "file": str(file), "line": line}, name
        assert option["value"] != option["default"], name


def test_every_option_from_the_environment(file):
    """A variable beats the file."""
    file.write_text("".join(f"{name} = {value}\n" for name, (value, _) in OTHERS.items() if name != "set"))
    variables = {"ROUTERD_" + name.upper().replace("-", "_"): word for name, (_, word) in OTHERS.items()}
    told = options(environment=variables | {"ROUTERD_CONFIG": str(file)})
    for option in told.values():
        assert option["origin"] == {"kind": "environment"}, option
        assert option["value"] != option["default"]
        assert option["variable"] in variables or option["name"] == "config"


def test_a_flag_beats_everything(file):
    file.write_text("max-instances = 7\nmemory = true\n[set]\nwork_mem = '9MB'\nmaintenance_work_mem = '10MB'\n")
    told = options(
        "--config", file, "--max-instances", "9", "--no-memory", "--set", "work_mem=11MB",
        environment={"ROUTERD_MAX_INSTANCES": "8"})
    values = {name: (option["value"], option["origin"]["kind"]) for name, option in told.items()}
    assert values["max-instances"] == ("9", "flag")
    assert values["memory"] == ("off", "flag")
    assert values["set.work_mem"] == ("11MB", "flag")
    assert values["set.maintenance_work_mem"] == ("10MB", "file")


def test_config_for_people(file):
    file.write_text("idle-timeout = '10m'\n")
    text = command("config", "--config", file).stdout
    assert re.search(rf"^idle-timeout +10m +{file}:1 +at once$", text, re.M)
    assert re.search(r"^port +5432 +default +restart$", text, re.M)


# Mistakes


@pytest.mark.parametrize(
    "text, line, words",
    [("port = 1\nmax-instnaces = 3\n", 2, 'did you mean "max-instances"'), ("Max_Instances = 3", 1, '"max-instances"'),
     ("[server]\nport = 3\n", 1, '"server"'), ('port = "x"', 1, "port"), ("port = 65536", 1, "65536"),
     ("max-instances = 2.5", 1, "whole number"), ("auto-provision = 'on'", 1, "true or false"),
     ("\n\nqueue-timeout = 'soon'", 3, "30s"), ("log-level = 'loud'", 1, "debug"), ("port = = 1", 1, ""),
     ("set = 'x'", 1, "work_mem"), ("[set]\nwork_mem = [1]", 2, "work_mem"), ("port = 1\nport = 2", 2, "")],
    ids=lambda value: value if isinstance(value, str) else "")
def test_a_mistake_in_the_file(file, text, line, words):
    """A typing error in a key was ignored, and the default served for months."""
    file.write_text(text)
    result = command("serve", "--config", file, "--dir", "/nonexistent/never")
    assert result.returncode == 2, result.stderr
    assert f"{file}:{line}: " in result.stderr and words in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr


def test_a_file_that_is_not_there():
    result = command("serve", "--config", "/nonexistent/routerd.toml")
    assert result.returncode == 2 and "/nonexistent/routerd.toml" in result.stderr


# At run time


def reload(router, file, text, expected):
    """Sends SIGHUP and returns the lines that it brought, once the last of them is one with `expected`."""
    file.write_text(text)
    before = len(router.log)
    os.kill(router.pid, signal.SIGHUP)
    assert processes.eventually(lambda: expected in router.log[before:], 10), router.log[before:]
    return router.log[before:].splitlines()


def test_reload(routers, file):
    """What can change does, the rest is said."""
    file.write_text("max-connections = 2\n")
    router = routers.prepared("--config", file, "--idle-timeout", "1h").start()
    with router.connect("early") as early:
        lines = reload(
            router, file,
            "max-connections = 3\nauto-provision = false\nidle-timeout = '1s'\nmax-instances = 50\ntenant-network = true\n"
            "[set]\nwork_mem = '9MB'\n", "tenant-network")
        said = "\n".join(lines)
        assert "auto-provision: on → off" in said and "max-instances: 100 → 50" in said
        assert "idle-timeout" not in said, "the flag wins"
        assert re.search(r"warn tenant-network: off → on needs a restart", said)
        assert re.search(r"max-connections: 2 → 3, for instances that start from now on", said)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            router.value("new", "SELECT 1")
        assert early.execute("SHOW work_mem").fetchone() == ("4MB",), "it booted before"
        assert router.value("early", "SHOW max_connections") == "6"
    reload(router, file, "max-connections = 3\nset = { work_mem = '9MB' }\n", "auto-provision: off → on")
    assert router.value("later", "SHOW work_mem") == "9MB"
    assert router.value("later", "SHOW max_connections") == "7"


def test_a_broken_file_changes_nothing(routers, file):
    """One line says so, and the router serves on as before."""
    file.write_text("auto-provision = false\n")
    router = routers.prepared("--config", file).start()
    for text in ("auto-provision = true\nport = = 3", "auto-provision = true\nmax-instances = 0",
                 "auto-provision = true\nset = { no_such_setting = 1 }"):
        lines = reload(router, file, text, "stays as it is")
        assert len(lines) == 1 and " error " in lines[0]
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            router.value("new", "SELECT 1")
    assert "nothing has changed" in reload(router, file, "auto-provision = false\n", "nothing has changed")[0]


def test_the_log_level_at_run_time(routers, file):
    """Debugging a server must not need its restart."""
    file.write_text("")
    router = routers.prepared("--config", file).start()
    reload(router, file, "log-level = 'debug'", "log-level: info → debug")
    before = len(router.log)
    router.value("tenant", "SELECT 1")
    assert processes.eventually(lambda: " debug " in router.log[before:], 5), router.log


def test_reload_under_load(routers, file):
    """No session is dropped, and no statement fails, whatever is lowered and raised meanwhile."""
    file.write_text("max-instances = 4\n")
    router = routers.prepared("--config", file, "--spares", "1").start()
    stop, failures, done = threading.Event(), [], [0] * 4

    def work(number):
        try:
            with router.connect(f"tenant{number}") as kept:
                while not stop.is_set():
                    kept.execute("SELECT 1").fetchone()
                    router.value(f"tenant{number}", "SELECT 1")
                    done[number] += 1
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    assert processes.eventually(lambda: all(done) or failures, 20)
    for count in (1, 6, 2, 4):
        reload(router, file, f"max-instances = {count}\nmax-connections = {20 + count}\nset = {{ work_mem = '{count}MB' }}\n",
               "max-instances: ")
        before = list(done)
        assert processes.eventually(lambda: all(now > then for now, then in zip(done, before)) or failures, 20)
    stop.set()
    for worker in workers:
        worker.join()
    assert not failures, failures


def test_a_hangup_without_a_file_stops(routers):
    """As it always did: the terminal was closed."""
    router = routers()
    router.stop(signal.SIGHUP)


def test_the_directory_of_the_file_is_found_by_the_other_verbs(routers, file):
    router = routers.prepared()
    file.write_text(f'dir = "{router.directory}"\n')
    router.directory_option = False
    router.arguments += ["--config", file]
    router.start()
    result = command("stats", "--config", file)
    assert result.returncode == 0 and str(router.pid) in result.stdout, result.stderr


# Before it serves


def findings(*arguments, **more):
    result = command("check", "--json", *arguments, **more)
    return result.returncode, {finding["topic"]: finding for finding in json.loads(result.stdout)}


def test_check_where_all_is_well(routers):
    home = routers.prepared().home
    code, found = findings("--dir", home / "data", "--port", free_port(), "--max-instances", "10")
    problems = [finding for finding in found.values() if finding["verdict"] == "problem"]
    assert code == (1 if problems else 0)
    assert {"postgresql", "kernel", "confinement", "descriptors", "processes", "memory", "runtime directory"} <= set(found)
    assert not (home / "data").exists(), "it changes nothing"
    assert all("advice" in finding for finding in found.values() if finding["verdict"] == "warn"), found


@pytest.mark.parametrize(
    "arguments, topic",
    [(["--postgres-bin", "/nonexistent"], "postgresql"), (["--set", "no_such_setting=1"], "set"),
     (["--max-instances", "400000"], "descriptors"), (["--host", "0.0.0.0"], "address")],
    ids=lambda value: value if isinstance(value, str) else "")
def test_check_finds_what_would_stop_it(routers, arguments, topic):
    home = routers.prepared().home
    code, found = findings("--dir", home / "data", "--port", free_port(), *arguments)
    assert code == 1 and found[topic]["verdict"] == "problem", found
    assert "\n" not in found[topic]["what"]


def test_check_knows_tenants_of_another_version(routers):
    """They were refused one by one, on the first morning after the upgrade."""
    router = routers.prepared()
    (router.directory / "old").mkdir(parents=True)
    (router.directory / "old/PG_VERSION").write_text("9\n")
    for path in (router.directory, router.directory / "old"):
        os.chown(path, router.home.stat().st_uid, -1)
    code, found = findings("--dir", router.directory, "--port", free_port())
    assert code == 0 and found["versions"]["verdict"] == "warn" and "old" in found["versions"]["what"], found


def test_check_beside_a_server(routers):
    """Its port is taken by itself: that is no problem."""
    router = routers()
    code, found = findings("--dir", router.directory, "--port", router.port)
    assert code == 0 and str(router.pid) in found["address"]["what"], found
    text = command("check", "--dir", router.directory, "--port", router.port).stdout
    assert re.search(r"^ok +postgresql: PostgreSQL \d", text, re.M)
