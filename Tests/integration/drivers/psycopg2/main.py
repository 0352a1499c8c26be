"""psycopg2: the simple protocol only, COPY through files."""

import datetime
import decimal
import io
import select
import threading

import psycopg2

import steps
from steps import expect, expect_error


def connect(**options):
    connection = psycopg2.connect(
        host=steps.HOST, port=steps.PORT, dbname=steps.DATABASE, user=steps.USER, **options)
    connection.autocommit = True
    return connection


def row(connection, sql, parameters=None):
    cursor = connection.cursor()
    cursor.execute(sql, parameters)
    return cursor.fetchone() if cursor.description else None


def state(error):
    return error.pgcode


def plain():
    connection = connect(sslmode="disable")
    expect(row(connection, "SELECT current_database()") == (steps.DATABASE,))
    connection.close()


def tls_preferred():
    connection = connect(sslmode="prefer")
    expect(row(connection, "SELECT 1") == (1,))
    connection.close()


def types():
    connection = connect()
    values = (7, "žluť", 2.5, decimal.Decimal("12.340"), True, None, datetime.date(2024, 2, 29), [1, 2])
    expect(row(connection, "SELECT %s, %s, %s::float8, %s, %s, %s, %s, %s", values) == values)
    expect(bytes(row(connection, "SELECT %s", (psycopg2.Binary(b"\0\xff"),))[0]) == b"\0\xff")
    expect(row(connection, """SELECT '{"a": [1]}'::jsonb""") == ({"a": [1]},))
    connection.close()


def prepared():
    connection = connect()
    row(connection, "PREPARE plus (int) AS SELECT $1 + 1")
    for number in range(20):
        expect(row(connection, "EXECUTE plus (%s)", (number,)) == (number + 1,))
    connection.close()


def copied():
    connection = connect()
    row(connection, "CREATE TABLE copied (n int, body text)")
    cursor = connection.cursor()
    cursor.copy_expert("COPY copied FROM STDIN", io.StringIO("".join(f"{n}\t{'x' * 50}\n" for n in range(10_000))))
    out = io.StringIO()
    cursor.copy_expert("COPY copied TO STDOUT", out)
    expect(out.getvalue().count("\n") == 10_000)
    connection.close()


def cancelled():
    connection = connect()
    threading.Timer(0.3, connection.cancel).start()
    expect_error(psycopg2.Error, lambda: row(connection, "SELECT pg_sleep(20)"), "57014", state)
    expect(row(connection, "SELECT 1") == (1,))
    connection.close()


def notified():
    listener, notifier = connect(), connect()
    row(listener, "LISTEN news")
    row(notifier, "NOTIFY news, 'hello'")
    select.select([listener], [], [], 10)
    listener.poll()
    expect([(news.payload, news.pid) for news in listener.notifies] == [("hello", notifier.info.backend_pid)])
    listener.close()
    notifier.close()


def transactions():
    connection = connect()
    row(connection, "CREATE TABLE kept (n int)")
    connection.autocommit = False
    row(connection, "INSERT INTO kept VALUES (1)")
    connection.commit()
    row(connection, "INSERT INTO kept VALUES (2)")
    connection.rollback()
    expect(row(connection, "SELECT array_agg(n) FROM kept") == ([1],))
    connection.close()


def errors():
    connection = connect()
    expect_error(psycopg2.Error, lambda: row(connection, "SELECT 1 / 0"), "22012", state)
    expect_error(psycopg2.Error, lambda: row(connection, "SELEC"), "42601", state)
    expect(row(connection, "SELECT 1") == (1,))
    connection.close()


def concurrent():
    steps.concurrently(connect, lambda connection, number: row(connection, "SELECT %s", (number,))[0])


def reconnected():
    ended, other = connect(), connect()
    row(other, "SELECT pg_terminate_backend(%s, 5000)", (ended.info.backend_pid,))
    expect_error(psycopg2.Error, lambda: row(ended, "SELECT 1"))  # libpq keeps the 57P01 from it
    expect(ended.closed)
    other.close()
    again = connect()
    expect(row(again, "SELECT 1") == (1,))
    again.close()


steps.run(
    psycopg2.__version__.split()[0],
    connect=plain, tls_preferred=tls_preferred, types=types, prepared=prepared, pipeline="no pipelining", copy=copied,
    cancel=cancelled, notify=notified, transactions=transactions, errors=errors, concurrent=concurrent,
    reconnect=reconnected)
