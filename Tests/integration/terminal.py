"""A terminal to run a program on, for what only a terminal does: Ctrl-C."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import time

CTRL_C = b"\x03"


class Terminal:
    def __init__(self):
        self.descriptor, self._other_side = pty.openpty()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.descriptor)
        if self._other_side is not None:
            os.close(self._other_side)

    def start(self, command, **options):
        """Runs a program as the foreground of this terminal, its input; its output too unless `options` say else."""
        side = self._other_side
        process = subprocess.Popen(
            command, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(side, termios.TIOCSCTTY, 0),
            **{"stdin": side, "stdout": side, "stderr": side} | options)
        os.close(side)
        self._other_side = None
        return process

    def type(self, text):
        os.write(self.descriptor, text)

    def read_until(self, text, within=20):
        deadline, seen = time.monotonic() + within, b""
        while text not in seen:
            ready, _, _ = select.select([self.descriptor], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come within {within} s, but {seen!r}"
            seen += os.read(self.descriptor, 65536)
        return seen
