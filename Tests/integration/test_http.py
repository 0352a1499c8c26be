"""Metrics and the status page by HTTP."""

import contextlib
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import psycopg
import pytest

import processes
from router import command, free_port, temporary_directory
from status import ask, bearer, metrics, place, tenant_path, told

ROUTER_ARGUMENTS = ("--http", "localhost:0")
DOCS = Path(__file__).parents[2] / "docs"
HOSTILE = ["<script>alert(1)</script>", 'a"} 1\nforged{b="\\', "../../etc/passwd", "%2e%2e%2f", "ünï\u2028\u202ecode", "a?b#c&d"]


def total(samples, **labels):
    return sum(value for pairs, value in samples.items() if set(labels.items()) <= set(pairs))


def later(router, enough):
    """The metrics as soon as they are so."""
    assert processes.eventually(lambda: enough(metrics(router)), within=5), metrics(router)
    return metrics(router)


def test_metrics_move(router, name):
    """What happens is counted: a session, what passed in it, a refusal, a tenant made, hibernated and woken."""
    before = metrics(router)
    with router.connect(name) as connection:
        connection.execute("SELECT 1")
        during = later(router, lambda now: total(now["routerd_sessions"]) == 1)
        assert during["routerd_tenant_sessions"][(("tenant", name),)] == 1
    with pytest.raises(psycopg.OperationalError):
        router.connect("x" * 64)
    assert told(router, tenant_path(name, "/hibernate"), "POST", **bearer(router)) == {"done": True}
    router.value(name, "SELECT 1")
    now = later(router, lambda now: total(now["routerd_sessions"]) == 0)

    def grown(family, **labels):
        return total(now.get(family, {}), **labels) - total(before.get(family, {}), **labels)

    assert grown("routerd_clients_total") >= 3
    assert grown("routerd_create_seconds_count") == 1 and grown("routerd_wake_seconds_count") == 1
    assert grown("routerd_backend_connect_seconds_count") == grown("routerd_waits_total", outcome="served") == 2
    assert 0 < grown("routerd_wake_seconds_sum") < 10
    assert grown("routerd_errors_total", sqlstate="22023") == 1
    assert grown("routerd_instance_stops_total", reason="asked") == 1
    assert now["process_open_fds"][()] > 5 and now["process_resident_memory_bytes"][()] > 1 << 20


def test_traffic_is_counted(router, name):
    with router.connect(name) as connection:
        before = metrics(router)
        connection.execute("SELECT repeat('x', 100000)")
        now = later(router, lambda now: total(now["routerd_queries_total"]) > total(before["routerd_queries_total"]))
        assert total(now["routerd_bytes_total"], **{"from": "backend"}) > 100_000
        assert total(now["routerd_transactions_total"]) > total(before["routerd_transactions_total"])
        (session,) = told(router, tenant_path(name))["sessions"]
        assert session["queries"] >= 1 and session["bytesFromBackend"] > 100_000 and session["user"] == "alice"


def test_a_reused_backend_is_counted(router, name):
    before = metrics(router)
    router.value(name, "SELECT 1")
    later(router, lambda now: now["routerd_backends_kept"][()] > 0)
    router.value(name, "SELECT 1")
    now = later(router, lambda now: total(now["routerd_waits_total"]) == total(before["routerd_waits_total"]) + 2)
    assert total(now["routerd_backends_reused_total"]) == total(before["routerd_backends_reused_total"]) + 1


def test_a_death_is_counted(router, name):
    router.value(name, "SELECT 1")
    os.kill(router.postmaster(name), signal.SIGKILL)
    later(router, lambda now: now["routerd_instance_deaths_total"][()] == 1)


