"""How many descriptors a process may have."""

import subprocess

from router import IS_ROOT, RUN_AS


def limit_descriptors(pid, limit):
    """The soft limit of a running process, set by its own user."""
    become = ["runuser", "-u", RUN_AS, "--"] if IS_ROOT else []
    subprocess.run([*become, "prlimit", "--pid", str(pid), f"--nofile={limit}:"], check=True)
