"""The program under test: started, watched, stopped, and looked after when it is gone."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

import processes
import wire

BINARY = Path(os.environ.get("ROUTERD_BINARY") or Path(__file__).parents[2] / ".build/debug/routerd").resolve()
MEMORY = "/dev/shm"
IS_ROOT = os.geteuid() == 0
RUN_AS = "postgres"
# Of this run, so that two can go on at once.
PREFIX = f"routerd-integration-{os.getpid()}-"
READY = re.compile(r"postgres(ql)?://")
START_WITHIN = 30  # the first start in a directory runs initdb
STOP_WITHIN = 15


def postgres_program(name):
    """A program of the newest PostgreSQL installed, the one routerd serves."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(found[-1]) if found else shutil.which(name)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def temporary_directory(on_disk=False):
    """A directory that the user routerd runs as can enter and write to, the test too.

    In memory where there is enough: a cluster is a thousand files, and a disk mounted with `discard` takes most of
    a second to remove them. What is about durability stays on the disk."""
    parent = Path(os.environ.get("ROUTERD_TEST_DIRECTORY") or ("/tmp" if on_disk or not _memory_suffices() else MEMORY))
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    if IS_ROOT:
        os.chown(path, pwd.getpwnam(RUN_AS).pw_uid, -1)
        path.chmod(0o755)
    return path


def _memory_suffices():
    if not os.path.ismount(MEMORY):
        return False
    available = int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    return min(available, shutil.disk_usage(MEMORY).free) > 8 << 30


