"""What a running program costs, counted: memory and references by a library of C (memory_meter.c), system calls of
one thread by ptrace(2)."""

import contextlib
import ctypes
import os
import signal
import struct
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from preload import Preload


class Memory(NamedTuple):
    """What the C structure holds behind its two switches."""

    taken: int
    given_back: int
    references: int


class MemoryMeter(Preload):
    """The library compiled into `home`, and its page."""

    LAYOUT = struct.Struct("=qqqqq")

    def __init__(self, home):
        super().__init__(home, "memory_meter", "MEMORY_METER")

    def count(self, work, plants=False):
        """What the program does while `work()` is done."""
        self.LAYOUT.pack_into(self.page, 0, 1, plants, 0, 0, 0)
        try:
            work()
        finally:
            counted = Memory(*self.LAYOUT.unpack_from(self.page)[2:])
            self.LAYOUT.pack_into(self.page, 0, 0, 0, 0, 0, 0)
        return counted


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT, SYSCALL, DETACH, GET_SYSCALL_INFO = 0x4206, 0x4207, 24, 17, 0x420E
TRACE_SYSTEM_CALLS = 1
OF_A_CALL = signal.SIGTRAP | 0x80
ENTRY = 1
WALL = 0x40000000


@contextlib.contextmanager
def stopped(thread):
    """One thread, while the others go on: SIGSTOP would stop them all."""
    for request in (SEIZE, INTERRUPT):
        if libc.ptrace(request, thread, None, TRACE_SYSTEM_CALLS if request == SEIZE else None) != 0:
            pytest.skip(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        libc.ptrace(DETACH, thread, None, None)


def reactor_thread(pid):
    """The thread whose children the postmasters are; the first one only waits for it."""
    threads = sorted(int(entry) for entry in os.listdir(f"/proc/{pid}/task"))
    named = [tid for tid in threads if Path(f"/proc/{pid}/task/{tid}/comm").read_text().strip() == "routerd"]
    (reactor,) = [tid for tid in named if tid != pid]
    return reactor


# The same number on every architecture.
IO_URING_ENTER, EPOLL_PWAIT2 = 426, 441


def system_calls(thread, work, warm_up, hold=0.0):
    """How many system calls a thread makes while `work()` is done, by their numbers. `warm_up()` has it make some more
    before and after it: what is traced is seen only where it does something. For `hold` seconds it is kept from each
    call that waits, so that what comes meanwhile comes at once."""
    counts, counting, done = {}, threading.Event(), threading.Event()

    def client():
        warm_up()
        counting.set()
        try:
            work()
        finally:
            done.set()
            warm_up()

    other = threading.Thread(target=client)
    with stopped(thread):
        other.start()
        while not done.is_set():
            number = _next_call(thread)
            if number is not None and counting.is_set():
                counts[number] = counts.get(number, 0) + 1
                if number in (IO_URING_ENTER, EPOLL_PWAIT2):
                    time.sleep(hold)
    other.join(60)
    return counts


def _next_call(thread):
    """Lets a stopped thread go on until its next stop: the number of the call that it enters, or None. No signal gets
    lost by it: the program has blocked those that it expects."""
    libc.ptrace(SYSCALL, thread, None, None)
    _, status = os.waitpid(thread, WALL)
    if os.WSTOPSIG(status) != OF_A_CALL:
        return None
    # op, architecture, instruction, stack, number of the call.
    answer = ctypes.create_string_buffer(88)
    libc.ptrace(GET_SYSCALL_INFO, thread, len(answer), answer)
    operation, _, _, _, number = struct.unpack_from("=B3xIQQQ", answer)
    return number if operation == ENTRY else None
