"""A backend whose session ended idle is given to the next client with the same startup packet. What he may notice of the
one before him is here, and what others may notice of backends that wait."""

import os
import signal
import socket
import struct
import threading
import time

import pytest
from psycopg.rows import dict_row

import processes
import wire
from console import control

# dblink is to connect to somewhere.
ROUTER_ARGUMENTS = ("--tenant-network",)
TERMINATE = wire.message(b"X")


class Servers:
    """The backends of one router, as its console lists them."""

    def __init__(self, router):
        self.router = router

    def __enter__(self):
        self.console = control(self.router, row_factory=dict_row)
        return self

    def __exit__(self, *_):
        self.console.close()

    def of(self, database):
        rows = self.console.execute("SHOW SERVERS").fetchall()
        return [(row["state"], row["remote_pid"]) for row in rows if row["database"] == database]

    def kept(self, database):
        """Process ids of those that wait for a client, once none is on its way to that or to its end."""
        assert processes.eventually(lambda: all(state in ("idle", "active") for state, _ in self.of(database)), 5)
        return [pid for state, pid in self.of(database) if state == "idle"]


@pytest.fixture
def servers(router):
    with Servers(router) as servers:
        yield servers


def open_session(router, database, user="alice", **parameters):
    """A connection, with what it was told at its start."""
    connection = router.wire()
    connection.told = connection.startup(user, database, **parameters)
    assert not connection.told.errors, connection.told.errors
    return connection


def leave(connection):
    connection.send(TERMINATE)
    assert connection.is_closed(within=5)
    connection.close()


def visit(router, database, *statements, user="alice", **parameters):
    """A session from its beginning to its orderly end; its backend's process id, and the last answer."""
    connection = open_session(router, database, user, **parameters)
    answer = None
    for statement in statements:
        answer = connection.query(statement)
    leave(connection)
    return connection.told.key[0], answer


def test_the_next_client_gets_the_backend(router, servers, name):
    """Each connection cost a fork, three milliseconds of it, although an idle backend had just been thrown away."""
    with open_session(router, name) as connection:
        assert not connection.query("SELECT 1").errors
        leave(connection)
    assert servers.kept(name) == [connection.told.key[0]]
    with open_session(router, name) as next_one:
        assert next_one.query("SELECT pg_backend_pid()").value == str(connection.told.key[0])
        assert next_one.told.parameters == connection.told.parameters
        assert next_one.told.key[0] == connection.told.key[0] and next_one.told.key[1] != connection.told.key[1]
        assert not next_one.told.notices, "the database is new only once"
        assert servers.of(name) == [("active", connection.told.key[0])]


def test_a_client_that_hangs_up_leaves_its_backend_too(router, servers, name):
    """Scripts exit without a Terminate."""
    with open_session(router, name) as connection:
        connection.query("SELECT 1")
    assert servers.kept(name) == [connection.told.key[0]]


LEFT = {
    "temporary table": ("CREATE TEMP TABLE t AS SELECT 1", "SELECT to_regclass('pg_temp.t') IS NULL", "t"),
    "prepared statement": ("PREPARE p AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements", "0"),
    "LISTEN": ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()", "0"),
    "advisory lock": ("SELECT pg_advisory_lock(7)", "SELECT pg_try_advisory_lock(7), pg_advisory_unlock(7)", "t"),
    "setting": ("SET work_mem = '9MB'", "SELECT setting <> '9216' FROM pg_settings WHERE name = 'work_mem'", "t"),
    "reported setting": ("SET TimeZone = 'Asia/Tokyo'", "SELECT current_setting('TimeZone') <> 'Asia/Tokyo'", "t"),
    "application name": ("SET application_name = 'him'", "SHOW application_name", ""),
    "role": ("CREATE ROLE painter; SET ROLE painter", "SELECT current_user", "alice"),
    "search path": ("SET search_path = pg_temp", "SHOW search_path", '"$user", public'),
    "cursor": ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors", "0"),
    "isolation": ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only", "off"),
    "statement timeout": ("SET statement_timeout = 1", "SHOW statement_timeout", "0"),
    # What DISCARD ALL leaves, as the documentation says: a name without its value.
    "setting of one's own": ("SET my.secret = 'x'", "SELECT current_setting('my.secret', true)", ""),
}


