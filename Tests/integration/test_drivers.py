"""Drivers beside libpq, each with what it does differently."""

import asyncio
import datetime
import os
import shutil
import subprocess
from pathlib import Path

import asyncpg
import psycopg
import pytest

NODE_MODULES = Path(__file__).parents[2] / ".build/node/usr/share/nodejs"


def test_psycopg(router, name):
    """Server-side prepared statements, a pipeline, binary results, errors inside a transaction."""
    with router.connect(name, autocommit=False) as connection:
        connection.execute("CREATE TABLE t (n int PRIMARY KEY, d date)")
        for number in range(20):
            connection.execute(
                "INSERT INTO t VALUES (%s, %s)", (number, datetime.date(2024, 2, 29)), prepare=True)
        connection.commit()
        with connection.pipeline():
            cursors = [connection.execute("SELECT n, d FROM t WHERE n = %s", (number,)) for number in range(20)]
        assert [cursor.fetchone() for cursor in cursors] == [(n, datetime.date(2024, 2, 29)) for n in range(20)]
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO t VALUES (1, NULL)")
        connection.rollback()
        with connection.cursor(name="server_side") as cursor:
            cursor.itersize = 3
            assert len(list(cursor.execute("SELECT * FROM t"))) == 20
        with connection.cursor(binary=True) as cursor:
            assert cursor.execute("SELECT sum(n) FROM t").fetchone() == (190,)


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
def test_psycopg_sslmode(router, name, sslmode):
    """`prefer` is libpq's default: an SSLRequest first, and on with the same socket after the refusal."""
    with router.connect(name, sslmode=sslmode) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_psycopg_sslmode_require_is_refused(router, name):
    """Until TLS is configured a client that insists on it must learn so at once."""
    with pytest.raises(psycopg.OperationalError, match="SSL"):
        router.connect(name, sslmode="require")


def test_asyncpg(router, name):
    """asyncpg sends a type introspection query of its own and everything in binary."""

    async def use():
        connection = await asyncpg.connect(
            host=router.host, port=router.port, user="alice", database=name, timeout=30)
        try:
            await connection.execute("CREATE TABLE t (n int, tags text[], body jsonb)")
            await connection.executemany(
                "INSERT INTO t VALUES ($1, $2, $3)", [(n, ["a", "b"], '{"n": 1}') for n in range(100)])
            async with connection.transaction():
                total = 0
                async for row in connection.cursor("SELECT n, tags FROM t"):
                    total += row["n"]
                    assert row["tags"] == ["a", "b"]
            assert total == 4950
            await connection.copy_records_to_table("t", records=[(n, [], "{}") for n in range(1000)])
            assert await connection.fetchval("SELECT count(*) FROM t") == 1100
            with pytest.raises(asyncio.TimeoutError):  # which asyncpg turns into a cancel request
                await connection.execute("SELECT pg_sleep(20)", timeout=0.3)
            assert await connection.fetchval("SELECT 1") == 1
        finally:
            await connection.close()
        async with asyncpg.create_pool(
                host=router.host, port=router.port, user="alice", database=name, min_size=2, max_size=10) as pool:
            assert await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(100))) == list(range(100))

    asyncio.run(use())


def test_node_pg(router, name):
    """node-postgres: a pool, parameters, a notification, a pipeline of queries on one connection."""
    node = shutil.which("node")
    assert node and NODE_MODULES.is_dir(), "scripts/install.sh test installs node and node-pg"
    result = subprocess.run(
        [node, Path(__file__).with_name("driver.js")], capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {
            "NODE_PATH": str(NODE_MODULES),
            "ROUTERD_TEST_URL": f"postgresql://alice@{router.host}:{router.port}/{name}"})
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip() == "passed"
