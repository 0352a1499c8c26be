"""The status page in a real browser: it loads, moves, sorts, searches, wakes, and lets no name be markup."""

import contextlib
import math
import os
import random
import time
from pathlib import Path

import psycopg
import pytest

import browser
from browser import Browser
from console import token
from status import place

# A browser is a large package that nothing else needs, and takes seconds for each test.
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not {"ROUTERD_SOAK", "ROUTERD_PICTURE"} & set(os.environ), reason="needs a browser: `make soak`"),
    pytest.mark.skipif(browser.PROGRAM is None, reason="needs Chromium: apt-get install chromium"),
]
ROUTER_ARGUMENTS = ("--http", "127.0.0.1:0", "--spares", "1")
HOSTILE = "<img src=x onerror=document.title='broken'>"
ROWS = "#tenants tbody tr"
NAMES = f"{ROWS} td.name"


@pytest.fixture(scope="module")
def people(router):
    """Tenants with something going on: the sessions are held."""
    with contextlib.ExitStack() as stack:
        for name, sessions in (("orders", 5), ("billing", 3), ("analytics", 2), ("sandbox", 1), (HOSTILE, 1)):
            for number in range(sessions):
                connection = stack.enter_context(router.connect(name, user=f"user{number}", application_name="psql"))
                connection.execute("SELECT count(*) FROM pg_class")
        router.value("archive", "SELECT 1")
        with router.connect("broken") as connection, contextlib.suppress(psycopg.Error):
            connection.execute("SELECT no_such_function()")
        yield router


@pytest.fixture
def page(people):
    with contextlib.closing(Browser()) as browser:
        browser.open("http://{}:{}/".format(*place(people)))
        browser.until(f"document.querySelectorAll({ROWS!r}).length === 7")
        yield browser
        assert not browser.complaints, browser.complaints
        origin = "http://{}:{}/".format(*place(people))
        strangers = [url for url in browser.requested if not url.startswith((origin, "data:", "about:"))]
        assert not strangers, strangers


def test_it_tells_what_is_there(page):
    assert page.text("#state") == "serving" and "PostgreSQL 15" in page.text("#about")
    page.until("document.querySelector('#sessions').innerText === '12'")
    assert page.text("#instances").endswith("of 100")
    # The busiest first.
    assert page.texts(NAMES)[:3] == ["orders", "billing", "analytics"]
    page.until("document.querySelectorAll('#c-starts circle').length >= 6")
    page.until("document.querySelectorAll('#c-sessions path').length === 4")


def test_it_moves_and_keeps_what_stays(page, people):
    """A row that is still there is the same element: the focus stays where it was."""
    page.run(f"document.querySelector({ROWS!r}).focus(); document.activeElement.kept = true")
    with people.connect("sandbox"), people.connect("sandbox"):
        page.until("document.querySelector('#sessions').innerText === '14'")
        assert page.run("document.activeElement.kept === true")


def test_sorting(page):
    page.click("#tenants th:nth-child(1) button")
    assert page.texts(NAMES) == sorted(page.texts(NAMES))
    page.click("#tenants th:nth-child(1) button")
    assert page.texts(NAMES) == sorted(page.texts(NAMES), reverse=True)
    assert page.run("document.querySelector('#tenants th').getAttribute('aria-sort')") == "descending"


def test_searching_by_keyboard(page):
    page.press("/")
    page.type("BILL")
    assert page.texts(NAMES) == ["billing"]
    page.press("ArrowDown")
    page.press("Enter")
    page.until("document.querySelector('#t-sessions').children.length === 3")
    assert page.text("#t-name") == "billing" and "user2" in page.text("#t-sessions")
    page.press("Escape")
    page.until("!document.querySelector('#overview').hidden")
    assert page.texts(NAMES) == ["billing"]


def test_filters(page):
    page.click("#chips button:nth-child(2)")
    assert {"orders", "archive"} <= set(page.texts(NAMES))  # running
    page.click("#chips button:nth-child(3)")
    assert "orders" in page.texts(NAMES) and "archive" not in page.texts(NAMES)  # in use
    page.click("#chips button:nth-child(4)")
    assert page.texts(NAMES) == [] and "No tenant" in page.text("#empty")  # hibernated


def test_names_are_text(page):
    assert HOSTILE in page.texts(NAMES)
    assert page.run("document.querySelectorAll('main img').length") == 0 and page.run("document.title") == "routerd"


