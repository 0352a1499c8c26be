"""Reading along: --inspect, INSPECT at run time, and what neither must ever show."""

import json
import os
import re
import subprocess

import psycopg
import pytest

import processes
import wire
from router import Router, looked_after
from test_console import control

# Time, session, tenant, and what is about the message.
LINE = re.compile(r"^\S+Z inspect (\d+) (\S+) ([→←] .*)$", re.MULTILINE)

PSQL = r"""CREATE TABLE item (id int, name text);
\d item
COPY item FROM STDIN;
1	one
2	two
\.
COPY item TO STDOUT;
SELECT * FROM nothing;
BEGIN;
PREPARE by_id (int) AS SELECT name FROM item WHERE id = $1;
EXECUTE by_id (2);
COMMIT;
"""

TRANSCRIPT = """\
→ StartupMessage, 56 bytes: protocol 3.0, user=alice, database=shop, application_name=psql
← AuthenticationOk, 9 bytes
← BackendKeyData, 13 bytes: process N
← NoticeResponse, 58 bytes: NOTICE 00000 created new database "shop"
← ReadyForQuery, 6 bytes: idle
→ Query, 44 bytes: CREATE TABLE item (id int, name text);
← CommandComplete, 18 bytes: CREATE TABLE
← ReadyForQuery, 6 bytes: idle
(what \\d asks the catalog)
→ Query, 27 bytes: COPY item FROM STDIN;
← CopyInResponse, 12 bytes: text, 2 columns
→ CopyData, 20 bytes
→ CopyDone, 5 bytes
← CommandComplete, 12 bytes: COPY 2
← ReadyForQuery, 6 bytes: idle
→ Query, 26 bytes: COPY item TO STDOUT;
← CopyOutResponse, 12 bytes: text, 2 columns
← CopyData, 11 bytes
← CopyData, 11 bytes
← CopyDone, 5 bytes
← CommandComplete, 12 bytes: COPY 2
← ReadyForQuery, 6 bytes: idle
→ Query, 28 bytes: SELECT * FROM nothing;
← ErrorResponse, N bytes: ERROR 42P01 relation "nothing" does not exist
← ReadyForQuery, 6 bytes: idle
→ Query, 12 bytes: BEGIN;
← CommandComplete, 11 bytes: BEGIN
← ReadyForQuery, 6 bytes: in transaction
→ Query, 65 bytes: PREPARE by_id (int) AS SELECT name FROM item WHERE id = $1;
← CommandComplete, 13 bytes: PREPARE
← ReadyForQuery, 6 bytes: in transaction
→ Query, 24 bytes: EXECUTE by_id (2);
← RowDescription, 30 bytes: 1 column (name)
← DataRow, 14 bytes: 1 value (3)
← CommandComplete, 14 bytes: SELECT 1
← ReadyForQuery, 6 bytes: in transaction
→ Query, 13 bytes: COMMIT;
← CommandComplete, 12 bytes: COMMIT
← ReadyForQuery, 6 bytes: idle
→ Terminate, 5 bytes
"""


def messages(router, tenant):
    return [what for _, name, what in LINE.findall(router.log) if name == tenant]


def awaited(router, tenant, text):
    """The log is written by a thread of its own."""
    assert processes.eventually(lambda: any(text in line for line in messages(router, tenant)), within=10), router.log


def golden(lines):
    """Without what differs from run to run or belongs to one version of PostgreSQL."""
    text = "".join(line + "\n" for line in lines if "ParameterStatus" not in line)
    text = re.sub(r"(→ Query, [^\n]*pg_catalog[^\n]*\n(?:(?!← Ready)[^\n]*\n)*← Ready[^\n]*\n)+",
                  r"(what \\d asks the catalog)\n", text)
    text = re.sub(r"ErrorResponse, \d+ bytes", "ErrorResponse, N bytes", text)
    return re.sub(r"process \d+", "process N", text)


def test_a_psql_session(routers):
    """One line a message, both ways, in their order."""
    router = routers("--inspect")
    router.run("psql", "-X", database="shop", input=PSQL, check=False)
    awaited(router, "shop", "Terminate")
    assert golden(messages(router, "shop")) == TRANSCRIPT
    # Whatever is not let in is read along too.
    with pytest.raises(psycopg.Error):
        router.connect("shop", user="pg_nobody")
    awaited(router, "shop", 'FATAL 28000 role "pg_nobody" does not exist')


@pytest.fixture(scope="module")
def both():
    """Two routers on which nobody is read along at first: the second one shows values."""
    with looked_after([Router(), Router("--inspect-values")]) as made:
        for router in made:
            router.start()
        yield made


def switch(router, tenant, state):
    with control(router) as console:
        assert console.execute(f"INSPECT {tenant} {state}").statusmessage == "INSPECT"


