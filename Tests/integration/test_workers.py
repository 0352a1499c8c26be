"""Sessions on several threads: what one of them does must hold for those of the others."""

import contextlib
import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

import processes
from console import control

CLIENTS = 64
# More connections than clients: what refuses here is the limit of clients.
ROUTER_ARGUMENTS = ("--workers", "2", "--max-clients", str(CLIENTS), "--max-connections", str(CLIENTS + 8))


def polled(pid):
    """How many descriptors each epoll instance of a process watches, the busiest last."""
    counts = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if "eventpoll" in os.readlink(f"/proc/{pid}/fd/{number}"):
                counts.append(Path(f"/proc/{pid}/fdinfo/{number}").read_text().count("tfd:"))
    return sorted(counts)


def clients(router, tenant):
    """Numbers of the tenant's clients."""
    with control(router) as console, console.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return [row["id"] for row in cursor.execute("SHOW CLIENTS").fetchall() if row["database"] == tenant]


def sessions(router, tenant, count, held):
    """So many sessions one after the other, which the workers get in turn."""
    return [held.enter_context(router.connect(tenant)) for _ in range(count)]


def gone(router):
    """Whether no client is left but whoever asks."""
    with control(router) as console:
        return dict(console.execute("SHOW LISTS").fetchall())["used_clients"] == 1


def test_the_limit_of_clients_is_exact_and_both_workers_serve(router, name):
    """Two threads that count each for themselves let one client too many in, or one too few."""
    router.value(name, "SELECT 1")
    for _ in range(2):
        assert processes.eventually(lambda: gone(router), 10)
        with contextlib.ExitStack() as held:
            crowd = [held.enter_context(router.wire()) for _ in range(CLIENTS + 16)]
            with ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(lambda client: client.startup("alice", name), crowd))
            refused = [answer.errors[0].sqlstate for answer in answers if answer.errors]
            assert refused == ["53300"] * 16
            assert len(clients(router, name)) >= CLIENTS
            busiest = polled(router.pid)
            if len(busiest) > 1:  # there is none with io_uring
                # A frontend and a backend for each session.
                assert busiest[-2] >= CLIENTS - 16, busiest


def test_a_cancel_request_comes_to_another_worker_than_its_session(router, name):
    """A cancel request is a connection of its own, and goes where the fewest sessions are."""
    with contextlib.ExitStack() as held:
        observer, *four = sessions(router, name, 5, held)
        for connection in four:
            asking = threading.Thread(target=_cancel_asleep, args=(connection, observer))
            asking.start()
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("SELECT pg_sleep(20)")
            asking.join()
            assert connection.execute("SELECT 1").fetchone() == (1,)


def _cancel_asleep(connection, observer):
    """As soon as its statement runs."""
    sleeps = "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    assert processes.eventually(lambda: observer.execute(sleeps, (connection.info.backend_pid,)).fetchone()[0], 10)
    connection.cancel()


def test_a_new_database_is_announced_once(router, name):
    """First connects meet on both workers."""
    with contextlib.ExitStack() as held:
        crowd = [held.enter_context(router.wire()) for _ in range(20)]
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda client: client.startup("alice", name), crowd))
    assert [answer.errors for answer in answers] == [[]] * 20
    assert sum(len(answer.notices) for answer in answers) == 1
    assert router.log.count(f"created new database tenant={name}") == 1


def test_the_console_reaches_every_worker(router, name):
    """KILL_CLIENT found only the clients of the console's own thread, INSPECT printed only theirs."""
    with contextlib.ExitStack() as held:
        four = sessions(router, name, 4, held)
        with control(router) as console:
            console.execute(f'INSPECT "{name}" ON')
            for connection in four:
                connection.execute("SELECT 'read along'")
            numbers = clients(router, name)
            assert len(numbers) == 4
            printed = set(re.findall(rf"inspect (\d+) {name} → Query", router.log))
            assert printed == {str(number) for number in numbers}
            console.execute(f'INSPECT "{name}" OFF')
            for number in numbers[:2]:
                console.execute(f"KILL_CLIENT {number}")
        for connection in four[:2]:
            with pytest.raises(psycopg.errors.AdminShutdown):
                connection.execute("SELECT 1")
        for connection in four[2:]:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_hibernating_and_dropping_end_the_sessions_of_every_worker(router, name):
    """A session that nobody ended kept its lease, and the instance never stopped."""
    for command in ("HIBERNATE", "DROP"):
        with contextlib.ExitStack() as held:
            four = sessions(router, name, 4, held)
            with control(router) as console:
                console.execute(f'{command} "{name}"')
            for connection in four:
                with pytest.raises(psycopg.errors.AdminShutdown):
                    connection.execute("SELECT 1")
    assert name not in router.tenants()


def test_ctrl_c_ends_the_sessions_of_every_worker(router, name):
    """With the last message of PostgreSQL's own, and in time."""
    with contextlib.ExitStack() as held:
        four = [held.enter_context(router.wire()) for _ in range(4)]
        for client in four:
            client.startup("alice", name)
        # One that has not said what it wants, on each.
        silent = [held.enter_context(router.wire()) for _ in range(2)]
        router.stop(signal.SIGINT, within=10)
        for client in four:
            assert [error.sqlstate for error in client.until_ready().errors] == ["57P01"]
        assert all(client.is_closed(within=1) for client in silent)
    router.restart()
