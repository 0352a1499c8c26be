"""An instance that dies, hangs or cannot boot never hangs a client, never harms a neighbour, and comes back by itself."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time

import psycopg
import pytest

import processes
from router import BINARY, IS_ROOT
from terminal import CTRL_C, Terminal

# Sources/TenantRouter/Limits.swift: how long an instance may leave a connection unanswered.
CONNECT_DEADLINE = 15
SOAK = bool(os.environ.get("ROUTERD_SOAK"))
# What a client may be told while its instance restarts: PostgreSQL's words or the router's, never silence.
RESTARTING = ("57P01", "57P02", "57P03")


@contextlib.contextmanager
def stopped(pid):
    """A process that hangs: alive, its sockets open, and nothing comes from it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def attempt(router, database, timeout=CONNECT_DEADLINE + 10):
    """Seconds that a connect took, and the error it ended with, if any."""
    began = time.monotonic()
    with router.wire(timeout=timeout) as connection:
        errors = connection.startup("alice", database).errors
    return time.monotonic() - began, errors[0] if errors else None


def end(pid):
    os.kill(pid, signal.SIGKILL)
    assert processes.eventually(lambda: processes.state(pid) in (None, "Z"), 5)


# Hanging


def test_a_hanging_postmaster_hangs_no_client(routers):
    """The kernel accepts connections for a postmaster that is stopped: clients waited for ever for its answer."""
    router = routers()
    answers = []
    with router.connect("hangs") as established, router.connect("lives") as neighbour:
        with stopped(router.postmaster("hangs")):
            clients = [threading.Thread(target=lambda: answers.append(attempt(router, "hangs"))) for _ in range(5)]
            for client in clients:
                client.start()
            slowest = 0
            while any(client.is_alive() for client in clients):
                began = time.monotonic()
                assert neighbour.execute("SELECT 1").fetchone() == (1,)
                assert router.value("lives", "SELECT 1") == 1
                assert established.execute("SELECT 1").fetchone() == (1,)
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.1)
        assert slowest < 2, f"others waited {slowest:.1f} s"
        assert len(answers) == 5
        for seconds, error in answers:
            assert CONNECT_DEADLINE - 1 < seconds < CONNECT_DEADLINE + 2
            assert (error.severity, error.sqlstate) == ("FATAL", "57P03")
            assert str(CONNECT_DEADLINE) in error.detail and error.hint
        # It was not ended for being slow, and the next client finds it as it was.
        assert router.value("hangs", "SELECT 1") == 1
        assert established.execute("SELECT 1").fetchone() == (1,)


def test_a_hanging_backend_is_its_own_clients_affair(router, name):
    """One stuck session must not take the tenant's other sessions along, nor keep its place when its client has gone."""
    held = router.connect(name)
    with stopped(held.info.backend_pid):
        began = time.monotonic()
        for _ in range(10):
            assert router.value(name, "SELECT 1") == 1
        held.close()
        assert router.value(name, "SELECT 1") == 1
        assert time.monotonic() - began < 3


# Dying


def test_exits_are_seen_at_once(router, name):
    """The router lived, the instance was dead, and idle clients held sockets nobody would write to again (row 12)."""
    with router.wire(timeout=10) as connection:
        assert not connection.startup("alice", name).errors
        os.kill(router.postmaster(name), signal.SIGKILL)
        assert connection.is_closed(within=2)
    assert router.value(name, "SELECT 1") == 1


