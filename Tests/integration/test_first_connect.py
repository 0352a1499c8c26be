"""Connecting to a name is all it takes to have a PostgreSQL of one's own."""

import json

import psycopg
import pytest


def test_first_connect_creates_a_real_cluster(router, name):
    """An embedded look-alike has no WAL and no version file: what lies in the directory must be PostgreSQL's."""
    assert router.value(name, "SELECT current_database()") == name
    cluster = router.directory / name
    assert (cluster / "base").is_dir()
    assert (cluster / "pg_wal").is_dir()
    major = int((cluster / "PG_VERSION").read_text())
    assert router.value(name, "SHOW server_version_num")[:2] == str(major)


def test_creation_is_noticed_and_logged_once(router, name):
    """A typing error in a connection string used to make a database without a word."""
    with router.wire() as first:
        notices = [notice.text for notice in first.startup("alice", name).notices]
    assert any("created new database" in text for text in notices), notices
    with router.wire() as second:
        assert second.startup("alice", name).notices == []
    assert len([line for line in router.log.splitlines() if name in line and "created new database" in line]) == 1


def test_databases_are_isolated(router, name):
    """Two names must not meet in any catalog: tables, roles, settings of one are not the other's."""
    one, other = name + "_1", name + "_2"
    with router.connect(one) as connection:
        connection.execute("CREATE TABLE secret (value text)")
        connection.execute("INSERT INTO secret VALUES ('mine')")
        connection.execute("CREATE ROLE only_here")
        connection.execute("ALTER ROLE ALL SET work_mem = '7MB'")
    with router.connect(other) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM secret")
        assert connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'only_here'").fetchone() == (0,)
        assert connection.execute("SHOW work_mem").fetchone() != ("7MB",)
    assert router.value(one, "SELECT value FROM secret") == "mine"


def test_each_cluster_has_an_identity_of_its_own(router, name):
    """Clones of one template shared a system identifier: tools that tell clusters apart by it restored one
    tenant's WAL into another."""
    identifiers = {
        router.value(f"{name}_{index}", "SELECT system_identifier FROM pg_control_system()") for index in range(3)}
    assert len(identifiers) == 3


def test_ordinary_tenants_named_like_databases_of_postgres(router):
    """`postgres` and `template1` exist in every cluster, so a clone renamed to them collided with itself."""
    for name in ("postgres", "template1"):
        assert router.value(name, "SELECT current_database()") == name
        assert (router.directory / name / "PG_VERSION").exists()


def test_no_database_means_the_users_name(router):
    """Without a database in the startup packet everybody met in `postgres` (PostgreSQL takes the user's name)."""
    with router.wire() as connection:
        transcript = connection.startup("named_by_user", None)
        assert not transcript.errors
        assert connection.query("SELECT current_database(), current_user").rows == [["named_by_user", "named_by_user"]]
    with router.wire() as connection:
        connection.startup("named_by_user", "")
        assert connection.query("SELECT current_database()").value == "named_by_user"


def test_the_database_carries_no_trace_of_the_template(router, name):
    """The renamed database kept its comment, "default administrative connection database", in every psql \\l+."""
    comment = router.value(
        name, "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()")
    assert comment is None


def test_encoding_and_collation_do_not_depend_on_the_machine(router, name):
    """A router started with LANG=C made SQL_ASCII databases, which cannot be repaired afterwards."""
    assert router.value(name, "SHOW server_encoding") == "UTF8"
    assert router.value(
        name, "SELECT datcollate FROM pg_database WHERE datname = current_database()") in ("C.UTF-8", "C.utf8")


def test_without_auto_provision_unknown_names_are_refused(routers, name):
    """A wrong name answers as PostgreSQL does, and leaves nothing behind."""
    router = routers()
    router.value("known", "SELECT 1")
    router.stop()
    router.arguments.append("--no-auto-provision")
    router.restart()
    assert router.value("known", "SELECT 1") == 1
    with router.wire() as connection:
        (error,) = connection.startup("alice", "unknown").errors
    assert (error.severity, error.sqlstate) == ("FATAL", "3D000")
    assert error.text == 'database "unknown" does not exist'
    assert router.tenants() == {"known"}
    router.stop()
    router.arguments.remove("--no-auto-provision")
    router.environment["ROUTERD_AUTO_PROVISION"] = "off"
    router.restart()
    with router.wire() as connection:
        assert connection.startup("alice", "unknown").errors[0].sqlstate == "3D000"


def test_json_log_is_one_object_a_line(routers):
    """Log collectors drop lines they cannot parse, among them always the important ones."""
    router = routers("--log-format", "json", "--log-level", "debug")
    router.value("logged", "SELECT 1")
    router.stop()
    lines = [json.loads(line) for line in router.log.splitlines() if line.strip()]
    assert any("logged" in json.dumps(line) for line in lines)
