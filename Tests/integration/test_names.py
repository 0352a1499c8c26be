"""Names from a startup packet become directories: none leaves the base directory, no two share one."""

import re

import pytest

NAMES = [
    "../../x",
    "/etc/passwd",
    "/tmp/absolute",
    ".",
    "..",
    "...",
    ".routerd",
    ".hidden",
    "a/b",
    "a\\b",
    "-rf",
    "~root",
    "with space",
    " leading and trailing ",
    'quo"te',
    "quo'te",
    "dollar$$sign",
    "semi;colon",
    "percent%20",
    "percent 20",
    "new\nline",
    "tab\tand\x01control",
    "UPPER",
    "upper",
    "ünïcödé",
    "数据库",
    "🐘",
    "lost+found",
    "con",
    "x" * 63,
    "é" * 31 + ".",
    "." * 63,
]


@pytest.fixture(scope="module")
def outside(router):
    """What lay beside the base directory before."""
    return set(router.home.iterdir())


def test_any_valid_name_is_a_tenant_inside_the_directory(router, outside):
    """`../../x` became a path and a cluster was made two directories up."""
    for name in NAMES:
        before = router.tenants()
        with router.wire() as connection:
            transcript = connection.startup("alice", name)
            assert not transcript.errors, f"{name!r}: {transcript.errors[0]}"
            assert connection.query("SELECT current_database()").value == name
        created = router.tenants() - before
        assert len(created) == 1, f"{name!r} made {created}"
        (directory,) = created
        assert re.fullmatch(r"([A-Za-z0-9_-]|%[0-9A-F]{2})+", directory), f"{name!r} made {directory!r}"
    assert set(router.home.iterdir()) == outside
    assert len(router.tenants()) == len(NAMES)


@pytest.mark.parametrize("name", [b"x" * 64, b"x" * 5000, "é".encode() * 32, b"\xff\xfe", b"half\xc3", b"\xed\xa0\x80"],
                         ids=["64 bytes", "5000 bytes", "64 bytes of two each", "no UTF-8", "cut UTF-8", "surrogate"])
def test_invalid_names_create_nothing(router, name):
    """PostgreSQL truncates at 63 bytes, so two long names became one database."""
    before = router.tenants()
    with router.wire() as connection:
        (error,) = connection.startup("alice", name).errors
        assert (error.severity, error.sqlstate) == ("FATAL", "22023"), error
        assert connection.is_closed(within=2)
    assert router.tenants() == before


def test_template0_answers_as_postgresql_does(router):
    """Cloning into `template0` would make the one database that tools rely on being pristine."""
    with router.wire() as connection:
        (error,) = connection.startup("alice", "template0").errors
    assert (error.severity, error.sqlstate) == ("FATAL", "55000")
    assert error.text == 'database "template0" is not currently accepting connections'
    assert "template0" not in router.tenants()


@pytest.mark.parametrize("name", ["routerd", "pgbouncer"])
def test_console_names_are_reserved(router, name):
    """A tenant that took the console's name first would hide the console for ever."""
    with router.wire() as connection:
        assert not connection.startup("alice", name).errors
        assert connection.query("SHOW STATE").value == "state"
    assert name not in router.tenants()


def test_names_survive_a_restart(routers):
    """A name decoded differently than it was encoded would be a second, empty database after the restart."""
    router = routers()
    names = ["percent%20", "percent 20", "../x", "数据库", "."]
    for index, name in enumerate(names):
        with router.wire() as connection:
            connection.startup("alice", name)
            assert not connection.query(f"CREATE TABLE numbered AS SELECT {index} AS number").errors
    router.stop()
    router.restart()
    for index, name in enumerate(names):
        with router.wire() as connection:
            assert connection.startup("alice", name).notices == []
            assert connection.query("SELECT number FROM numbered").value == str(index)