@pytest.mark.soak
def test_an_instance_that_dies_again_and_again_under_load(routers):
    """A stale pid file, socket or shared memory of the last death stopped the next boot sooner or later (row 10)."""
    router = routers()
    rounds = 100 if SOAK else 20
    with router.connect("dies") as connection:
        connection.execute("CREATE TABLE written (writer int, n bigint, PRIMARY KEY (writer, n))")
    over = threading.Event()
    writers = [_Writer(router, number, over) for number in range(4)]
    with router.connect("lives") as neighbour:
        for writer in writers:
            writer.start()
        try:
            for number in range(rounds):
                before = [len(writer.acknowledged) for writer in writers]
                resumed = lambda: all(len(w.acknowledged) > count for w, count in zip(writers, before, strict=True))
                assert processes.eventually(resumed, 10), f"round {number}: no writer gets through\n{router.log}"
                _kill_something(router, "dies", whole=number % 2 == 0)
                assert neighbour.execute("SELECT 1").fetchone() == (1,)
        finally:
            over.set()
            for writer in writers:
                writer.join(30)
    assert not any(writer.is_alive() for writer in writers), "a client hangs"
    assert [writer.fault for writer in writers] == [None] * 4
    assert router.log.count("instance died") >= rounds // 2
    rows = processes.eventually(lambda: _written(router), 10)
    assert rows, router.log
    for writer in writers:
        assert {(writer.number, n) for n in writer.acknowledged} <= rows, "an acknowledged row is lost"


class _Writer(threading.Thread):
    """Inserts, reconnects when it is cut off, and notes what was acknowledged and every fault that is none of these."""

    def __init__(self, router, number, over):
        super().__init__(daemon=True)
        self.router, self.number, self.over = router, number, over
        self.acknowledged = []
        self.fault = None

    def run(self):
        n = 0
        while not self.over.is_set():
            try:
                with self.router.connect("dies") as connection:
                    while not self.over.is_set():
                        n += 1
                        connection.execute("INSERT INTO written VALUES (%s, %s)", (self.number, n))
                        self.acknowledged.append(n)
            except psycopg.Error as error:
                # Without a code: the connection broke in the middle, as PostgreSQL's own does.
                if error.sqlstate not in (*RESTARTING, None):
                    self.fault = f"{error.sqlstate} {error}"


def _written(router):
    """None while the last death still cuts sessions off."""
    try:
        with router.connect("dies") as connection:
            return set(connection.execute("SELECT writer, n FROM written").fetchall())
    except psycopg.OperationalError as error:
        assert error.sqlstate in (*RESTARTING, None), error


def _kill_something(router, tenant, whole):
    postmaster = processes.eventually(lambda: _living_postmaster(router, tenant), 10)
    assert postmaster, router.log
    # One of its sessions, or one of its other processes: both make PostgreSQL start over.
    children = [pid for pid in processes.descendants(postmaster) if processes.parent(pid) == postmaster]
    if whole or not children:
        end(postmaster)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(max(children), signal.SIGKILL)


def _living_postmaster(router, tenant):
    """None between the death of one and the boot of the next."""
    with contextlib.suppress(FileNotFoundError, IndexError):
        postmaster = router.postmaster(tenant)
        return postmaster if processes.state(postmaster) not in (None, "Z", "X") else None


# Not booting


def test_boots_that_keep_failing(routers):
    """A setting that PostgreSQL cannot start with made the router boot it again for each client, as fast as they came,
    and tell them nothing (row 12)."""
    router = routers()
    with router.connect("broken") as connection:
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'nonsense'")
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    end(router.postmaster("broken"))

    answers, until = [], time.monotonic() + 3
    with router.connect("lives") as neighbour:
        while time.monotonic() < until:
            answers.append(attempt(router, "broken"))
            assert neighbour.execute("SELECT 1").fetchone() == (1,)
    for seconds, error in answers:
        assert seconds < 3
        assert (error.severity, error.sqlstate) == ("FATAL", "57P03")
        assert 'could not access file "nonsense"' in error.detail
    shown = subprocess.run(
        shlex.split(re.search(r"tail \S+", answers[-1][1].hint)[0]), capture_output=True, text=True, check=True)
    assert "nonsense" in shown.stdout
    # It backs off: two attempts at first, then after 250 ms, 500 ms, 1 s, 2 s, give or take the jitter.
    boots = router.log.count("cannot start:")
    assert 2 <= boots <= 8, f"{boots} boots for {len(answers)} clients in 3 s"
    assert len(answers) > 2 * boots

    settings = router.directory / "broken" / "postgresql.auto.conf"
    settings.write_text("".join(line for line in settings.open() if "nonsense" not in line))

    def answer():
        with contextlib.suppress(psycopg.OperationalError):
            return router.value("broken", "SELECT answer FROM kept")

    assert processes.eventually(answer, within=16, interval=0.05) == 42


