"""psycopg 3 over libpq: binary results, pipeline mode, COPY, its own cancel."""

import datetime
import decimal
import threading
import time

import psycopg
from psycopg.types.json import Jsonb

import steps
from steps import expect, expect_error


def connect(**options):
    return psycopg.connect(
        host=steps.HOST, port=steps.PORT, dbname=steps.DATABASE, user=steps.USER, autocommit=True, **options)


def state(error):
    return error.sqlstate


def plain():
    with connect(sslmode="disable") as connection:
        expect(connection.execute("SELECT current_database()").fetchone() == (steps.DATABASE,))


def tls_preferred():
    with connect(sslmode="prefer") as connection:
        expect(connection.execute("SELECT 1").fetchone() == (1,))


def types():
    values = (7, "žluť", 2.5, decimal.Decimal("12.340"), True, None, b"\0\xff", datetime.date(2024, 2, 29), [1, 2])
    with connect() as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            cursor.execute(
                "SELECT %s::int, %s::text, %s::float8, %s::numeric, %s::bool, %s::text, %s::bytea, %s::date, %s::int[]",
                values)
            expect(cursor.fetchone() == values)
        expect(connection.execute("SELECT %s::jsonb", (Jsonb({"a": [1]}),)).fetchone() == ({"a": [1]},))


def prepared():
    with connect() as connection:
        for number in range(20):
            expect(connection.execute("SELECT %s::int + 1", (number,), prepare=True).fetchone() == (number + 1,))
        expect(connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (1,))


def pipelined():
    with connect() as connection, connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", (number,)) for number in range(50)]
        expect([cursor.fetchone() for cursor in cursors] == [(number,) for number in range(50)])


def copied():
    with connect() as connection:
        connection.execute("CREATE TABLE copied (n int, body text)")
        cursor = connection.cursor()
        with cursor.copy("COPY copied FROM STDIN") as copy:
            for number in range(10_000):
                copy.write_row((number, "x" * 50))
        with cursor.copy("COPY copied TO STDOUT") as copy:
            expect(sum(1 for _ in copy.rows()) == 10_000)


def cancelled():
    with connect() as connection:
        timer = threading.Timer(0.3, connection.cancel)
        timer.start()
        began = time.monotonic()
        expect_error(psycopg.Error, lambda: connection.execute("SELECT pg_sleep(20)"), "57014", state)
        expect(time.monotonic() - began < 10)
        expect(connection.execute("SELECT 1").fetchone() == (1,))


def notified():
    with connect() as listener, connect() as notifier:
        listener.execute("LISTEN news")
        notifier.execute("NOTIFY news, 'hello'")
        news = next(listener.notifies())
        expect((news.payload, news.pid) == ("hello", notifier.info.backend_pid))


def transactions():
    with connect() as connection:
        connection.execute("CREATE TABLE kept (n int)")
        with connection.transaction():
            connection.execute("INSERT INTO kept VALUES (1)")
            with connection.transaction(force_rollback=True):
                connection.execute("INSERT INTO kept VALUES (2)")
        expect(connection.execute("SELECT array_agg(n) FROM kept").fetchone() == ([1],))


def errors():
    with connect() as connection:
        expect_error(psycopg.Error, lambda: connection.execute("SELECT 1 / 0"), "22012", state)
        expect_error(psycopg.Error, lambda: connection.execute("SELEC"), "42601", state)
        expect(connection.execute("SELECT 1").fetchone() == (1,))


def concurrent():
    steps.concurrently(connect, lambda connection, n: connection.execute("SELECT %s::int", (n,)).fetchone()[0])


def reconnected():
    with connect() as other:
        ended = connect()
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (ended.info.backend_pid,))
        expect_error(psycopg.OperationalError, lambda: ended.execute("SELECT 1"), "57P01", state)
        expect(ended.closed)
    with connect() as again:
        expect(again.execute("SELECT 1").fetchone() == (1,))


steps.run(
    psycopg.__version__ + f" (libpq {psycopg.pq.version() // 10000}.{psycopg.pq.version() % 10000})",
    connect=plain, tls_preferred=tls_preferred, types=types, prepared=prepared, pipeline=pipelined, copy=copied,
    cancel=cancelled, notify=notified, transactions=transactions, errors=errors, concurrent=concurrent,
    reconnect=reconnected)
