"""`--memory`: a server for a test run, of which nothing stays."""

import re
import subprocess
from pathlib import Path

import psycopg

import processes
from router import command


def place(router):
    return Path(re.search(r"(/\S*routerd-memory-\w+)", router.log)[1])


def memory_router(routers):
    router = routers.prepared("--memory")
    router.directory_option = False
    return router.start()


def test_a_server_in_memory_leaves_nothing(routers):
    router = memory_router(routers)
    directory = place(router)
    assert "gone when this program ends" in router.log, "it is said aloud"
    stat = ["stat", "--file-system", "--format=%T", directory]
    kind = subprocess.run(stat, stdout=subprocess.PIPE, text=True, check=True)
    assert kind.stdout == "tmpfs\n", f"{directory} is not in memory"
    with router.connect("alice") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1")
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
        assert connection.execute("SHOW full_page_writes").fetchone() == ("off",)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    assert (directory / "alice/PG_VERSION").exists()
    router.stop()
    assert not directory.exists()


def test_what_a_killed_one_left_is_removed_by_the_next(routers):
    """Memory that nobody gives back is worse than a full disk."""
    first = memory_router(routers)
    first.value("alice", "SELECT 1")
    left = place(first)
    first.kill()
    assert left.exists()
    assert processes.eventually(lambda: not processes.in_directory(left), within=8)
    second = memory_router(routers)
    assert not left.exists()
    third = memory_router(routers)
    assert place(second).exists() and place(third) != place(second), "one that lives is left alone"
    assert second.value("alice", "SELECT 1") == 1


def test_memory_and_a_directory_contradict_each_other():
    result = command("serve", "--memory", "--dir", "/nonexistent/data")
    assert result.returncode == 2
    assert "--memory" in result.stderr and "--dir" in result.stderr