def test_wake_and_hibernate_with_the_token(page, people):
    """The token is asked for once; a wrong one is told, and forgotten."""
    page.press("/")
    page.type("archive")
    page.press("ArrowDown")
    page.press("Enter")
    page.until("document.querySelector('#t-facts').children.length > 0")
    page.click("#t-sleep")
    page.until("document.querySelector('#ask').open")
    page.type("wrong")
    page.press("Enter")
    page.until("document.querySelector('#toast').innerText.includes('not this router')")
    page.complaints.clear()  # a browser reports every 401
    page.click("#t-sleep")
    page.until("document.querySelector('#ask').open")
    page.type(token(people))
    page.press("Enter")
    page.until("document.querySelector('#t-state').innerText === 'cold'")
    page.until("document.querySelector('#toast').innerText === 'archive hibernates.'")
    page.click("#t-wake")
    page.until("document.querySelector('#t-state').innerText === 'ready'")
    page.until("document.querySelector('#t-log').innerText.includes('database system is ready')")
    # As long as the tab is open.
    page.run("location.reload()")
    page.until("document.querySelector('#t-log') && document.querySelector('#t-log').innerText.includes('ready')")


def test_narrow_and_dark(page):
    page.size(380, 800, dark=True)
    page.until("document.documentElement.dataset.theme === 'dark'")
    assert page.run("document.documentElement.scrollWidth <= 380")
    page.click("#theme")
    assert page.run("document.documentElement.dataset.theme") == "light"


def test_a_router_that_is_gone(routers):
    router = routers("--http", "127.0.0.1:0")
    with contextlib.closing(Browser()) as browser:
        browser.open("http://{}:{}/".format(*place(router)))
        browser.until("document.querySelector('#state').innerText === 'serving'")
        browser.until("document.querySelector('#empty').innerText.includes('makes the first')")
        router.stop()
        browser.until("document.querySelector('#state').innerText === 'out of reach'")


PEOPLE = {"orders": 11, "billing": 8, "analytics": 6, "agent-7f3a": 5, "customer_acme": 4, "customer_globex": 3, "preview-pr-142": 2,
          "crm": 2, "agent-91bc": 1, "sandbox": 1}
VISITED = ["archive_2024", "archive_2025", "test_suite_3", "wiki", "mail", "demo", "agent-c01d", "agent-d4e5"]


@pytest.mark.skipif("ROUTERD_PICTURE" not in os.environ, reason="makes docs/status-page.png: it takes its time")
def test_the_picture(routers):
    """With some minutes of a working day in it; ROUTERD_PICTURE names the file, ROUTERD_PICTURE_SECONDS says how many."""
    router = routers("--http", "127.0.0.1:0", "--spares", "2", "--idle-timeout", "20s")
    sessions, chance, began = {name: [] for name in PEOPLE}, random.Random(7), time.monotonic()

    def work(until):
        while (passed := time.monotonic() - began) < until:
            for number, (name, most) in enumerate(PEOPLE.items()):
                wanted = max(1, round(most * (0.65 + 0.35 * math.sin(passed / 60 + number))))
                if len(sessions[name]) < wanted:
                    sessions[name].append(stack.enter_context(router.connect(name, user="app", application_name="web")))
                elif len(sessions[name]) > wanted:
                    sessions[name].pop().close()
                for session in chance.sample(sessions[name], (len(sessions[name]) + 1) // 2):
                    for statement in ("BEGIN", "SELECT 1", "COMMIT") if chance.random() < 0.5 else ("SELECT 1",):
                        session.execute(statement)
            if chance.random() < 0.04:
                router.value(chance.choice(VISITED[:1 + int(passed / 30)]), "SELECT 1")
            time.sleep(0.25)

    seconds, target = float(os.environ.get("ROUTERD_PICTURE_SECONDS", 420)), Path(os.environ["ROUTERD_PICTURE"])
    with contextlib.ExitStack() as stack:
        work(seconds)
        page = stack.enter_context(contextlib.closing(Browser()))
        page.open("http://{}:{}/".format(*place(router)))
        work(seconds + 15)
        page.picture(target)
        page.size(1280, 900, dark=True)
        work(seconds + 20)
        page.picture(target.with_stem(target.stem + "-dark"))
