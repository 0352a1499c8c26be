"""What drivers do beside the script that all of them run (test_driver_matrix.py)."""

import asyncio

import asyncpg
import psycopg
import pytest


def test_psycopg_that_insists_on_tls(router, name):
    """Until TLS is configured a client that insists on it must learn so at once."""
    with pytest.raises(psycopg.OperationalError, match="SSL"):
        router.connect(name, sslmode="require")


def test_asyncpg_cursors_and_pools(router, name):
    """A portal that is suspended after each few rows, and connections that are reset before they are used again."""

    async def use():
        async with asyncpg.create_pool(
                host=router.host, port=router.port, user="alice", database=name, min_size=2, max_size=10) as pool:
            async with pool.acquire() as connection, connection.transaction():
                rows = [row["n"] async for row in connection.cursor("SELECT n FROM generate_series(1, 500) n", prefetch=7)]
            assert rows == list(range(1, 501))
            assert await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(100))) == list(range(100))

    asyncio.run(use())
