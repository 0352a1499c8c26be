"""asyncpg: a protocol of its own, everything in binary, a cancel request for every timeout."""

import asyncio
import datetime
import decimal

import asyncpg

import steps
from steps import expect


def connect(**options):
    return asyncpg.connect(
        host=steps.HOST, port=steps.PORT, database=steps.DATABASE, user=steps.USER, timeout=30, **options)


async def expect_state(sqlstate, awaitable):
    try:
        await awaitable
    except asyncpg.PostgresError as error:
        expect(error.sqlstate == sqlstate, f"SQLSTATE {error.sqlstate} instead of {sqlstate}")
        return
    raise AssertionError(f"no error {sqlstate}")


def connected(step=None, **options):
    """A synchronous step around an asynchronous one that gets a connection."""

    def run():
        async def use():
            connection = await connect(**options)
            try:
                await step(connection)
            finally:
                await connection.close()

        asyncio.run(use())

    return run


async def names_database(connection):
    expect(await connection.fetchval("SELECT current_database()") == steps.DATABASE)


async def types(connection):
    values = [7, "žluť", 2.5, decimal.Decimal("12.340"), True, None, b"\0\xff", datetime.date(2024, 2, 29), [1, 2]]
    record = await connection.fetchrow(
        "SELECT $1::int, $2::text, $3::float8, $4::numeric, $5::bool, $6::text, $7::bytea, $8::date, $9::int[]",
        *values)
    expect(list(record.values()) == values)
    expect(await connection.fetchval("SELECT $1::jsonb", '{"a": [1]}') == '{"a": [1]}')


async def prepared(connection):
    statement = await connection.prepare("SELECT $1::int + 1")
    for number in range(20):
        expect(await statement.fetchval(number) == number + 1)


async def pipelined(connection):
    await connection.execute("CREATE TABLE many (n int)")
    await connection.executemany("INSERT INTO many VALUES ($1)", [(number,) for number in range(1000)])
    expect(await connection.fetchval("SELECT sum(n) FROM many") == 499_500)


async def copied(connection):
    await connection.execute("CREATE TABLE copied (n int, body text)")
    await connection.copy_records_to_table("copied", records=[(n, "x" * 50) for n in range(10_000)])
    received = bytearray()

    async def keep(chunk):
        received.extend(chunk)

    await connection.copy_from_table("copied", output=keep)
    expect(received.count(b"\n") == 10_000)


async def cancelled(connection):
    try:
        await connection.execute("SELECT pg_sleep(20)", timeout=0.3)
    except asyncio.TimeoutError:
        expect(await connection.fetchval("SELECT 1") == 1)
        return
    raise AssertionError("no timeout")


async def notified(listener):
    news = asyncio.get_running_loop().create_future()
    await listener.add_listener("news", lambda _, pid, __, payload: news.set_result((payload, pid)))
    notifier = await connect()
    await notifier.execute("NOTIFY news, 'hello'")
    expect(await asyncio.wait_for(news, 10) == ("hello", notifier.get_server_pid()))
    await notifier.close()


async def transactions(connection):
    await connection.execute("CREATE TABLE kept (n int)")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO kept VALUES (2)")
    await transaction.rollback()
    async with connection.transaction():
        await connection.execute("INSERT INTO kept VALUES (1)")
    expect(await connection.fetchval("SELECT array_agg(n) FROM kept") == [1])


async def errors(connection):
    await expect_state("22012", connection.fetchval("SELECT 1 / $1::int", 0))
    await expect_state("42601", connection.execute("SELEC"))
    expect(await connection.fetchval("SELECT 1") == 1)


def concurrent():
    async def use():
        connections = await asyncio.gather(*(connect() for _ in range(steps.CONCURRENT)))
        answers = await asyncio.gather(
            *(connection.fetchval("SELECT $1::int", n) for n, connection in enumerate(connections)))
        expect(answers == list(range(steps.CONCURRENT)))
        await asyncio.gather(*(connection.close() for connection in connections))

    asyncio.run(use())


async def reconnected(other):
    ended = await connect()
    await other.execute(f"SELECT pg_terminate_backend({ended.get_server_pid()}, 5000)")
    try:
        await ended.fetchval("SELECT 1")
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError):
        expect(ended.is_closed())
    else:
        raise AssertionError("a session that was ended answers")
    again = await connect()
    expect(await again.fetchval("SELECT 1") == 1)
    await again.close()


steps.run(
    asyncpg.__version__,
    connect=connected(names_database, ssl="disable"), tls_preferred=connected(names_database, ssl="prefer"),
    types=connected(types), prepared=connected(prepared), pipeline=connected(pipelined), copy=connected(copied),
    cancel=connected(cancelled), notify=connected(notified), transactions=connected(transactions),
    errors=connected(errors), concurrent=concurrent, reconnect=connected(reconnected))
