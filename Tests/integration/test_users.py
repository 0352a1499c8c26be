"""Without authentication any user name is accepted, and is a role once it has connected."""

import asyncio
import os
import time

import pytest

import wire


@pytest.mark.parametrize(
    "user", ["alice", "postgres", "Mixed Case", 'quo"te', "quo'te", "dollar$$", "ünïcödé", "back\\slash", "x" * 63,
             "pg_is_reserved_only_as_prefix"[3:]])
def test_any_user_name_becomes_a_role(router, user):
    """`FATAL: role "x" does not exist` is the first thing that newcomers to PostgreSQL meet."""
    with router.wire() as connection:
        transcript = connection.startup(user, "users")
        assert not transcript.errors, transcript.errors
        assert connection.query("SELECT current_user").value == user
    with router.wire() as connection:
        connection.startup("observer", "users")
        connection.send(wire.extended_query("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", user))
        assert connection.until_ready().value == "t"


def test_a_user_can_do_what_an_owner_does(router, name):
    """The role that was made can make tables, schemas, roles and extensions in its database."""
    for user in ("first_user", "second_user"):
        with router.connect(name, user) as connection:
            connection.execute(f"CREATE SCHEMA {user}_schema")
            connection.execute(f"CREATE TABLE {user}_schema.t (n int)")
            connection.execute(f"CREATE TABLE public.{user}_t (n int)")
            connection.execute(f"CREATE ROLE {user}_made")


def test_a_role_that_exists_keeps_its_own_error(router, name):
    """The router creates what is absent; it never widens a role somebody restricted."""
    with router.connect(name, "admin") as connection:
        connection.execute("CREATE ROLE no_entry NOLOGIN")
        connection.execute("CREATE ROLE expired LOGIN CONNECTION LIMIT 0")
    with router.wire() as connection:
        (error,) = connection.startup("no_entry", name).errors
    assert (error.severity, error.sqlstate) == ("FATAL", "28000")
    assert error.text == 'role "no_entry" is not permitted to log in'
    with router.wire() as connection:
        (error,) = connection.startup("expired", name).errors
    assert (error.severity, error.sqlstate) == ("FATAL", "53300")
    assert router.value(name, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'no_entry'", user="admin") is False


def test_thirty_connections_of_a_new_user_at_once(router, name):
    """Each of them found the role absent, and all but one failed to create it."""
    router.value(name, "SELECT 1")

    async def all_at_once():
        return await asyncio.gather(
            *(wire.one_query(router.address, "newcomer", name, "SELECT current_user") for _ in range(30)))

    assert asyncio.run(all_at_once()) == ["newcomer"] * 30


def test_a_role_dropped_in_between_is_made_again(router, name):
    """What the router remembers of roles is not what the catalog says."""
    router.value(name, "SELECT 1", user="short_lived")
    router.value(name, "SELECT 1", user="admin")
    with router.connect(name, "admin") as connection:
        connection.execute("DROP ROLE short_lived")
    assert router.value(name, "SELECT current_user", user="short_lived") == "short_lived"


def test_a_prefix_postgresql_reserves(router, name):
    """PostgreSQL refuses role names that begin with pg_; its answer is passed on, nothing hangs."""
    router.value(name, "SELECT 1")
    with router.wire() as connection:
        (error,) = connection.startup("pg_newcomer", name).errors
    assert error.severity == "FATAL"


@pytest.mark.soak
@pytest.mark.skipif(not os.environ.get("ROUTERD_SOAK"), reason="takes ten seconds, the deadline of a statement")
def test_roles_that_cannot_be_made_do_not_wait_for_each_other(router, name):
    """One connection is kept for the router's statements: on an instance that hung, the third new user was told after
    thirty seconds what the first one was told after ten."""
    with router.connect(name, "admin") as connection, connection.transaction():
        # New users are still looked up, and cannot be written.
        connection.execute("LOCK TABLE pg_catalog.pg_authid IN SHARE MODE")
        clients = [router.wire() for _ in range(3)]
        begun = time.monotonic()
        for number, client in enumerate(clients):
            client.send(wire.startup_packet(f"new_{number}", name))
        for client in clients:
            with client:
                assert client.until_ready().errors
        assert 8 < time.monotonic() - begun < 15