def test_ten_scrapes_at_once_are_one(router):
    """Each is answered, and what they hear is at most a tenth of a second old."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(place(router), 5)) for _ in range(10)]
        for one in sockets:
            one.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        bodies = [b"".join(iter(lambda: one.recv(65536), b"")).split(b"\r\n\r\n", 1)[1] for one in sockets]
    assert all(body.endswith(b"\n") for body in bodies) and len(set(bodies)) <= 2


# Who may ask what


ROUTES = [
    ("GET", "/", False), ("GET", "/metrics", False), ("GET", "/healthz", False), ("GET", "/readyz", False),
    ("GET", "/api/stats", False), ("GET", "/api/history", False), ("GET", "/api/tenants", False),
    ("GET", "/api/tenants/guarded", False), ("GET", "/api/tenants/guarded/log", True),
    ("POST", "/api/tenants/guarded/hibernate", True), ("POST", "/api/tenants/guarded/wake", True),
]


@pytest.fixture(scope="module")
def guarded(router):
    router.value("guarded", "SELECT 1")
    return router


@pytest.mark.parametrize("method, path, needs_token", ROUTES)
def test_what_the_token_guards(guarded, method, path, needs_token):
    """What changes something, and the log, which holds statements; a wrong token is no token."""
    for wrong in (None, "Bearer ", "Bearer " + "0" * 64, "Basic " + bearer(guarded)["Authorization"][7:]):
        assert ask(guarded, path, method, Authorization=wrong)[0] == (401 if needs_token else 200), wrong
    assert ask(guarded, path, method, **bearer(guarded))[0] == 200
    other = "POST" if method == "GET" else "GET"
    assert ask(guarded, path, other, **bearer(guarded))[0] == 405


@pytest.mark.parametrize("method, path, needs_token", ROUTES)
def test_pages_of_other_sites_learn_nothing(guarded, method, path, needs_token):
    """A site can have its own name lead to 127.0.0.1, and then a browser takes this server for the site's: the field
    Host still has the site's name. The field Origin has it where a page of a site asks another one."""
    for fields in ({"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example:80"}, {"Origin": "http://evil.example"},
                   {"Origin": "null"}):
        status, head, body = ask(guarded, path, method, **fields, **bearer(guarded))
        assert status == 403 and "guarded" not in body and "Access-Control-Allow-Origin" not in head
    own = "localhost:{}".format(place(guarded)[1])
    assert ask(guarded, path, method, Host=own, Origin=f"http://{own}", **bearer(guarded))[0] == 200


def test_what_is_not_there(router):
    for path in ("/nothing", "/api", "/api/tenants/nobody", "/api/tenants/routerd", "/metrics/x", "/..%2f..%2fetc/passwd"):
        assert ask(router, path)[0] == 404, path
    assert ask(router, tenant_path("x" * 64))[0] == 404


def test_head_is_a_get_without_a_body(router):
    _, _, body = ask(router, "/")
    status, head, nothing = ask(router, "/", "HEAD")
    assert status == 200 and nothing == "" and int(head["Content-Length"]) == len(body.encode())


def test_the_page_lets_nothing_in(router):
    """Its own script and style are let in by a number that nobody can know before, and nothing else is."""
    numbers = set()
    for _ in range(2):
        _, head, body = ask(router, "/")
        (number,) = set(re.findall(r'nonce="([0-9a-f]+)"', body))
        policy = head["Content-Security-Policy"]
        assert f"script-src 'nonce-{number}'" in policy and "default-src 'none'" in policy
        numbers.add(number)
    assert len(numbers) == 2
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|innerHTML|insertAdjacent|document\.write""", body)


@pytest.mark.parametrize("tenant", HOSTILE)
def test_names_stay_names(router, tenant):
    """A tenant's name may hold anything: it is told as it is, and forges nothing."""
    with router.connect(tenant):
        assert tenant in {status["dbName"] for status in told(router, "/api/tenants")}
        assert told(router, tenant_path(tenant))["tenant"]["dbName"] == tenant
        now = later(router, lambda now: (("tenant", tenant),) in now["routerd_tenant_sessions"])
        assert now["routerd_tenant_sessions"][(("tenant", tenant),)] == 1
        assert "forged" not in now
        assert ask(router, tenant_path(tenant, "/log"), **bearer(router))[0] == 200


# Acting


def test_wake_and_hibernate(router, name):
    router.value(name, "SELECT 1")
    for act, state in (("hibernate", "cold"), ("wake", "ready")):
        assert told(router, tenant_path(name, f"/{act}"), "POST", **bearer(router)) == {"done": True}
        assert processes.eventually(lambda: told(router, tenant_path(name))["tenant"]["state"] == state, within=5)
        assert f"status page: {act}" in router.log
    described = told(router, tenant_path(name))
    assert described["tenant"]["memoryBytes"] > 1 << 20 and described["tenant"]["sizeBytes"] > 1 << 20
    told(router, tenant_path(name, "/hibernate"), "POST", **bearer(router))
    status, _, body = ask(router, tenant_path(name, "/hibernate"), "POST", **bearer(router))
    assert status == 409 and "no instance" in json.loads(body)["error"]
    (_, kind, woken, took) = told(router, "/api/history")["starts"][-1]
    assert (kind, woken) == ("wake", name) and took > 1