@pytest.mark.parametrize("left", LEFT)
def test_what_a_session_leaves_is_gone(router, servers, left, name="left"):
    """Rows, locks and settings of one client reached another after pooling."""
    statements, question, expected = LEFT[left]
    pid, _ = visit(router, name, *statements.split("; "))
    if left == "role":
        # A role that was made is not known to leave nothing.
        pid, _ = visit(router, name, "SET ROLE painter")
    assert pid in servers.kept(name)
    next_pid, answer = visit(router, name, question)
    assert (next_pid, answer.value) == (pid, expected)


def test_a_sequence_is_forgotten(router, servers, name):
    pid, _ = visit(router, name, "CREATE SEQUENCE s", "SELECT nextval('s')")
    assert servers.kept(name) == [pid]
    next_pid, answer = visit(router, name, "SELECT currval('s')")
    assert next_pid == pid and answer.errors[0].sqlstate == "55000"


def test_a_notification_is_not_for_the_next_client(router, servers, name):
    """It was sent while nobody had the backend that listened for somebody who has gone."""
    visit(router, name, "LISTEN news")
    assert len(servers.kept(name)) == 1
    with open_session(router, name, user="bob") as other:
        other.query("NOTIFY news")
    with open_session(router, name) as connection:
        connection.send(wire.query_message("SELECT 1"))
        tags = [connection.receive()[0] for _ in range(4)]
        assert tags == [b"T", b"D", b"C", b"Z"]


def test_a_dblink_connection_stays(router, servers, name):
    """DISCARD ALL knows nothing of extensions: the documentation says so, and this holds it to that."""
    visit(router, name, "CREATE EXTENSION dblink")
    address = f"host=127.0.0.1 port={router.port} dbname={name} user=bob"
    pid, answer = visit(router, name, f"SELECT dblink_connect('far', '{address}')")
    assert not answer.errors
    assert processes.eventually(lambda: ("idle", pid) in servers.of(name), 5)
    next_pid, answer = visit(router, name, "SELECT dblink_get_connections()", "SELECT dblink_disconnect('far')")
    assert next_pid == pid and not answer.errors


# Whom nobody gets


EMPTY_LOG = ("CREATE TABLE IF NOT EXISTS log (word text)", "TRUNCATE log")
BAD = {
    "LOAD": [wire.query_message("LOAD 'plpgsql'")],
    "CREATE EXTENSION": [wire.query_message("CREATE EXTENSION IF NOT EXISTS hstore")],
    "DO": [wire.query_message("DO 'BEGIN END'")],
    "DO in a transaction": [wire.query_message("BEGIN; DO 'BEGIN END'; COMMIT")],
    "open transaction": [wire.query_message("BEGIN"), wire.query_message("INSERT INTO log VALUES ('open')")],
    "failed transaction": [wire.query_message("BEGIN; INSERT INTO log VALUES ('failed')"), wire.query_message("nonsense")],
    "error": [wire.query_message("CREATE ROLE someone")],
}


@pytest.mark.parametrize("bad", BAD)
def test_a_backend_that_may_not_be_as_new(router, servers, bad, name="bad"):
    """A library that was loaded stays loaded, a transaction that was open would be the next client's."""
    visit(router, name, *EMPTY_LOG)
    with open_session(router, name) as connection:
        for request in BAD[bad]:
            connection.send(request)
            connection.until_ready()
        leave(connection)
    assert connection.told.key[0] not in servers.kept(name)
    assert visit(router, name, "SELECT count(*) FROM log")[1].value == "0"


def pipeline(sql):
    """Parse, Bind and Execute, and no Sync."""
    return wire.extended_query(sql, "x")[:-5]


