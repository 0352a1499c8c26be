"""What a tenant that nobody asks anything costs: nearly nothing."""

from concurrent.futures import ThreadPoolExecutor

import processes


def test_a_new_tenant_has_nothing_to_vacuum(router):
    """`initdb` counts what it inserts; with its counters each clone would vacuum the catalogs a minute after it began."""
    logged = router.value("alice", "SELECT wal_bytes FROM pg_stat_wal")
    assert logged < 100_000, "the write-ahead log of initdb is not the tenant's"
    [template] = (router.directory / ".routerd/template").iterdir()
    assert list((template / "pg_stat").iterdir()) == []


def test_shared_memory_of_statistics_and_parallel_queries_is_no_file(router):
    """The kernel writes a mapped file to the disk again and again, as long as somebody counts something in it."""
    files = "SELECT size FROM pg_ls_dir('pg_dynshmem') AS name, pg_stat_file('pg_dynshmem/' || name)"
    workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'"
    with router.connect("alice") as one, router.connect("alice") as other, ThreadPoolExecutor(1) as pool:
        one.execute("SET force_parallel_mode = on")
        asleep = pool.submit(one.execute, "SELECT pg_sleep(2)")
        assert processes.eventually(lambda: other.execute(workers).fetchone() == (1,), within=2)
        sizes = [size for size, in other.execute(files)]
        asleep.result()
    assert len(sizes) == 1 and sizes[0] < 64 << 10, "only the list of segments"