def test_it_is_switched_while_sessions_run(both):
    """To look at one tenant of a hundred must not take a restart, nor may the others be seen."""
    router = both[0]
    with router.connect("watched") as watched, router.connect("other") as other:
        watched.execute("SELECT 'before'")
        switch(router, "watched", "ON")
        watched.execute("SELECT 'during'")
        other.execute("SELECT 'unseen'")
        awaited(router, "watched", "SELECT 'during'")
        with router.connect("watched") as later:
            later.execute("SELECT 'later'")
        awaited(router, "watched", "SELECT 'later'")
        switch(router, "watched", "OFF")
        watched.execute("SELECT 'after'")
        switch(router, "watched", "ON")
        watched.execute("SELECT 'again'")
        awaited(router, "watched", "SELECT 'again'")
        switch(router, "watched", "OFF")
    text = "\n".join(messages(router, "watched"))
    assert "before" not in text and "after" not in text
    assert messages(router, "other") == []
    assert re.search(r"info console: inspect on address=.* tenant=watched user=admin", router.log)


def test_it_is_switched_in_the_middle_of_a_message(both):
    """A frame that is under way when somebody begins to read must not be taken for others: its bytes look like anything."""
    router = both[0]
    with wire.Connection(router.address) as connection:
        connection.startup("alice", "midway")
        frame = wire.query_message("SELECT length('" + "Z\0\0\0\5I".replace("\0", "x") * 20_000 + "')")
        connection.send(frame[:60_000])
        processes.eventually(lambda: False, 0.1)
        switch(router, "midway", "ON")
        connection.send(frame[60_000:] + wire.query_message("SELECT 'next'"))
        connection.until_ready()
        connection.until_ready()
        awaited(router, "midway", "SELECT 'next'")
        switch(router, "midway", "OFF")
    lines = messages(router, "midway")
    assert lines.count("← ReadyForQuery, 6 bytes: idle") >= 1 and "← DataRow, 17 bytes: 1 value (6)" in lines, lines
    assert [line for line in lines if line.startswith("→")] == ["→ Query, 19 bytes: SELECT 'next'"]


def test_values_are_shown_only_if_asked_for(both):
    for router, expected in zip(both, ["1 parameter (8)", "1 parameter ('precious')"]):
        router.value("valuable", "SELECT 1")
        switch(router, "valuable", "ON")
        with router.connect("valuable") as connection:
            connection.execute("SELECT %s::text AS answer", ["precious"], prepare=True)
            with connection.cursor().copy("COPY (SELECT 'precious') TO STDOUT") as copy:
                assert b"".join(bytes(part) for part in copy) == b"precious\n"
        awaited(router, "valuable", "CopyDone")
        lines = messages(router, "valuable")
        assert any(line.startswith("→ Bind") and line.endswith(expected) for line in lines), lines
        shown = [line.split(",")[0][2:] for line in lines if "precious" in line and "Query" not in line]
        assert shown == ([] if router is both[0] else ["Bind", "DataRow", "CopyData"])


def test_passwords_are_never_shown(both):
    """What is read along is kept in logs, mailed and pasted."""
    for router in both:
        router.value("secretive", "SELECT 1")
        switch(router, "secretive", "ON")
        environment = {"PGPASSWORD": "hunter2"}
        router.run("psql", "-X", "-c", "ALTER ROLE alice PASSWORD 'hunter2'", "-c", "CREATE ROLE bob PASSWORD $$hunter2$$",
                   "-c", "SELECT 'password', 'hunter2'", "-c", "ALTER ROLE alice WITH PASSWORD x'hunter2'",
                   database="secretive", check=False, environment=environment)
        with router.connect("secretive") as connection:
            connection.execute("CREATE TABLE account (password text)")
            connection.execute("INSERT INTO account (password) VALUES (%s)", ["hunter2"], prepare=True)
            for _ in range(2):
                connection.execute("SELECT password FROM account WHERE password = %s", ["hunter2"], prepare=True)
        awaited(router, "secretive", "Parse")
        awaited(router, "secretive", "ALTER ROLE alice PASSWORD ***")
    for router in both:
        router.value("secretive", "SELECT 'the end'")
        awaited(router, "secretive", "the end")
        switch(router, "secretive", "OFF")
        assert "hunter2" not in router.log


def test_json_lines(routers):
    """Programs read them too."""
    router = routers("--inspect", "--log-format", "json", environment={"ROUTERD_INSPECT_VALUES": "on"})
    router.value("shop", "SELECT 42 AS answer")
    processes.eventually(lambda: "Terminate" in router.log, within=10)
    lines = [json.loads(line) for line in router.log.splitlines()]
    (row,) = [line for line in lines if "DataRow" in line.get("message", "")]
    assert row["message"] == "← DataRow, 13 bytes: 1 value ('42')"
    assert row["tenant"] == "shop" and row["user"] == "alice" and row["session"] == "1" and row["address"]


def test_a_log_that_nobody_reads_blocks_nobody(routers):
    """A pipe to a program that hangs is full after 64 KB, and a session would write a line a row."""
    router = routers.prepared("--inspect")
    pipe = str(router.home / "pipe")
    os.mkfifo(pipe)
    router.launcher = ["sh", "-c", 'exec 3<>"$0"; exec "$@" 2>&3', pipe]
    router.start()
    with router.connect("noisy") as connection:
        for _ in range(2):
            with connection.cursor().copy("COPY (SELECT generate_series(1, 6000)) TO STDOUT") as copy:
                assert sum(bytes(part).count(b"\n") for part in copy) == 6000
    # So that what is left of it can be written, and the end is quick.
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.DEVNULL)
    try:
        router.stop()
    finally:
        reader.kill()
        reader.wait()
