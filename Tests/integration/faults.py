"""Failing the n-th system call of the program: a library of C between it and the kernel (fail_nth.c), and the
page of memory that tells it which."""

import struct

from preload import Preload

# The order of the C enumeration.
CALLS = (
    "recv", "send", "read", "write", "accept", "connect", "socket", "epoll_add", "epoll_wait", "setsockopt", "bind",
    "open", "mkdir", "rename", "unlink", "sync", "stat", "list", "copy", "pidfd", "landlock", "clone", "child", "exec",
    "chmod", "seek",
)
# The C structure: nth, times, count, fired, calls, error, last.
LAYOUT = struct.Struct("=qqqqQii")
ALWAYS = 1 << 60
ONE_BYTE = 0
# In place of an error's number: the program is killed where the call would begin.
DEATH = -1


class FailNth(Preload):
    """The library compiled into `home`, and its page."""

    def __init__(self, home):
        super().__init__(home, "fail_nth", "FAIL_NTH_CONTROL")

    def arm(self, nth, calls, error, times=1):
        self._write(0, 1, 0, 0, 0, 0, -1)
        bits = sum(1 << CALLS.index(call) for call in calls)
        self._write(nth, times, 0, 0, bits, error, -1)

    def disarm(self):
        """How many calls of these kinds there were, how many failed, and the kind of the last one that did."""
        _, _, count, fired, calls, error, last = LAYOUT.unpack_from(self.page)
        self._write(0, 1, count, fired, calls, error, last)
        return count, fired, CALLS[last] if last >= 0 else None

    def _write(self, *values):
        LAYOUT.pack_into(self.page, 0, *values)
