"""What every Python program of the driver matrix shares: where to connect, and the report of its steps."""

import json
import os
import threading
import traceback

HOST = os.environ["ROUTERD_TEST_HOST"]
PORT = int(os.environ["ROUTERD_TEST_PORT"])
DATABASE = os.environ["ROUTERD_TEST_DATABASE"]
USER = "alice"
CONCURRENT = 64


def run(version, **steps):
    """Runs each step and prints a JSON line about it. A step that is a string says why the driver cannot do it."""
    print(json.dumps({"version": version}), flush=True)
    for name, step in steps.items():
        report = {"step": name}
        if isinstance(step, str):
            report["skipped"] = step
        else:
            try:
                step()
            except Exception:
                report["error"] = traceback.format_exc()
        print(json.dumps(report), flush=True)


def expect(condition, what="not as expected"):
    """As `assert`, in an optimised interpreter too."""
    if not condition:
        raise AssertionError(what)


def expect_error(kind, call, sqlstate=None, state_of=None):
    """The call must raise `kind`, with the SQLSTATE where one is asked for."""
    try:
        call()
    except kind as error:
        state = state_of(error) if state_of else None
        expect(sqlstate is None or state == sqlstate, f"SQLSTATE {state} instead of {sqlstate}: {error}")
        return error
    raise AssertionError(f"no {kind.__name__}")


def concurrently(connect, use):
    """All connections are open at once before the first is closed."""
    everybody = threading.Barrier(CONCURRENT, timeout=40)
    failures = []

    def one(number):
        try:
            connection = connect()
            try:
                expect(use(connection, number) == number)
                everybody.wait()
            finally:
                connection.close()
        except Exception:
            everybody.abort()
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CONCURRENT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failures, failures[0] if failures else "")
