"""Every driver runs the same script. What passed is the table of docs/compatibility.md: with ROUTERD_WRITE_DOCS=1
the run writes it, without it checks that the committed one names the same drivers and steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router import clean_environment

DRIVERS = Path(__file__).with_name("drivers")
ROOT = Path(__file__).parents[2]
# Room for a driver's 64 connections, all open at once.
ROUTER_ARGUMENTS = ("--max-connections", "80")
PGJDBC = "/usr/share/java/postgresql.jar"
TABLE = ROOT / "docs/compatibility.md"
STEPS = {
    "connect": "connects without TLS and finds the tenant's name in `current_database()`",
    "tls_preferred": "asks for TLS first and goes on without after the refusal",
    "types": "numbers, text, dates, binary, arrays, JSON, null, there and back",
    "prepared": "one prepared statement, twenty executions",
    "pipeline": "many statements sent before the first answer is read",
    "copy": "`COPY` of 10,000 rows in and out",
    "cancel": "cancels a running query (`57014`), the session lives on",
    "notify": "a notification from another session, with the right process id",
    "transactions": "commit and rollback",
    "errors": "`22012` and `42601` arrive as such, the session lives on",
    "concurrent": "64 connections open at once",
    "reconnect": "notices that the server ended the session, and connects again",
}

TOOLS = """
## PostgreSQL's own tools

They take one server for one cluster; here each database name is a cluster (`Tests/integration/test_tools.py`).

- **pg_isready** connects like any client: without `-d` to the database that is named as the user. So it makes that
  tenant or wakes it, and answers for it.
- **psql -l** lists the databases of one instance: `psql -l -d NAME`. Without `-d` it asks the tenant `postgres`,
  which is made for that. Other tenants are not listed.
- **createdb**, **dropdb** act inside one instance: `--maintenance-db=NAME`, or else the tenant `postgres`. What
  they make cannot be reached through the router, where that name is a tenant of its own, made by connecting; dropdb
  leaves that one.
- **pg_dumpall** `-l NAME` dumps one tenant with its roles, the router's own role `routerd` among them. Of a
  database that createdb made inside, it finds only the tenant of that name.
- **vacuumdb** works on a tenant; with `--all --maintenance-db=NAME` it goes on to the *tenants* whose names it
  found inside, `template1` among them.
- **pg_basebackup** and **pg_receivewal** speak to a server, not to a database: name the tenant with
  `PGOPTIONS='-c routerd.tenant=NAME'`, or they are refused. A backup becomes a tenant again as the directory NAME below another
  server's `--dir`. **pg_recvlogical** takes `-d NAME` (`Tests/integration/test_replication.py`).
- **A subscription** connects from inside its tenant, which takes `--tenant-network`; `wal_level = logical` is the publishing
  tenant's own to set (`ALTER SYSTEM`, effective when it next starts).

## Prisma

Prisma itself is not run. What `migrate dev` sends, put together from the source of its schema engine, is replayed
over the simple and the extended protocol, shadow database included (`Tests/integration/test_prisma.py`). Each run leaves
the shadow database as a tenant `prisma_migrate_shadow_db_…`, because `DROP DATABASE` acts inside the main tenant's
instance.
"""


def python(directory):
    return [sys.executable, DRIVERS / directory / "main.py"]


def compiled_go(directory):
    """Debian's sources of lib/pq lie in a GOPATH; nothing is fetched."""
    program = directory / "lib-pq"
    subprocess.run(
        ["/usr/bin/go", "build", "-o", program, DRIVERS / "lib-pq/main.go"], check=True, timeout=300,
        env=clean_environment() | {
            "GOPATH": "/usr/share/gocode", "GO111MODULE": "off", "GOFLAGS": "",
            "GOCACHE": str(ROOT / ".build/go-cache"), "CGO_ENABLED": "0"})
    version = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Version}", "golang-github-lib-pq-dev"], check=True,
        capture_output=True, text=True).stdout.partition("-")[0]
    return ["env", f"LIB_PQ_VERSION={version}", program]


