"""pg8000: pure Python, the extended protocol for everything."""

import datetime
import decimal
import io
import ssl

import pg8000
import pg8000.native

import steps
from steps import expect, expect_error


def connect(**options):
    return pg8000.native.Connection(
        steps.USER, host=steps.HOST, port=steps.PORT, database=steps.DATABASE, timeout=30, **options)


def state(error):
    return error.args[0].get("C") if isinstance(error.args[0], dict) else None


def plain():
    connection = connect(ssl_context=False)
    expect(connection.run("SELECT current_database()") == [[steps.DATABASE]])
    connection.close()


def tls_preferred():
    """pg8000 either asks for TLS and insists on it, or tries it and goes on without: the default."""
    connection = connect()
    expect(connection.run("SELECT 1") == [[1]])
    connection.close()
    expect_error(pg8000.exceptions.InterfaceError, lambda: connect(ssl_context=ssl.create_default_context()))


def types():
    connection = connect()
    values = [7, "žluť", 2.5, decimal.Decimal("12.340"), True, None, b"\0\xff", datetime.date(2024, 2, 29), [1, 2]]
    names = dict(zip("abcdefghi", values))
    expect(connection.run(
        "SELECT :a::int, :b::text, :c::float8, :d::numeric, :e::bool, :f::text, :g::bytea, :h::date, :i::int[]",
        **names) == [values])
    expect(connection.run("""SELECT '{"a": [1]}'::jsonb""") == [[{"a": [1]}]])
    connection.close()


def prepared():
    connection = connect()
    statement = connection.prepare("SELECT :n::int + 1")
    for number in range(20):
        expect(statement.run(n=number) == [[number + 1]])
    statement.close()
    connection.close()


def copied():
    connection = connect()
    connection.run("CREATE TABLE copied (n int, body text)")
    rows = io.StringIO("".join(f"{n}\t{'x' * 50}\n" for n in range(10_000)))
    connection.run("COPY copied FROM STDIN", stream=rows)
    out = io.StringIO()
    connection.run("COPY copied TO STDOUT", stream=out)
    expect(out.getvalue().count("\n") == 10_000)
    connection.close()


def notified():
    listener, notifier = connect(), connect()
    listener.run("LISTEN news")
    pid = notifier.run("SELECT pg_backend_pid()")[0][0]
    notifier.run("NOTIFY news, 'hello'")
    listener.run("SELECT 1")
    expect([(news[2], news[0]) for news in listener.notifications] == [("hello", pid)])
    listener.close()
    notifier.close()


def transactions():
    connection = connect()
    connection.run("CREATE TABLE kept (n int)")
    for number, ending in ((1, "COMMIT"), (2, "ROLLBACK")):
        connection.run("START TRANSACTION")
        connection.run("INSERT INTO kept VALUES (:n)", n=number)
        connection.run(ending)
    expect(connection.run("SELECT array_agg(n) FROM kept") == [[[1]]])
    connection.close()


def errors():
    connection = connect()
    expect_error(pg8000.DatabaseError, lambda: connection.run("SELECT 1 / :n::int", n=0), "22012", state)
    expect_error(pg8000.DatabaseError, lambda: connection.run("SELEC"), "42601", state)
    expect(connection.run("SELECT 1") == [[1]])
    connection.close()


def concurrent():
    steps.concurrently(connect, lambda connection, number: connection.run("SELECT :n::int", n=number)[0][0])


def reconnected():
    ended, other = connect(), connect()
    pid = ended.run("SELECT pg_backend_pid()")[0][0]
    other.run("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    expect_error((pg8000.DatabaseError, pg8000.InterfaceError), lambda: ended.run("SELECT 1"))
    other.close()
    again = connect()
    expect(again.run("SELECT 1") == [[1]])
    again.close()


steps.run(
    pg8000.__version__,
    connect=plain, tls_preferred=tls_preferred, types=types, prepared=prepared, pipeline="no pipelining", copy=copied,
    cancel="sends no cancel request", notify=notified, transactions=transactions, errors=errors, concurrent=concurrent,
    reconnect=reconnected)