@pytest.mark.skipif(not IS_ROOT, reason="mounting a small file system takes root")
def test_a_full_disk_at_the_first_connect(routers):
    """The failure of a first provision was remembered for ever (row 4)."""
    router = routers.prepared()
    router.directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", router.directory], check=True)
    try:
        owner = os.stat(router.home)
        os.chown(router.directory, owner.st_uid, owner.st_gid)
        router.start()
        assert router.value("lives", "SELECT 1") == 1
        room = shutil.disk_usage(router.directory).free - (10 << 20)
        filler = router.directory / ".filler"
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room)

        for _ in range(3):
            seconds, error = attempt(router, "late")
            assert seconds < 5
            assert (error.severity, error.sqlstate) == ("FATAL", "53100")
            assert "Make room" in error.hint
            assert router.value("lives", "SELECT 1") == 1
            assert router.tenants() == {"lives"}, "half a cluster is left behind"
        assert not list((router.directory / ".routerd" / "staging").iterdir())

        filler.unlink()
        assert processes.eventually(lambda: attempt(router, "late")[1] is None, within=16, interval=0.05)
        assert router.value("late", "SELECT current_database()") == "late"
        router.stop()
    finally:
        if router.process is not None:
            router.kill()
            processes.eventually(lambda: not processes.in_directory(router.home), 5)
        subprocess.run(["umount", "-l", router.directory], check=True)


# Left behind


@pytest.mark.on_disk
@pytest.mark.soak
def test_restart_within_50_ms_of_kill_nine_under_load(routers):
    """The killed router's postmasters still ran when the next one came: "lock file postmaster.pid already exists", or
    two postmasters in one directory (rows 10, 17)."""
    router = routers()
    with router.connect("dies") as connection:
        connection.execute("CREATE TABLE written (writer int, n bigint, PRIMARY KEY (writer, n))")
    rounds, quick = 5 if SOAK else 1, 0
    # A busy machine takes longer to clear a killed process away; such a round shows less, and is played again.
    for _ in range(rounds + 5):
        if quick == rounds:
            break
        with router.connect("dies") as connection:
            connection.execute("TRUNCATE written")
        over = threading.Event()
        writers = [_Writer(router, number, over) for number in range(4)]
        for writer in writers:
            writer.start()
        assert processes.eventually(lambda: all(len(writer.acknowledged) > 20 for writer in writers), 10)
        earlier = set(processes.descendants(router.pid))
        router.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        router.process.wait()
        router.process = None
        quick += time.monotonic() - killed < 0.05
        # On the same port, so that the writers find it.
        router.start(port=router.port)
        count = [len(writer.acknowledged) for writer in writers]
        resumed = lambda: all(len(w.acknowledged) > c for w, c in zip(writers, count, strict=True))
        assert processes.eventually(resumed, 15), router.log
        over.set()
        for writer in writers:
            writer.join(30)
        assert [writer.fault for writer in writers] == [None] * 4
        alive = [pid for pid in earlier if processes.state(pid) not in (None, "Z", "X")]
        assert not alive, f"of the killed router:\n{processes.describe(alive)}"
        with router.connect("dies") as connection:
            rows = set(connection.execute("SELECT writer, n FROM written").fetchall())
        for writer in writers:
            assert {(writer.number, n) for n in writer.acknowledged} <= rows
    assert quick == rounds