UNFINISHED = {
    "unsynced pipeline": pipeline("INSERT INTO log VALUES ($1)"),
    "unsynced, flushed": pipeline("INSERT INTO log VALUES ($1)") + wire.message(b"H"),
    "COPY": wire.query_message("COPY log FROM STDIN") + wire.message(b"d", b"half\n"),
    "running query": wire.query_message("INSERT INTO log SELECT 'x' FROM pg_sleep(0.2)"),
    "half a message": wire.query_message("INSERT INTO log VALUES ('x')")[:-3],
}


@pytest.mark.parametrize("end", ["terminated", "cut"])
@pytest.mark.parametrize("unfinished", UNFINISHED)
def test_what_was_not_finished_is_not_committed(router, servers, unfinished, end, name="unfinished"):
    """A statement said behind a pipeline without a Sync commits it, and DISCARD ALL is a statement."""
    visit(router, name, *EMPTY_LOG)
    with open_session(router, name) as connection:
        connection.send(UNFINISHED[unfinished])
        time.sleep(0.02)
        if end == "terminated" and unfinished != "half a message":
            connection.send(TERMINATE)
    backend = connection.told.key[0]
    assert processes.eventually(lambda: backend not in [pid for _, pid in servers.of(name)], 5)
    count = visit(router, name, "SELECT count(*) FROM log")[1].value
    # Whoever goes while a statement runs may find it done: that is PostgreSQL's.
    assert count == "0" or unfinished == "running query"


def test_a_finished_copy_is_no_hindrance(router, servers, name):
    visit(router, name, *EMPTY_LOG)
    with open_session(router, name) as connection:
        connection.send(wire.query_message("COPY log FROM STDIN") + wire.message(b"d", b"whole\n") + wire.message(b"c"))
        assert not connection.until_ready().errors
        leave(connection)
    assert connection.told.key[0] in servers.kept(name)


def test_whoever_was_cancelled_is_not_used_again(router, servers, name):
    """A cancel request is still on its way when its session has ended, and strikes the next one."""
    with open_session(router, name) as connection:
        with router.wire() as canceller:
            canceller.send(wire.cancel_request(*connection.told.key))
            assert canceller.is_closed(within=5)
        connection.query("SELECT 1")
        leave(connection)
    assert servers.kept(name) == []


def test_a_replication_connection_is_not_used_again(router, servers, name):
    pid, _ = visit(router, name, "IDENTIFY_SYSTEM", replication="database")
    assert pid not in servers.kept(name)


# Who gets none


def test_only_the_same_startup_packet_fits(router, servers, name):
    """Role, database and every setting that a session begins with come from it."""
    pid, _ = visit(router, name, "CREATE TABLE t ()", application_name="one")
    others = [
        visit(router, name, user="bob", application_name="one"),
        visit(router, name, application_name="two"),
        visit(router, name),
        visit(router, name, application_name="one", options="-c work_mem=9MB"),
        visit(router, name, application_name="one", client_encoding="LATIN1"),
    ]
    assert pid not in [other for other, _ in others]
    assert visit(router, name, application_name="one")[0] == pid
    assert visit(router, name, "SHOW work_mem", application_name="one", options="-c work_mem=9MB")[1].value == "9MB"
    servers.kept(name)


def test_a_newer_protocol_is_answered_as_before(router, servers, name):
    """NegotiateProtocolVersion is part of the startup, which the backend says only once."""
    tags = []
    for _ in range(2):
        with router.wire() as connection:
            connection.send(wire.startup_packet("alice", name, version=196610, **{"_pq_.unknown": "1"}))
            said = []
            while not said or said[-1][0] != b"Z":
                said.append(connection.receive())
            tags.append([tag for tag, _ in said if tag != b"N"])
            leave(connection)
        assert len(servers.kept(name)) == 1
    assert tags[0][0] == b"v" and sorted(tags[0]) == sorted(tags[1]) and tags[0][:2] == tags[1][:2]


def test_what_is_sent_ahead_is_answered(router, servers, name):
    """A client that does not wait for ReadyForQuery."""
    visit(router, name)
    servers.kept(name)
    with router.wire() as connection:
        connection.send(wire.startup_packet("alice", name) + wire.query_message("SELECT 6 * 7") + TERMINATE)
        connection.until_ready()
        assert connection.until_ready().value == "42"
        assert connection.is_closed(within=5)


