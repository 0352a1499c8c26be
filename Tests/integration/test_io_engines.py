"""Both engines move the same bytes: what is about bytes is told again on the one that `auto` does not take, and how a
refusal is said.

The whole suite runs on one engine with ROUTERD_TEST_IO=io_uring (or epoll)."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from router import BINARY, clean_environment, free_port
from test_cancel import test_ctrl_c_in_psql, test_wrong_keys_cancel_nothing_and_get_no_answer
from test_command_line import FAILED, home, one_clear_line
from test_concurrency import test_twenty_sessions_of_one_tenant_write_concurrently
from test_half_open import test_connections_that_only_open_and_close
from test_large_values import test_64_mb_both_ways_at_once, test_a_client_that_leaves_in_the_middle_of_a_result
from test_notify import test_an_idle_listener_is_told_at_once
from test_survival import test_a_killed_postmaster_recovers_on_the_next_connect

WITHOUT_IO_URING = Path(__file__).parent / "without_io_uring.py"
ROUTER_ARGUMENTS = ("--io", "epoll")


def io_uring_is_refused():
    """The program says itself why, in a directory that is gone before it gets that far."""
    result = subprocess.run(
        [BINARY, "serve", "--io", "io_uring", "--dir", "/proc/nowhere", "--port", str(free_port())],
        env=clean_environment(), capture_output=True, text=True, timeout=20)
    return result.stderr.strip() if "io_uring is not available" in result.stderr else None


@pytest.fixture(autouse=True, scope="module")
def where_the_kernel_has_it():
    if reason := io_uring_is_refused():
        pytest.skip(reason)


def test_the_engine_is_said(router):
    """Nobody could tell from outside which one a figure was measured on."""
    assert router.log.count("bytes are moved by epoll") == 1


def test_auto_takes_what_measures_better(routers):
    router = routers("--io", "auto")
    assert router.value("tenant", "SELECT 1") == 1
    assert router.log.count("bytes are moved by io_uring") == 1


def test_a_refusing_kernel_does_not_matter_to_auto(routers, home, monkeypatch):
    """Docker's default profile forbids io_uring: a router that was not told to need it serves all the same."""
    program = home / "routerd"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{WITHOUT_IO_URING}" {errno.EPERM} "{BINARY}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr("router.BINARY", program)
    router = routers("--io", "auto")
    assert router.value("tenant", "SELECT 1") == 1
    assert "bytes are moved by epoll" in router.log


@pytest.mark.parametrize("engine, code, verdict", [("auto", 0, "ok"), ("io_uring", 1, "problem"), ("epoll", 0, "ok")])
def test_check_says_the_same(home, engine, code, verdict):
    """It read a sysctl and called io_uring allowed, where the limit of locked memory was too low for it."""
    result = subprocess.run(
        [sys.executable, WITHOUT_IO_URING, str(errno.ENOMEM), BINARY, "check", "--json", "--io", engine,
         "--dir", home / "data", "--port", str(free_port()), "--max-instances", "10"],
        env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    [found] = [finding for finding in json.loads(result.stdout) if finding["topic"] == "io_uring"]
    assert (found["verdict"], result.returncode) == (verdict, code), result
    assert ("LimitMEMLOCK=" in found["what"]) == (engine != "epoll"), "a ring that nobody wants is not tried"


@pytest.mark.parametrize("number, words", [(errno.EPERM, "seccomp"), (errno.ENOSYS, "kernel has none")])
def test_a_refusal_is_said_in_words(home, number, words):
    """"Operation not permitted" sends people to the permissions of their files."""
    result = subprocess.run(
        [sys.executable, WITHOUT_IO_URING, str(number), BINARY, "serve", "--io", "io_uring", "--dir", home / "data",
         "--port", str(free_port())],
        env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    one_clear_line(result, FAILED, "io_uring is not available", words)
    assert not (home / "data").exists()