class Router:
    """One routerd and its base directory.

    `stop` holds what every test relies on: exit code 0 within the deadline and not one process left."""

    def __init__(self, *arguments, on_disk=False, host="127.0.0.1", environment=None):
        # Spares cost every test a few boots that few are about.
        self.arguments = [] if "--spares" in arguments else ["--spares", "0"]
        self.arguments += arguments
        self.directory_option = True
        self.home = temporary_directory(on_disk)
        self.directory = self.home / "data"
        self.host = host
        self.environment = environment or {}
        self.launcher = []  # the beginning of a command that runs the program
        self.inherited = []  # descriptors that it is started with
        self.process = None
        self.port = None
        self._logs = []
        self._kept = ""

    # Life

    def start(self, terminal=None, port=None):
        for _ in range(5):
            self.port = port or free_port()
            self._spawn(terminal)
            if self._wait_until_ready():
                return self
            if "in use" not in self.log:
                break
        raise AssertionError(f"routerd did not get ready (exit code {self.process.returncode}):\n{self.log}")

    def restart(self):
        """Again on the same directory, on another port."""
        return self.start()

    def stop(self, signal_number=signal.SIGTERM, within=STOP_WITHIN):
        if self.process is None:
            return
        family = processes.descendants(self.process.pid)
        self.process.send_signal(signal_number)
        self.expect_exit(0, within)
        self.expect_no_process(family)

    def kill(self):
        """As the kernel's out-of-memory killer would; the children are left to the program's own precautions."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def expect_exit(self, code, within=STOP_WITHIN):
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"routerd still runs {within} s after it was told to stop:\n{self.log}") from None
        process, self.process = self.process, None
        assert process.returncode == code, f"exit code {process.returncode} instead of {code}:\n{self.log}"

    def expect_no_process(self, family=(), within=0):
        def left():
            known = [pid for pid in family if processes.state(pid) not in (None, "Z", "X")]
            return sorted(set(processes.in_directory(self.home)) | set(known))

        processes.eventually(lambda: not left(), within)
        assert not left(), f"processes left:\n{processes.describe(left())}\n{self.log}"

    def discard(self):
        """Ends what a failed test left and removes the directory; says what it had to end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        processes.eventually(lambda: not processes.in_directory(self.home), 3)
        left = processes.in_directory(self.home)
        report = processes.describe(left)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        processes.eventually(lambda: not processes.in_directory(self.home), 3)
        shutil.rmtree(self.home, ignore_errors=True)
        return report

    # What the program says

    @property
    def log(self):
        return self._kept + "".join(Path(path).read_text(errors="replace") for path in self._logs)

    @property
    def latest_log(self):
        """Since its last start."""
        return self._logs[-1].read_text(errors="replace") if self._logs else ""

    @property
    def pid(self):
        return self.process.pid

    # Connecting

    @property
    def address(self):
        return (self.host, self.port)

    def conninfo(self, database, user="alice", **more):
        pairs = {"host": self.host, "port": self.port, "dbname": database, "user": user, "connect_timeout": 30, **more}
        return psycopg.conninfo.make_conninfo("", **pairs)

    def connect(self, database, user="alice", autocommit=True, **more):
        return psycopg.connect(self.conninfo(database, user, **more), autocommit=autocommit)

    def wire(self, **options):
        return wire.Connection(self.address, **options)

    def value(self, database, sql, *parameters, user="alice"):
        """The first value of the first row of one query on a connection of its own."""
        with self.connect(database, user) as connection:
            row = connection.execute(sql, parameters or None).fetchone()
            return row[0] if row else None

    def run(self, *command, database=None, user="alice", check=True, input=None, timeout=60, environment=None):
        """A PostgreSQL client program, told by its environment where to connect."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        address = {"PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": user, "PGCONNECT_TIMEOUT": "30"}
        if database is not None:
            address["PGDATABASE"] = database
        result = subprocess.run(
            [str(part) for part in command], env=clean | address | (environment or {}), input=input,
            capture_output=True, text=True, timeout=timeout, check=False)
        if check:
            assert result.returncode == 0, f"{command[0]}: exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    # Instances

    def tenants(self):
        """Directory names of the tenants that exist."""
        if not self.directory.exists():
            return set()
        return {entry.name for entry in self.directory.iterdir() if not entry.name.startswith(".")}

    def postmaster(self, directory_name):
        """Process id of a tenant's running postmaster."""
        return int((self.directory / directory_name / "postmaster.pid").read_text().splitlines()[0])

    def postmasters(self):
        """Every postgres process whose parent is routerd."""
        return [pid for pid in processes.descendants(self.pid) if processes.parent(pid) == self.pid]

    # Starting

    def _spawn(self, terminal):
        log = Path(f"{self.home}.{len(self._logs)}.log")
        self._logs.append(log)
        directory = ["--dir", self.directory] if self.directory_option else []
        command = [*self.launcher, BINARY, "serve", "--port", self.port, *directory, "--host", self.host, *self.arguments]
        options = {} if terminal else {"stdin": subprocess.DEVNULL, "pass_fds": self.inherited}
        spawn = terminal.start if terminal else subprocess.Popen
        with open(log, "wb") as output:
            self.process = spawn(
                [str(part) for part in command], stdout=output, stderr=subprocess.STDOUT,
                env=clean_environment() | self.environment, cwd="/", **options)

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline:
            text = self._logs[-1].read_text(errors="replace").replace("\\/", "/")
            if READY.search(text) and str(self.port) in text:
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return False

    def remove_logs(self):
        """The text stays for the report of a failure."""
        self._kept = self.log
        while self._logs:
            self._logs.pop().unlink()


@contextlib.contextmanager
def looked_after(routers):
    """Stops them afterwards, which holds what `stop` holds, and leaves nothing of them behind, whatever came to pass."""
    try:
        yield routers
        for router in routers:
            router.stop()
            router.expect_no_process()
    finally:
        left = [router.discard() for router in routers]
        for router in routers:
            router.remove_logs()
    assert not any(left), f"processes had to be ended by the test: {left}"
    assert not any(Path(router.home).exists() for router in routers), "a directory is left behind"


def clean_environment():
    """Without variables that would configure routerd or libpq, but with the engine or the workers that a whole run is
    about."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ROUTERD_", "PG"))}
    about = {"ROUTERD_IO": "ROUTERD_TEST_IO", "ROUTERD_WORKERS": "ROUTERD_TEST_WORKERS"}
    return clean | {name: os.environ[test] for name, test in about.items() if test in os.environ}


def command(*arguments, environment=None, timeout=20, cwd="/"):
    """routerd as a command that is expected to end by itself."""
    return subprocess.run(
        [str(part) for part in (BINARY, *arguments)], env=clean_environment() | (environment or {}),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False, cwd=cwd)