def test_stale_and_misleading_pid_files(router, name):
    """A number in a stale `postmaster.pid` that belonged to somebody else by now stopped every boot, or got a stranger
    killed (row 10)."""
    with router.connect(name) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    stranger = subprocess.Popen(["sleep", "300"], cwd="/")
    with router.connect("lives_" + name) as neighbour:
        tenant = router.directory / name
        other = router.postmaster("lives_" + name)
        rest = f"\n{tenant}\n1700000000\n5432\n/tmp\n\n  5432001    163840\nready   \n"
        contents = {
            "empty": "", "garbage": "nobody\n\0\n", "negative": f"-42{rest}", "huge": f"99999999999999{rest}",
            "init": f"1{rest}", "stranger": f"{stranger.pid}{rest}", "router": f"{router.pid}{rest}",
            "a neighbour's postmaster": f"{other}{rest}",
        }
        try:
            for what, content in contents.items():
                end(router.postmaster(name))
                assert processes.eventually(lambda: not processes.in_directory(tenant), 5)
                (tenant / "postmaster.pid").write_text(content)
                assert router.value(name, "SELECT answer FROM kept") == 42, what
            assert stranger.poll() is None, "a stranger was ended"
            assert router.postmaster("lives_" + name) == other
            assert neighbour.execute("SELECT 1").fetchone() == (1,)
        finally:
            stranger.kill()
            stranger.wait()


def test_stale_sockets_and_their_locks(routers):
    """A socket's lock file that named a living process kept a postmaster from its own address (row 10)."""
    router = routers()
    assert router.value("tenant", "SELECT 1") == 1
    directory = (router.directory / "tenant" / "postmaster.pid").read_text().splitlines()[4]
    router.kill()
    router.expect_no_process(within=5)
    # In the place where it was, and in the data directory, where an earlier program might have had it.
    for place in (directory, router.directory / "tenant"):
        os.makedirs(place, exist_ok=True)
        for number in (5432, 1):
            with open(f"{place}/.s.PGSQL.{number}", "wb"), open(f"{place}/.s.PGSQL.{number}.lock", "w") as lock:
                lock.write(f"{os.getpid()}\n{router.directory / 'tenant'}\n1700000000\n{number}\n{place}\n")
    router.restart()
    assert router.value("tenant", "SELECT 1") == 1
    if directory.startswith("/"):
        shutil.rmtree(os.path.dirname(directory), ignore_errors=True)


def test_clusters_that_are_not_this_postgresqls(router, name):
    """A directory of another PostgreSQL was initialised over, or made to fail over and over without a word why."""
    tenant = router.directory / name
    (tenant / "global").mkdir(parents=True)
    (tenant / "PG_VERSION").write_text("9.6\n")
    before = _tree(tenant)
    _, error = attempt(router, name)
    assert (error.severity, error.sqlstate) == ("FATAL", "F0000")
    assert "PostgreSQL 9.6" in error.text and "--postgres-bin" in error.hint
    assert _tree(tenant) == before
    shutil.rmtree(tenant)
    # The cause is gone.
    assert processes.eventually(lambda: attempt(router, name)[1] is None, within=5, interval=0.05)


def _tree(directory):
    return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_uid) for path in directory.rglob("*"))


# Output and children


@pytest.mark.soak
def test_logging_every_statement_blocks_nothing_and_is_bounded(routers):
    """An undrained stderr pipe froze every backend of a database; a file without a bound filled the disk (row 11)."""
    router = routers()
    with router.connect("tenant") as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
    statement = f"SELECT 1 /* {'x' * 100_000} */"
    count = 1000 if SOAK else 150
    slowest = []

    def load():
        with router.connect("tenant") as connection:
            for _ in range(count):
                began = time.monotonic()
                connection.execute(statement)
                slowest.append(time.monotonic() - began)

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(120)
    assert len(slowest) == 4 * count and max(slowest) < 5
    # Its bound is 4 MB, looked at once a second.
    logs = router.directory / ".routerd" / "logs"
    assert processes.eventually(lambda: all(file.stat().st_size <= 4 << 20 for file in logs.iterdir()), 4)
    assert sum(file.stat().st_size for file in logs.iterdir()) < 5 << 20
    # What shows that they were logged at all.
    assert any(b"xxxxxxxx" in file.read_bytes() for file in logs.iterdir())