# What changes for everybody


SHARED = {
    "ALTER ROLE … SET": ("ALTER ROLE bob SET work_mem = '9MB'", "SHOW work_mem", "9MB"),
    "ALTER DATABASE … SET": ("ALTER DATABASE {} SET temp_buffers = '8MB'", "SHOW temp_buffers", "8MB"),
    "in a block": ("DO $$BEGIN ALTER ROLE bob SET geqo_effort = 7; END$$", "SHOW geqo_effort", "7"),
    "GRANT": ("GRANT pg_monitor TO bob", "SELECT pg_has_role('pg_monitor', 'member')", "t"),
}


@pytest.mark.parametrize("shared", SHARED)
def test_what_new_sessions_are_given_holds_at_once(router, servers, shared, name="shared"):
    """It held for every session that began later, except for those that were given an older backend."""
    statement, question, expected = SHARED[shared]
    with open_session(router, name, user="bob") as in_use, open_session(router, name) as admin:
        kept, _ = visit(router, name, user="bob")
        assert kept in servers.kept(name)
        assert not admin.query(statement.format(name)).errors
        assert servers.kept(name) == []
        leave(in_use)
        assert visit(router, name, question, user="bob")[1].value == expected


def test_what_a_transaction_changes_holds_once_it_is_committed(router, servers, name):
    """A session that began before the commit and ended before it too was kept behind the statement's tag."""
    with open_session(router, name) as admin:
        visit(router, name, user="bob")
        admin.query("BEGIN")
        admin.query("ALTER ROLE bob SET work_mem = '9MB'")
        visit(router, name, user="bob")
        servers.kept(name)
        admin.query("COMMIT")
        assert visit(router, name, "SHOW work_mem", user="bob")[1].value == "9MB"


def test_a_role_that_may_not_log_in_does_not(router, servers, name):
    visit(router, name, user="bob")
    assert len(servers.kept(name)) == 1
    visit(router, name, "ALTER ROLE bob NOLOGIN")
    with router.wire() as connection:
        assert connection.startup("bob", name).errors[0].sqlstate == "28000"


@pytest.mark.parametrize("end", ["reset", "KILL_CLIENT"])
def test_a_change_whose_client_went_before_the_answer(router, servers, name, end):
    """Nobody heard that he may not log in any more, and for a minute he was given the backend that he had before."""
    with open_session(router, name, user="carol") as admin, open_session(router, name) as witness:
        visit(router, name, user="bob")
        assert len(servers.kept(name)) == 1
        admin.send(wire.query_message("ALTER ROLE bob NOLOGIN; SELECT pg_sleep(0.3)"))
        running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'carol' AND wait_event = 'PgSleep'"
        assert processes.eventually(lambda: witness.query(running).value == "1", 5)
        if end == "reset":
            admin.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            admin.close()
        else:
            [client] = [row for row in servers.console.execute("SHOW CLIENTS").fetchall() if row["user"] == "carol"]
            servers.console.execute(f"KILL_CLIENT {client['id']}")
        allowed = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'bob'"
        assert processes.eventually(lambda: witness.query(allowed).value == "f", 5)
        assert processes.eventually(lambda: not servers.kept(name), 1)
    with router.wire() as connection:
        assert connection.startup("bob", name).errors[0].sqlstate == "28000"


def test_a_dropped_role_is_not_met_again(router, servers, name):
    """His backend waited for him under a number that meant nobody any more."""
    visit(router, name, user="bob")
    assert len(servers.kept(name)) == 1
    visit(router, name, "DROP ROLE bob")
    answer = visit(router, name, "SELECT count(*) FROM pg_roles WHERE rolname = current_user", user="bob")[1]
    assert answer.value == "1"


def test_what_a_reload_changes_is_told(router, servers, name):
    """A client was told the time zone of the day on which its backend began."""
    with open_session(router, name) as in_use:
        visit(router, name, "ALTER SYSTEM SET timezone = 'Asia/Tokyo'", "SELECT pg_reload_conf()", user="bob")
        assert processes.eventually(lambda: in_use.query("SHOW timezone").value == "Asia/Tokyo", 5)
        leave(in_use)
    servers.kept(name)
    with open_session(router, name) as connection:
        assert connection.told.parameters["TimeZone"] == connection.query("SHOW timezone").value == "Asia/Tokyo"


