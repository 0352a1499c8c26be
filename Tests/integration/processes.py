"""What /proc says about the processes of a test."""

import os
import time
from pathlib import Path


def all_process_ids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def in_directory(directory):
    """Processes whose working directory or command line lies in `directory`, zombies aside: a postmaster and its
    children live in their data directory, whatever became of their parent."""
    return with_path(os.path.realpath(directory))


def with_path(part):
    """Processes whose working directory or command line contains `part`."""
    return [pid for pid in all_process_ids() if _names(pid, part)]


def _names(pid, part):
    if pid == os.getpid() or state(pid) in (None, "Z", "X"):
        return False
    try:
        if part in os.readlink(f"/proc/{pid}/cwd"):
            return True
    except OSError:
        pass
    try:
        return part.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def state(pid):
    """One letter as in proc(5), or None when there is no such process."""
    fields = _stat(pid)
    return fields[0] if fields else None


def parent(pid):
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def descendants(pid):
    """Children, their children and so on."""
    children = {}
    for other in all_process_ids():
        children.setdefault(parent(other), []).append(other)
    found, queue = [], [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def status(pid):
    """`/proc/<pid>/status`; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def describe(pids):
    lines = []
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        lines.append(f"{pid} [{state(pid)}] {command.strip()}")
    return "\n".join(lines)


def memory(pid, name):
    """A line of /proc/<pid>/status in bytes: VmRSS (now), VmHWM (the most so far)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def sockets(pid):
    """Inodes of the sockets that a process holds."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


def tcp_sockets(port):
    """Inodes of the TCP sockets whose local port is `port`."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rsplit(":", 1)[1], 16) == port:
                found.add(int(fields[9]))
    return found


def eventually(condition, within, interval=0.02):
    """The first true value of `condition()`, or its last one when the time is up."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        time.sleep(interval)


def _stat(pid):
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rsplit(")", 1)[1].split()