@pytest.fixture
def contained(routers, monkeypatch):
    """Prepared to be process 1 of a process namespace, as in most containers."""
    if not IS_ROOT:
        pytest.skip("making a process namespace takes root")
    router = routers.prepared()
    script = router.home / "container"
    script.write_text(
        f'#!/bin/sh\nexec unshare --pid --fork --mount-proc --kill-child {shlex.quote(str(BINARY))} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("router.BINARY", script)
    return router


@pytest.fixture
def container(contained):
    """The process id of process 1, and the router."""
    contained.start()
    [first] = children(contained.pid)
    try:
        yield first, contained
    finally:
        if contained.process is not None:
            os.kill(first, signal.SIGTERM)
            contained.expect_exit(0)


def test_a_process_that_a_container_hands_over_is_no_crash(container):
    """A postmaster that was process 1 of its container took an orphan's end for a crashed backend and threw out every
    session (row 16)."""
    first, router = container
    with router.connect("lives") as neighbour, router.connect("dies"):
        # A stranger that is adopted and ends with a failure, and the children of a postmaster that was killed.
        subprocess.run(["nsenter", f"--target={first}", "--pid", "sh", "-c", "(sleep 0.2; exit 3) &"], check=True)
        dying = _postmaster_in(router.directory / "dies")
        os.kill(dying, signal.SIGKILL)
        assert processes.eventually(lambda: processes.state(dying) is None, 5), "not reaped"
        time.sleep(0.5)
        assert neighbour.execute("SELECT 1").fetchone() == (1,)
        assert router.value("dies", "SELECT 1") == 1


def test_the_first_process_of_a_container_reaps_what_it_inherits(container):
    """Zombies of the backends of a killed postmaster stayed for as long as the container (row 16)."""
    first, router = container
    with router.connect("dies"):
        dying = _postmaster_in(router.directory / "dies")
        family = processes.descendants(dying)
        assert len(family) > 3
        os.kill(dying, signal.SIGKILL)
        assert processes.eventually(lambda: not any(map(processes.state, family)), 3), processes.describe(family)
        subprocess.run(["nsenter", f"--target={first}", "--pid", "sh", "-c", "(sleep 0.1; exit 3) &"], check=True)
        assert processes.eventually(lambda: len(children(first)) == 1, 3), processes.describe(children(first))


def test_ctrl_c_in_a_container(contained):
    """The terminal sends it to its whole foreground; passed on as well, it hurried the stop that it had begun."""
    with Terminal() as terminal:
        contained.start(terminal)
        with contained.wire() as connection:
            connection.startup("alice", "tenant")
            terminal.type(CTRL_C)
            [error] = connection.until_ready().errors
            assert (error.severity, error.sqlstate) == ("FATAL", "57P01")
        contained.expect_exit(0)
    assert "hurry" not in contained.log
    assert not (contained.directory / "tenant" / "postmaster.pid").exists()


def test_the_first_process_of_a_container_ends_as_the_router_does(container):
    """A container whose program has failed must not look as if it had ended well, nor stay."""
    first, router = container
    [serving] = children(first)
    os.kill(serving, signal.SIGKILL)
    router.expect_exit(128 + signal.SIGKILL)
    result = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", BINARY, "serve", "--port", "banana"], capture_output=True,
        text=True, timeout=20, check=False)
    assert result.returncode == 2 and "banana" in result.stderr, result


def children(pid):
    return [other for other in processes.descendants(pid) if processes.parent(other) == pid]


def _postmaster_in(directory):
    """By its parent: its pid file has the number that it has in its namespace."""
    family = processes.in_directory(directory)
    [pid] = [pid for pid in family if processes.parent(pid) not in family]
    return pid


def test_what_a_killed_postmaster_leaves_is_reaped(router, name):
    """Zombies of instances that died filled the process table in a week of restarts (row 16)."""
    with router.connect(name):
        for _ in range(3):
            postmaster = router.postmaster(name)
            family = [postmaster, *processes.descendants(postmaster)]
            os.kill(postmaster, signal.SIGKILL)
            gone = lambda: not any(processes.state(pid) not in (None, "X") and processes.parent(pid) == router.pid
                                   for pid in family)
            assert processes.eventually(gone, 5), processes.describe(family)
            assert router.value(name, "SELECT 1") == 1
