"""A library of C between the program and the C library (LD_PRELOAD), and the page of memory by which a test steers it."""

import mmap
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from router import IS_ROOT, RUN_AS

SOURCES = Path(__file__).parent


class Preload:
    """The library `name`.c compiled into `home`, and its page, the file that the variable of its environment names."""

    def __init__(self, home, name, variable):
        library, page = home / f"{name}.so", home / f"{name}.page"
        compiler = shutil.which("cc") or shutil.which("clang")
        source = SOURCES / f"{name}.c"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
        page.write_bytes(bytes(mmap.PAGESIZE))
        if IS_ROOT:
            os.chown(page, pwd.getpwnam(RUN_AS).pw_uid, -1)
        self.environment = {"LD_PRELOAD": str(library), variable: str(page)}
        with open(page, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