def test_wake_makes_nothing(router):
    """A slip of the keyboard became a database."""
    status, _, _ = ask(router, tenant_path("alcie", "/wake"), "POST", **bearer(router))
    assert status == 404 and "alcie" not in {known["dbName"] for known in told(router, "/api/tenants")}


def test_the_log_of_an_instance(router, name):
    with router.connect(name) as connection, pytest.raises(psycopg.Error):
        connection.execute("SELECT no_such_function()")
    lines = told(router, tenant_path(name, "/log"), **bearer(router))["lines"]
    assert any("no_such_function" in line for line in lines)


# Bounds


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost:"], ids=["nothing", "half"])
def test_whoever_falls_silent_makes_room(router, said):
    """More connections than there are places: the silent ones go, and the last one is served. Half a request kept its
    place for ten seconds."""
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(place(router), 5)).sendall(said)
            time.sleep(0.002)
        assert ask(router, "/healthz")[0] == 200


def test_whoever_goes_on_speaking_keeps_its_place(router):
    """The one that has been silent for longest goes, not the one that came first."""
    def crowd(count):
        for _ in range(count):
            stack.enter_context(socket.create_connection(place(router), 5)).sendall(b"GET /healthz")
            time.sleep(0.002)

    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(socket.create_connection(place(router), 5))
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        crowd(20)
        slow.sendall(b"Host: localhost\r\n")
        time.sleep(0.05)
        crowd(15)
        slow.sendall(b"\r\n")
        assert slow.recv(1024).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("head, status", [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000, 431),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n", 413),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
], ids=["head", "body", "chunks", "TLS", "HTTP2"])
def test_what_is_refused_is_told_and_ends(router, head, status):
    with socket.create_connection(place(router), 5) as client:
        client.sendall(head)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert ask(router, "/healthz")[0] == 200


def test_requests_one_behind_the_other(router):
    """Sent in one piece they are answered in their order, and the connection stays."""
    with socket.create_connection(place(router), 5) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2
                       + b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    assert re.findall(r"\r\n\r\n(\w+)\n", text) == ["alive", "alive", "serving"]


# Beginning and end


def test_only_on_loopback():
    for where in ("0.0.0.0:9187", "192.168.1.1:9187", "[::]:9187"):
        result = command("serve", "--http", where)
        assert result.returncode == 2 and "--http" in result.stderr, where


@pytest.mark.parametrize("where", ["9187", "localhost", "localhost:x", ":1"])
def test_a_place_that_is_none(where):
    result = command("serve", "--http", where)
    assert result.returncode == 2 and "127.0.0.1:9187" in result.stderr


def test_a_port_that_is_taken():
    directory = temporary_directory()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = command("serve", "--dir", directory / "data", "--port", str(free_port()), "--http",
                         "127.0.0.1:{}".format(other.getsockname()[1]))
    assert result.returncode == 1 and "in use" in result.stderr and "--http" in result.stderr
    directory.rmdir()


def test_both_loopback_addresses(router):
    """`localhost` means both."""
    with socket.create_connection(("::1", place(router)[1]), 5) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_router_that_stops_is_alive_and_not_ready(routers):
    """A load balancer is told to send nobody, while the last instance takes its time."""
    router = routers(*ROUTER_ARGUMENTS)
    router.value("slow", "SELECT 1")
    assert ask(router, "/readyz")[::2] == (200, "serving\n")
    postmaster = router.postmaster("slow")
    os.kill(postmaster, signal.SIGSTOP)
    try:
        router.process.send_signal(signal.SIGTERM)
        assert processes.eventually(lambda: ask(router, "/readyz")[::2] == (503, "stopping\n"), within=5)
        assert ask(router, "/healthz")[0] == 200
        assert metrics(router)["routerd_serving"][()] == 0
    finally:
        os.kill(postmaster, signal.SIGCONT)
    router.expect_exit(0)


# What the documents say


def test_the_dashboard_shows_what_there_is(router):
    """Every series that the dashboard or the page about monitoring names exists."""
    router.value("dashboard", "SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        router.connect("x" * 64)
    with router.connect("dashboard"):
        there = set(later(router, lambda now: total(now["routerd_sessions"]) == 1))
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert expressions
    names = {name for text in expressions for name in re.findall(r"\b(?:routerd|process)_[a-z_]+\b", text)}
    assert names <= there, names - there
    described = set(re.findall(r"^\| `((?:routerd|process)_[a-z_]+)", (DOCS / "monitoring.md").read_text(), re.M))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in there}
    assert described == families, described ^ families
