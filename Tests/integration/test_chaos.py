"""Everything that can die does, at random moments and under load."""

import os
import random
import subprocess

import pytest

import processes
from chaos import COMING_AND_GOING, EVERY_KILL, EXCUSES, Chaos, fill_the_disk, kill_a_backend, kill_a_child, \
    kill_a_postmaster, kill_the_router, take_the_descriptors
from router import IS_ROOT

SOAK = bool(os.environ.get("ROUTERD_SOAK"))
# Of each test.
SECONDS = float(os.environ.get("ROUTERD_CHAOS_SECONDS") or (60 if SOAK else 6))
SEED = int(os.environ.get("ROUTERD_TEST_SEED") or random.randrange(1 << 32))
IS_LONG = SECONDS > 20
# Between two harms.
PAUSE = (0.05, 1.0) if IS_LONG else (0.05, 0.3)
KILLS = (kill_a_postmaster, kill_a_backend)


def nothing_is_left(router):
    """No process, and no half-made directory; what could not be removed at the time goes with the next start."""
    private = router.directory / ".routerd"
    router.stop(within=30)
    assert os.listdir(private / "staging") == os.listdir(private / "spares") == []
    router.start(port=router.port)
    assert processes.eventually(lambda: not os.listdir(private / "trash"), 30), os.listdir(private / "trash")
    router.stop(within=30)
    router.expect_no_process()
    assert "stays where it is" not in router.log
    for tenant in router.tenants():
        left = {name for name in os.listdir(router.directory / tenant)
                if name in ("postmaster.pid", "routerd.claim") or name.endswith(".new")}
        assert not left, f"{tenant}: {left}"


@pytest.mark.soak
def test_random_kills_lose_nothing(routers):
    """Each death alone was survived; one in the middle of the recovery from another was not (rows 10, 12, 17)."""
    router = routers("--idle-timeout", "1s")
    Chaos(router, EVERY_KILL, SEED, pause=PAUSE, essential=EVERY_KILL).run(SECONDS)


@pytest.mark.soak
def test_many_tenants_under_random_kills(routers):
    """What holds for four tenants must hold for a hundred, of whom not all may run at once, while new ones come (from
    spares) and others are dropped."""
    tenants = 100 if IS_LONG else 12
    router = routers("--spares", "2", "--max-instances", str(tenants * 3 // 4), "--max-connections", "20",
                     "--idle-timeout", "20ms")
    weapons = (*EVERY_KILL, *COMING_AND_GOING, *COMING_AND_GOING)
    Chaos(router, weapons, SEED, tenants=tenants, writers=1, pause=PAUSE, transactions=20, essential=KILLS).run(SECONDS)
    nothing_is_left(router)


@pytest.mark.soak
@pytest.mark.skipif(not IS_ROOT, reason="mounting a small file system takes root")
def test_a_full_disk_again_and_again(routers):
    """The write-ahead log has nowhere to go, instances die of it and cannot boot, clones and claims break off: with
    room everything is as it was told (row 4)."""
    router = routers.prepared("--spares", "1", "--idle-timeout", "300ms")
    router.directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", router.directory], check=True)
    try:
        owner = os.stat(router.home)
        os.chown(router.directory, owner.st_uid, owner.st_gid)
        router.start()
        # No space; and a file that could not be made or extended.
        excuses = (*EXCUSES, "53100", "58030", "58P01")
        weapons = (fill_the_disk, kill_a_postmaster, kill_the_router, *COMING_AND_GOING)
        Chaos(router, weapons, SEED, tenants=3, writers=1, excuses=excuses, pause=PAUSE, transactions=50,
              essential=(fill_the_disk, kill_a_postmaster), expected=("53100",)).run(SECONDS)
        nothing_is_left(router)
    finally:
        if router.process is not None:
            router.kill()
        processes.eventually(lambda: not processes.in_directory(router.home), 8)
        subprocess.run(["umount", "-l", router.directory], check=True)


@pytest.mark.soak
def test_descriptors_run_out_again_and_again(routers):
    """EMFILE in the middle of a boot or a claim left an instance that nobody watched, or sockets in its children (row
    15)."""
    router = routers("--spares", "1", "--idle-timeout", "100ms", "--max-instances", "8")
    # What the kernel refused, in words.
    excuses = (*EXCUSES, "53000", "53300", "58030")
    weapons = (take_the_descriptors, take_the_descriptors, *KILLS, kill_a_child, *COMING_AND_GOING)
    Chaos(router, weapons, SEED, tenants=4, writers=1, excuses=excuses, pause=PAUSE, transactions=10,
          essential=(take_the_descriptors, *KILLS), expected=("53000", "53300")).run(SECONDS)
    # The three of each instance and the two of each session were given back.
    assert processes.eventually(lambda: not router.postmasters() or len(router.postmasters()) == 1, 20)
    assert processes.eventually(lambda: len(os.listdir(f"/proc/{router.pid}/fd")) < 60, 10)
    nothing_is_left(router)
