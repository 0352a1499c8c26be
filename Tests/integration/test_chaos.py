"""Everything that can die does, at random moments and under load."""

import os
import random

import pytest

from chaos import EVERY_KILL, Chaos

SECONDS = float(os.environ.get("ROUTERD_CHAOS_SECONDS") or 30)
SEED = int(os.environ.get("ROUTERD_TEST_SEED") or random.randrange(1 << 32))


@pytest.mark.soak
def test_random_kills_lose_nothing(routers):
    """Each death alone was survived; one in the middle of the recovery from another was not (rows 10, 12, 17)."""
    router = routers("--idle-timeout", "1s")
    Chaos(router, EVERY_KILL, SEED).run(SECONDS)