def test_reconnect_means_kept_ones_too(router, servers, name):
    """RECONNECT is for what only new backends notice."""
    with open_session(router, name, user="bob") as in_use:
        visit(router, name)
        assert len(servers.kept(name)) == 1
        servers.console.execute(f"RECONNECT {name}")
        assert servers.kept(name) == []
        leave(in_use)
        assert servers.kept(name) == []


# Ends


def test_a_kept_backend_that_is_ended_is_nobodys(router, servers, name):
    """57P01 came to the next client."""
    pid, _ = visit(router, name)
    assert servers.kept(name) == [pid]
    visit(router, name, f"SELECT pg_terminate_backend({pid}, 5000)", user="bob")
    next_pid, answer = visit(router, name, "SELECT 1")
    assert next_pid != pid and answer.value == "1"


def test_a_kept_backend_that_crashes_takes_nobody_along(router, servers, name):
    pid, _ = visit(router, name)
    assert servers.kept(name) == [pid]
    os.kill(pid, signal.SIGKILL)
    assert processes.eventually(lambda: servers.of(name) == [], 5)
    assert visit(router, name, "SELECT 1")[1].value == "1"


def test_a_kept_backend_is_not_in_the_way_of_a_copy(router, servers, name):
    """CREATE DATABASE waits five seconds for the sessions of its template, and gives up."""
    visit(router, name)
    assert len(servers.kept(name)) == 1
    with open_session(router, name, user="bob") as connection:
        assert not connection.query(f"CREATE DATABASE copy TEMPLATE {name}").errors


def test_a_thousand_reconnects(router, servers, name):
    """All of them by a few backends, and none of them by one that is not ready."""
    pids = set()
    for _ in range(300):
        with router.wire() as connection:
            pids.add(connection.startup("alice", name).key[0])
            connection.send(wire.query_message("SELECT 1"))
            assert connection.until_ready().value == "1"
            connection.send(TERMINATE)
    # One more whenever the last one is still being reset, and it stays.
    assert len(pids) <= 10, pids
    assert len(servers.kept(name)) <= 8


# Limits


def test_kept_backends_do_not_count(routers):
    """A client of another kind waited until nobody wanted the kept one, or got 53300 of PostgreSQL's."""
    router = routers("--max-connections", "2")
    began = time.monotonic()
    for round in range(20):
        assert router.value("tenant", "SELECT current_user", user=f"user{round % 4}") == f"user{round % 4}"
    assert time.monotonic() - began < 10
    failures = []

    def reconnect(user):
        for _ in range(15):
            try:
                visit(router, "tenant", "SELECT 1", user=user)
            except (AssertionError, wire.Closed) as failure:
                failures.append(failure)

    threads = [threading.Thread(target=reconnect, args=(f"user{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert "too many clients" not in router.log


def test_kept_backends_keep_nothing_up(routers):
    """An idle instance hibernates, is evicted and dropped as if they were not there."""
    router = routers("--max-instances", "1", "--idle-timeout", "300ms")
    visit(router, "one", "CREATE TABLE t ()")
    assert processes.eventually(lambda: not router.postmasters(), within=1.5), "it waited for the kept one"
    visit(router, "one", "SELECT 1")
    visit(router, "two", "SELECT 1")
    visit(router, "one", "SELECT 1")
    with control(router) as console:
        console.execute("DROP one")
        assert console.execute("SHOW SERVERS").fetchall() == []
    assert visit(router, "one", "SELECT to_regclass('t')")[1].value is None


def test_reuse_can_be_turned_off(routers):
    router = routers("--reuse-backends", "off")
    with Servers(router) as servers:
        pids = []
        for _ in range(3):
            pids.append(visit(router, "tenant", "SELECT 1")[0])
            assert servers.kept("tenant") == []
        assert len(set(pids)) == 3
