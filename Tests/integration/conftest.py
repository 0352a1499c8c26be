"""Fixtures: routers of a test's own, and one shared by the tests of a file."""

import hashlib
import resource
import signal
import sys

import pytest

import processes
from router import BINARY, PREFIX, Router, looked_after

# A shell that starts this in the background has it, and every program under test, ignore Ctrl-C; nohup, hangups. A
# handler is not handed on as being ignored is.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A thousand clients and as many backends need descriptors on both sides; children inherit the limit.
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), most))


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: has a longer version, run by `make soak`")
    config.addinivalue_line("markers", "on_disk: keeps its directories on the disk, even where memory would do")


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} does not exist: run `make integration`, or name the program in ROUTERD_BINARY", 1)


def pytest_sessionfinish(session):
    left = processes.with_path(f"/{PREFIX}")
    if left:
        print(f"\nprocesses left by the tests:\n{processes.describe(left)}", file=sys.stderr)
        session.exitstatus = 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    for router in item.funcargs.values():
        for one in router if isinstance(router, list) else [router]:
            if report.failed and isinstance(one, Router):
                report.sections.append((f"routerd in {one.home}, {report.when}", one.log[-20_000:]))
    return report


@pytest.fixture(scope="module")
def router(request):
    """Shared by the tests of a file, which may name flags in ROUTER_ARGUMENTS: each takes database names of its own."""
    arguments = getattr(request.module, "ROUTER_ARGUMENTS", ())
    with looked_after([Router(*arguments, on_disk=_on_disk(request))]) as [router]:
        yield router.start()


@pytest.fixture
def routers(request):
    """Makes routers of the test's own: `routers("--flag", …)` is started; all are stopped and checked afterwards."""
    with looked_after(_Routers(_on_disk(request))) as made:
        yield made


def _on_disk(request):
    return request.node.get_closest_marker("on_disk") is not None


class _Routers(list):
    def __init__(self, on_disk):
        super().__init__()
        self.on_disk = on_disk

    def __call__(self, *arguments, **options):
        return self.prepared(*arguments, **options).start()

    def prepared(self, *arguments, **options):
        """Not started yet."""
        router = Router(*arguments, on_disk=self.on_disk, **options)
        self.append(router)
        return router


@pytest.fixture
def name(request):
    """A database name no other test uses; short enough for a suffix."""
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:6]
    return f"{request.node.originalname.removeprefix('test_')[:40]}_{digest}"
