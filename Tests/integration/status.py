"""The status page's server of a running router, as programs see it."""

import http.client
import json
import re
from urllib.parse import quote

from console import token


def place(router):
    """Where it listens."""
    host, port = re.search(r"served on http://(.+):(\d+)/", router.log).groups()
    return host.strip("[]"), int(port)


def ask(router, path, method="GET", **fields):
    """An answer's status, fields and body; a field's value of None leaves it out."""
    connection = http.client.HTTPConnection(*place(router), timeout=30)
    try:
        names = {name.replace("_", "-"): value for name, value in fields.items() if value is not None}
        connection.request(method, path, headers=names)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def told(router, path, method="GET", **fields):
    """The JSON of an answer that is a success."""
    status, head, body = ask(router, path, method, **fields)
    assert status == 200 and head["Content-Type"] == "application/json", f"{method} {path}: {status} {body}"
    return json.loads(body)


def tenant_path(name, act=""):
    return f"/api/tenants/{quote(name, safe='')}{act}"


def bearer(router):
    return {"Authorization": f"Bearer {token(router)}"}


def metrics(router):
    status, head, body = ask(router, "/metrics")
    assert status == 200 and head["Content-Type"].startswith("text/plain; version=0.0.4")
    return parsed(body)


SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"')


def parsed(text):
    """Prometheus' text format, read strictly: {family: {labels: value}}."""
    families, kinds, described, current = {}, {}, set(), None
    assert text.endswith("\n")
    # str.splitlines would take U+2028 for the end of a line, which the format does not.
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in described, f"described twice: {line}"
            described.add(current)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == current and name not in kinds and kind in ("gauge", "counter", "histogram"), line
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line!r}"
            name, labels, value = match.groups()
            family = re.sub(r"_(bucket|sum|count)$", "", name) if kinds[current] == "histogram" else name
            assert family == current, f"{line} stands below {current}"
            assert kinds[current] != "counter" or name.endswith("_total"), line
            pairs = tuple((label, re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text))
                          for label, text in LABEL.findall(labels or ""))
            samples = families.setdefault(name, {})
            assert pairs not in samples, f"twice: {line}"
            samples[pairs] = float(value)
    for name in kinds:
        if kinds[name] == "histogram":
            _check_histogram(families, name)
    assert described == set(kinds)
    return families


def _check_histogram(families, name):
    buckets = [(labels[0][1], count) for labels, count in families[f"{name}_bucket"].items()]
    bounds, counts = [float(bound) for bound, _ in buckets], [count for _, count in buckets]
    assert bounds == sorted(bounds) and bounds[-1] == float("inf") and counts == sorted(counts)
    assert counts[-1] == families[f"{name}_count"][()]
