"""PostgreSQL's own tools take a tenant for what it is: PostgreSQL."""

import pytest

from router import postgres_program

SCHEMA = """
CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE NOT NULL, body jsonb);
CREATE TABLE child (id int PRIMARY KEY, parent bigint REFERENCES parent ON DELETE CASCADE, at timestamptz);
CREATE INDEX ON parent USING gin (body);
CREATE VIEW joined AS SELECT p.name, c.at FROM parent p JOIN child c ON c.parent = p.id;
CREATE FUNCTION double(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN n * 2; END $$;
INSERT INTO parent (name, body) SELECT 'name ' || n, jsonb_build_object('n', n) FROM generate_series(1, 2000) n;
INSERT INTO child SELECT n, n, '2024-02-29 12:00+00'::timestamptz + n * interval '1 h' FROM generate_series(1, 2000) n;
SELECT lo_from_bytea(424242, 'a large object');
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_dump_and_restore_into_a_tenant_made_by_connecting(router, name, tmp_path, jobs):
    """The way out, and the way in: a dump of one tenant restores into another that did not exist before."""
    source, target = f"{name}_from", f"{name}_to"
    router.run(postgres_program("psql"), "-v", "ON_ERROR_STOP=1", "-X", "-q", "-c", SCHEMA, database=source)
    format = ["-Fc", "-f", tmp_path / "dump"] if jobs == 1 else ["-Fd", "-j", jobs, "-f", tmp_path / "dump"]
    router.run(postgres_program("pg_dump"), *format, database=source)
    router.run(
        postgres_program("pg_restore"), "--exit-on-error", "-j", jobs, "-d", target, tmp_path / "dump")
    plain = [
        [line for line in router.run(postgres_program("pg_dump"), database=which).stdout.splitlines()
         if not line.startswith(("\\restrict", "\\unrestrict"))]
        for which in (source, target)]
    assert plain[0] == plain[1]
    assert len(plain[0]) > 4000
    assert router.value(target, "SELECT double(21)") == 42
    assert bytes(router.value(target, "SELECT lo_get(424242)")) == b"a large object"


def test_plain_dump_through_psql(router, name):
    """What most people do: one pipe."""
    router.run(postgres_program("psql"), "-v", "ON_ERROR_STOP=1", "-X", "-q", "-c", SCHEMA, database=f"{name}_from")
    dump = router.run(postgres_program("pg_dump"), database=f"{name}_from").stdout
    router.run(
        postgres_program("psql"), "-v", "ON_ERROR_STOP=1", "-X", "-q", "-f", "-", database=f"{name}_to", input=dump)
    assert router.value(f"{name}_to", "SELECT count(*) FROM joined") == 2000


def test_psql_connection_string(router, name):
    """The first thing that anybody tries, as the README says it."""
    result = router.run(
        postgres_program("psql"), "-X", "-A", "-t", "-c", "SELECT current_database()",
        f"postgresql://{router.host}:{router.port}/{name}")
    assert result.stdout.strip() == name


def test_pg_isready_is_answered(router):
    """Health checks run every second; each must be answered, whatever it names."""
    result = router.run(postgres_program("pg_isready"), database="checked")
    assert "accepting connections" in result.stdout
