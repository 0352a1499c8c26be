"""The library as a program of its own uses it: Examples/Agents, compiled with the tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import processes
from router import IS_ROOT, RUN_AS, clean_environment, temporary_directory

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def home():
    path = temporary_directory()
    yield path
    shutil.rmtree(path)


def run(program, home):
    """As an ordinary user, who need not be able to enter the directory that the program was built in."""
    own = Path("/tmp") / f"{home.name}-agents"
    shutil.copy(program, own)
    try:
        return subprocess.run(
            [own, home / "data"], user=RUN_AS if IS_ROOT else None, extra_groups=[] if IS_ROOT else None, cwd="/",
            env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    finally:
        own.unlink()


def check(result, home):
    """Five agents take turns on three instances; a second server takes the directory when the first has left it."""
    assert result.returncode == 0 and result.stderr == "", result
    lines = result.stdout.splitlines()
    thoughts = {
        f"{name} thought {count} times, which makes {sum(n * n for n in range(count + 1))}"
        for name, count in (("ada", 2), ("grace", 3), ("barbara", 4), ("frances", 5), ("jean", 6))
    }
    assert thoughts <= set(lines), lines
    assert any(line.startswith("ada is told: ") and line.endswith("(42P01)") for line in lines), lines
    assert "databases: ada barbara frances grace jean" in lines
    assert lines[-5:] == ["0 of 100 instances run", *(f"{name} is cold" for name in ("ada", "barbara", "frances", "grace"))]
    assert not processes.in_directory(home), processes.describe(processes.in_directory(home))


def test_the_example_runs(home):
    check(run(REPOSITORY / ".build/debug/AgentsExample", home), home)
    # The agents remember.
    check(run(REPOSITORY / ".build/debug/AgentsExample", home), home)


@pytest.mark.soak
@pytest.mark.skipif("ROUTERD_SOAK" not in os.environ, reason="builds everything once more, for minutes: `make soak`")
def test_the_example_is_a_package(home):
    """The package's own manifest: the product that it names, and no setting that only this repository has."""
    scratch = home / "build"
    subprocess.run(
        ["swift", "build", "--package-path", REPOSITORY / "Examples/Agents", "--scratch-path", scratch], check=True,
        timeout=1200)
    check(run(scratch / "debug/Agents", home), home)
