"""What Prisma's `migrate dev` sends, message by message as tokio-postgres does it: scripts by the simple protocol,
everything else prepared, described, executed and closed in rounds of their own. The sequence was put together from the
published source of its schema engine, not from a recording; Prisma itself cannot be installed from Debian or PyPI."""

import struct
import uuid

import wire
from wire import message

MIGRATIONS = {
    "20240101000000_init": """
        -- CreateTable
        CREATE TABLE "User" ("id" SERIAL NOT NULL, "email" TEXT NOT NULL, CONSTRAINT "User_pkey" PRIMARY KEY ("id"));
        -- CreateIndex
        CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
        """,
    "20240102000000_posts": """
        -- AlterTable
        ALTER TABLE "User" ADD COLUMN "name" TEXT;
        -- CreateTable
        CREATE TABLE "Post" ("id" SERIAL NOT NULL, "authorId" INTEGER NOT NULL,
            CONSTRAINT "Post_pkey" PRIMARY KEY ("id"));
        -- AddForeignKey
        ALTER TABLE "Post" ADD CONSTRAINT "Post_authorId_fkey" FOREIGN KEY ("authorId") REFERENCES "User"("id")
            ON DELETE RESTRICT ON UPDATE CASCADE;
        """,
}
COLUMNS = """
    SELECT info.table_name, info.column_name, format_type(att.atttypid, att.atttypmod) AS formatted_type
    FROM information_schema.columns info
    JOIN pg_attribute att ON att.attname = info.column_name
    JOIN (SELECT pg_class.oid, relname, pg_namespace.nspname AS namespace FROM pg_class
          JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace AND pg_namespace.nspname = ANY ($1)) AS oid
        ON oid.oid = att.attrelid AND relname = info.table_name AND namespace = info.table_schema
    WHERE table_schema = ANY ($1) ORDER BY table_name, ordinal_position"""
HISTORY = """
    SELECT "id", "checksum", "finished_at", "migration_name", "logs", "rolled_back_at", "started_at",
           "applied_steps_count"
    FROM "_prisma_migrations" ORDER BY "started_at" ASC"""
HISTORY_TABLE = """
    CREATE TABLE "_prisma_migrations" (
        id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ,
        migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ,
        started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0);"""


def test_migrate_dev(router, name):
    """The shadow database is created on the main connection, used at once through a second one, and dropped on the
    first; it starts empty, and the main one knows nothing of what was tried in it."""
    with Engine(router, name) as main:
        for applied, migration in enumerate(MIGRATIONS):
            main.script("SELECT pg_advisory_lock(72707369)")
            assert _locked_for_others(router, name)
            _expect_history(main, applied)
            tables_before = main.tables()
            shadow_tables = _in_shadow_database(router, main, list(MIGRATIONS)[:applied + 1])
            assert main.tables() == tables_before
            _apply(main, migration, first=applied == 0)
            assert main.tables() - {"_prisma_migrations"} == shadow_tables
            main.script("SELECT pg_advisory_unlock(72707369)")
            assert not _locked_for_others(router, name)
        _expect_history(main, len(MIGRATIONS))
        assert main.tables() == {"User", "Post", "_prisma_migrations"}
    # DROP DATABASE acts inside the main tenant's instance, so the shadow tenants stay.
    assert sum(tenant.startswith("prisma_migrate_shadow_db_") for tenant in router.tenants()) == len(MIGRATIONS)


def _in_shadow_database(router, main, migrations):
    """The tables that the migrations make from nothing."""
    shadow_name = f"prisma_migrate_shadow_db_{uuid.uuid4()}"
    main.script(f'CREATE DATABASE "{shadow_name}"')
    try:
        with Engine(router, shadow_name) as shadow:
            assert shadow.tables() == set()
            for migration in migrations:
                shadow.script(MIGRATIONS[migration])
            return shadow.tables()
    finally:
        main.script(f'DROP DATABASE IF EXISTS "{shadow_name}" WITH (FORCE)')


def _apply(main, migration, first):
    identity = str(uuid.uuid4())
    if first:
        main.script(HISTORY_TABLE)
    main.prepared(
        'INSERT INTO "_prisma_migrations" ("id", "checksum", "started_at", "migration_name") '
        "VALUES ($1, $2, now(), $3)", identity, "0" * 64, migration)
    main.script(MIGRATIONS[migration])
    main.prepared(
        'UPDATE "_prisma_migrations" SET "applied_steps_count" = "applied_steps_count" + 1 WHERE "id" = $1', identity)
    main.prepared('UPDATE "_prisma_migrations" SET "finished_at" = now() WHERE "id" = $1', identity)


def _expect_history(main, applied):
    """Without its table the engine takes the SQLSTATE for "nothing applied yet"."""
    try:
        names = [row[3] for row in main.prepared(HISTORY)]
    except wire.ServerError as error:
        assert error.sqlstate == "42P01", error
        names = []
    assert names == list(MIGRATIONS)[:applied]


def _locked_for_others(router, name):
    with router.connect(name, user="prisma") as other:
        got = other.execute("SELECT pg_try_advisory_lock(72707369)").fetchone()[0]
    return not got


class Engine:
    """One connection of the schema engine."""

    def __init__(self, router, database):
        self.connection = router.wire()
        self.connection.send(wire.SSL_REQUEST)
        assert self.connection.exactly(1) == b"N"
        started = self.connection.startup("prisma", database, client_encoding="UTF8")
        assert not started.errors and started.parameters["client_encoding"] == "UTF8"
        self._statements = 0
        self.script('SET search_path = "public"')
        self.prepared("SELECT version()")
        (row,) = self.prepared(
            "SELECT EXISTS(SELECT 1 FROM pg_namespace WHERE nspname = $1), version(), "
            "current_setting('server_version_num')::integer AS numeric_version", "public")
        assert row[0] == "\x01"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.send(message(b"X"))
        self.connection.close()

    def script(self, sql):
        """By the simple protocol, several statements in one message."""
        transcript = self.connection.query(sql)
        if transcript.errors:
            raise transcript.errors[0]

    def prepared(self, sql, *parameters):
        """Parse and Describe, then Bind and Execute, then Close, each with its Sync; results in binary."""
        statement = f"s{self._statements}".encode() + b"\0"
        self._statements += 1
        self._round(
            message(b"P", statement + sql.encode() + b"\0\0\0") + message(b"D", b"S" + statement))
        values = b"".join(struct.pack("!i", len(value)) + value for value in (one.encode() for one in parameters))
        try:
            return self._round(
                message(b"B", b"\0" + statement + struct.pack("!hh", 0, len(parameters)) + values
                        + struct.pack("!hh", 1, 1))
                + message(b"E", b"\0\0\0\0\0")).rows
        finally:
            self._round(message(b"C", b"S" + statement))

    def tables(self):
        return {row[0] for row in self.prepared(COLUMNS, "{public}")}

    def _round(self, messages):
        self.connection.send(messages + message(b"S"))
        transcript = self.connection.until_ready()
        if transcript.errors:
            raise transcript.errors[0]
        return transcript