# Each as users call it, and how it is started.
PROGRAMS = {
    "psycopg 3": lambda _: python("psycopg3"),
    "psycopg2": lambda _: python("psycopg2"),
    "asyncpg": lambda _: python("asyncpg"),
    "pg8000": lambda _: python("pg8000"),
    "SQLAlchemy": lambda _: python("sqlalchemy"),
    "node-postgres": lambda _: ["node", DRIVERS / "node-pg/main.js"],
    # Debian's modules are built for Debian's interpreters, whatever else is on the PATH.
    "Perl DBD::Pg": lambda _: ["/usr/bin/perl", DRIVERS / "dbd-pg/main.pl"],
    "Ruby pg": lambda _: ["/usr/bin/ruby", DRIVERS / "ruby-pg/main.rb"],
    "PHP PDO": lambda _: ["/usr/bin/php", DRIVERS / "php-pdo/main.php"],
    "Go lib/pq": compiled_go,
    # The launcher compiles the one file in memory; the second compiler of the machine would only delay that.
    "pgjdbc": lambda _: [
        "java", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp", PGJDBC, DRIVERS / "pgjdbc/Main.java"],
}


@pytest.fixture(scope="module")
def results():
    return {}


@pytest.mark.parametrize("driver", PROGRAMS)
def test_driver(router, results, driver, tmp_path):
    command = PROGRAMS[driver](tmp_path)
    database = "driver_" + "".join(letter for letter in driver.lower() if letter.isalnum())
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        env=clean_environment() | {
            "PYTHONPATH": str(DRIVERS / "shared"), "NODE_PATH": str(ROOT / ".build/node/usr/share/nodejs"),
            "ROUTERD_TEST_HOST": router.host, "ROUTERD_TEST_PORT": str(router.port),
            "ROUTERD_TEST_DATABASE": database})
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    version, *reports = (json.loads(line) for line in result.stdout.splitlines() if line.startswith("{"))
    assert [report["step"] for report in reports] == list(STEPS), output
    errors = "\n".join(f"{report['step']}: {report['error']}" for report in reports if "error" in report)
    assert not errors, errors
    results[driver] = (version["version"], {report["step"]: report.get("skipped") for report in reports})


def test_table(results):
    """The committed table is what this run found, versions aside: those are the ones of whoever wrote it."""
    if len(results) < len(PROGRAMS):
        pytest.skip("not every driver passed in this run")
    if os.environ.get("ROUTERD_WRITE_DOCS") == "1":
        TABLE.write_text(_document(results))
    assert _table(TABLE.read_text()) == _table(_document(results)), "write it anew: ROUTERD_WRITE_DOCS=1"


def _document(results):
    heads = " | ".join(step.replace("_", " ") for step in STEPS)
    lines = [
        "# Drivers", "",
        "Written by the driver matrix of `make test` (`Tests/integration/test_driver_matrix.py`); anew with", "",
        "```console", "$ ROUTERD_WRITE_DOCS=1 make integration TESTS=\"-k driver_matrix\"", "```", "",
        "✓ passed; – the driver has no such thing, for the reason below the table.", "",
        f"| Driver | Version | {heads} |", "|---" * (len(STEPS) + 2) + "|"]
    for driver, (version, steps) in results.items():
        marks = " | ".join("–" if skipped else "✓" for skipped in steps.values())
        lines.append(f"| {driver} | {version} | {marks} |")
    lines += ["", "Without:", ""]
    for driver, (_, steps) in results.items():
        reasons = "; ".join(f"{step.replace('_', ' ')}: {skipped}" for step, skipped in steps.items() if skipped)
        lines += [f"- {driver}: {reasons}."] if reasons else []
    lines += ["", "## Steps", ""]
    lines += [f"- **{step.replace('_', ' ')}**: {meaning}." for step, meaning in STEPS.items()]
    return "\n".join(lines) + "\n" + TOOLS


def _table(text):
    """The cells without the versions."""
    rows = (line.strip("|").split("|") for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for number, cell in enumerate(row) if number != 1] for row in rows]
