"""SQLAlchemy over psycopg 3: its pool, its reflection of the catalogues, its handling of lost connections."""

import datetime
import decimal
import threading

import sqlalchemy
from sqlalchemy import text

import steps
from steps import expect, expect_error


def engine(**options):
    address = sqlalchemy.URL.create(
        "postgresql+psycopg", username=steps.USER, host=steps.HOST, port=steps.PORT, database=steps.DATABASE,
        query=options.pop("query", {}))
    return sqlalchemy.create_engine(address, **options)


def on(made, step):
    try:
        return step(made)
    finally:
        made.dispose()


def state(error):
    return error.orig.sqlstate


def value(connection, sql, **parameters):
    return connection.execute(text(sql), parameters).scalar()


def names_database(made):
    with made.connect() as connection:
        expect(value(connection, "SELECT current_database()") == steps.DATABASE)


def types(made):
    table = sqlalchemy.Table(
        "typed", sqlalchemy.MetaData(), sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.Text), sqlalchemy.Column("price", sqlalchemy.Numeric(10, 2)),
        sqlalchemy.Column("day", sqlalchemy.Date), sqlalchemy.Column("raw", sqlalchemy.LargeBinary),
        sqlalchemy.Column("body", sqlalchemy.JSON), sqlalchemy.Column("tags", sqlalchemy.ARRAY(sqlalchemy.Integer)))
    table.metadata.create_all(made)
    values = (1, "žluť", decimal.Decimal("12.34"), datetime.date(2024, 2, 29), b"\0\xff", {"a": [1]}, [1, 2])
    with made.begin() as connection:
        connection.execute(table.insert().values(values))
        expect(tuple(connection.execute(table.select()).one()) == values)
    reflected = sqlalchemy.Table("typed", sqlalchemy.MetaData(), autoload_with=made)
    expect(reflected.columns.keys() == table.columns.keys())


def prepared(made):
    with made.connect() as connection:
        for number in range(20):
            expect(value(connection, "SELECT :n + 1", n=number) == number + 1)
        expect(value(connection, "SELECT count(*) FROM pg_prepared_statements") > 0)


def pipelined(made):
    with made.begin() as connection:
        connection.execute(text("CREATE TABLE many (n int)"))
        connection.execute(text("INSERT INTO many VALUES (:n)"), [{"n": number} for number in range(1000)])
        expect(value(connection, "SELECT sum(n) FROM many") == 499_500)


def cancelled(made):
    with made.connect() as connection:
        threading.Timer(0.3, connection.connection.driver_connection.cancel).start()
        expect_error(
            sqlalchemy.exc.DBAPIError, lambda: value(connection, "SELECT pg_sleep(20)"), "57014", state)
        connection.rollback()
        expect(value(connection, "SELECT 1") == 1)


def transactions(made):
    with made.begin() as connection:
        connection.execute(text("CREATE TABLE kept (n int)"))
        connection.execute(text("INSERT INTO kept VALUES (1)"))
        with connection.begin_nested() as savepoint:
            connection.execute(text("INSERT INTO kept VALUES (2)"))
            savepoint.rollback()
    with made.connect() as connection:
        expect(value(connection, "SELECT array_agg(n) FROM kept") == [1])


def errors(made):
    with made.connect() as connection:
        expect_error(sqlalchemy.exc.DBAPIError, lambda: value(connection, "SELECT 1 / :n", n=0), "22012", state)
        connection.rollback()
        expect_error(sqlalchemy.exc.DBAPIError, lambda: value(connection, "SELEC"), "42601", state)
        connection.rollback()
        expect(value(connection, "SELECT 1") == 1)


def concurrent(made):
    steps.concurrently(made.connect, lambda connection, number: value(connection, "SELECT CAST(:n AS int)", n=number))


def reconnected(made):
    """The pool's check before use replaces the connection without the program's noticing."""
    with made.connect() as connection:
        pid = value(connection, "SELECT pg_backend_pid()")
    other = engine()
    with other.connect() as connection:
        value(connection, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    other.dispose()
    with made.connect() as connection:
        expect(value(connection, "SELECT pg_backend_pid()") != pid)


steps.run(
    sqlalchemy.__version__,
    connect=lambda: on(engine(query={"sslmode": "disable"}), names_database),
    tls_preferred=lambda: on(engine(query={"sslmode": "prefer"}), names_database),
    types=lambda: on(engine(), types),
    prepared=lambda: on(engine(connect_args={"prepare_threshold": 0}), prepared),
    pipeline=lambda: on(engine(), pipelined), copy="no interface of its own", cancel=lambda: on(engine(), cancelled),
    notify="no interface of its own", transactions=lambda: on(engine(), transactions),
    errors=lambda: on(engine(), errors),
    concurrent=lambda: on(engine(pool_size=steps.CONCURRENT), concurrent),
    reconnect=lambda: on(engine(pool_pre_ping=True), reconnected))
