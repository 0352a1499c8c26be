"""A tenant is dropped while clients use it and come to it: whoever comes afterwards finds a new one, and what was
dropped is never seen again."""

import os
import random
import threading
import time

import psycopg
import pytest

import processes
from chaos import is_excused
from console import control

SOAK = bool(os.environ.get("ROUTERD_SOAK"))
SECONDS = float(os.environ.get("ROUTERD_CHAOS_SECONDS") or (60 if SOAK else 3))
SEED = int(os.environ.get("ROUTERD_TEST_SEED") or random.randrange(1 << 32))
# What a session may be told whose tenant goes: PostgreSQL's own words for it, or the end of the connection.
TOLD = ("57P01", None)


class Visitor(threading.Thread):
    """Connects again and again, and looks at which cluster it was given: each has an identifier of its own."""

    def __init__(self, router, name, story):
        super().__init__(daemon=True)
        self.router, self.name, self.story = router, name, story
        self.visits = 0
        self.fault = None

    def run(self):
        while not self.story.over.is_set() and not self.fault:
            gone = set(self.story.gone)
            try:
                connection = self.router.connect(self.name, user=f"user_{self.ident}")
            except psycopg.Error as error:
                # It waits for the new one, unless that is dropped as well before it is let in.
                if not is_excused(error, ["57P01"]):
                    self.fault = f"not let in: {error.sqlstate} {error}"
                continue
            try:
                with connection:
                    (identifier,) = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
                    self.story.seen.add(identifier)
                    if identifier in gone:
                        self.fault = f"{identifier} has come back"
                    connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT system_identifier AS it"
                                       " FROM pg_control_system()")
                    if connection.execute("SELECT it FROM kept").fetchone() != (identifier,):
                        self.fault = f"{identifier} has a row of another one"
                    self.visits += 1
            except psycopg.Error as error:
                # Two of them may make the table at once.
                if error.sqlstate not in (*TOLD, "23505", "42P07", "42710"):
                    self.fault = f"{error.sqlstate} {error}"


class Story:
    def __init__(self):
        self.seen, self.gone = set(), set()
        self.over = threading.Event()


@pytest.mark.soak
@pytest.mark.parametrize("spares", [0, 2])
def test_drops_while_clients_come(routers, spares):
    """A connect that met a drop was refused, or let into the directory that was on its way out."""
    router = routers("--spares", spares, "--idle-timeout", "50ms")
    story, chance = Story(), random.Random(SEED)
    visitors = [Visitor(router, "dropped", story) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    until, drops = time.monotonic() + SECONDS / 2, 0
    try:
        with control(router) as console:
            while time.monotonic() < until and not any(visitor.fault for visitor in visitors):
                time.sleep(chance.uniform(0, 0.5))
                before = set(story.seen)
                try:
                    console.execute("DROP dropped")
                except psycopg.errors.InvalidCatalogName:
                    continue  # nobody has made it again yet
                story.gone |= before
                drops += 1
    finally:
        story.over.set()
        for visitor in visitors:
            visitor.join(40)
    assert [visitor.fault for visitor in visitors] == [None] * 3, f"seed {SEED}"
    assert not any(visitor.is_alive() for visitor in visitors), "a client hangs"
    visits = sum(visitor.visits for visitor in visitors)
    assert drops >= 2 and visits >= 2
    print(f"seed {SEED}: {drops} drops, {visits} visits, {len(story.seen)} clusters")
    assert processes.eventually(lambda: not os.listdir(router.directory / ".routerd/trash"), 10)


@pytest.mark.soak
def test_a_kill_in_the_middle_of_a_drop(routers):
    """Whoever was told that a tenant is gone must not meet it after the next start; one whose drop was cut off is whole
    or gone."""
    router = routers()
    chance = random.Random(SEED)
    until, told, number = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < until or number < 3:
        name = f"dropped_{number}"
        number += 1
        with router.connect(name) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        answers = []
        dropper = threading.Thread(target=_drop, args=(router, name, answers), daemon=True)
        dropper.start()
        time.sleep(chance.choice((0.02, 0.1, 0.3)) * chance.random())
        router.process.kill()
        dropper.join(10)
        assert not dropper.is_alive(), "the one who asked hangs"
        router.process.wait()
        router.process = None
        router.start(port=router.port)
        if answers:
            told += 1
            assert not (router.directory / name).exists(), f"seed {SEED}: {name} is back"
        elif (router.directory / name).exists():
            assert router.value(name, "SELECT answer FROM kept") == 42, f"seed {SEED}"
    print(f"seed {SEED}: {number} kills, {told} drops answered")
    assert processes.eventually(lambda: not os.listdir(router.directory / ".routerd/trash"), 20)


def _drop(router, name, answers):
    try:
        with control(router) as console:
            console.execute(f"DROP {name}")
            answers.append(name)
    except psycopg.Error:
        pass
