"""What is installed: the service, the manual pages, the package."""

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from router import BINARY, IS_ROOT, free_port

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "scripts/package.sh"
RELEASE = ROOT / ".build/release/routerd"


def run(*command, check=True, timeout=120, **environment):
    result = subprocess.run(
        [str(part) for part in command], env=os.environ | {"ROUTERD_BINARY": str(BINARY)} | environment,
        capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
    if check:
        assert result.returncode == 0, f"{command}: {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def needs(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Everything, below a directory that stands for the root."""
    root = tmp_path_factory.mktemp("root")
    run(PACKAGE, "install", "/usr/local", DESTDIR=str(root))
    yield root
    shutil.rmtree(root)


def files(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_install_leaves_a_program_that_runs(installed):
    """Something was forgotten, or came with the installing user's umask, and only root could start it."""
    program = installed / "usr/local/bin/routerd"
    assert run(program, "--version").stdout == run(BINARY, "--version").stdout
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in installed.rglob("*"))
    assert {
        "usr/local/lib/systemd/system/routerd.service", "usr/local/lib/systemd/system/routerd.socket",
        "usr/local/share/man/man1/routerd.1", "usr/local/share/man/man1/routerd-serve.1",
        "usr/local/share/bash-completion/completions/routerd", "etc/default/routerd",
    } <= files(installed)
    service = (installed / "usr/local/lib/systemd/system/routerd.service").read_text()
    assert "ExecStart=/usr/local/bin/routerd serve" in service and "@" not in service.replace("@system-service", "")


def test_uninstall_leaves_what_was_there_before(tmp_path, stand_in):
    """A prefix is shared: what others have put there stays, their empty directories too, and nothing of ours. What the
    administrator wrote outlives an upgrade: one that resets the port takes the service away from its clients."""
    (tmp_path / "root/usr/local/share/man").mkdir(parents=True)
    (tmp_path / "root/usr/local/bin").mkdir()
    (tmp_path / "root/usr/local/bin/other").write_text("not ours")
    before = sorted((tmp_path / "root").rglob("*"))
    environment = {"DESTDIR": str(tmp_path / "root"), "ROUTERD_BINARY": stand_in}
    run(PACKAGE, "install", "/usr/local", **environment)
    defaults = tmp_path / "root/etc/default/routerd"
    original = defaults.read_text()
    defaults.write_text("ROUTERD_PORT=6000\n")
    run(PACKAGE, "install", "/usr/local", **environment)
    assert defaults.read_text() == "ROUTERD_PORT=6000\n"
    defaults.write_text(original)
    run(PACKAGE, "uninstall", "/usr/local", **environment)
    assert sorted((tmp_path / "root").rglob("*")) == before
    again = run(PACKAGE, "uninstall", "/usr/local", check=False, **environment)
    assert again.returncode == 1 and "nothing was installed" in again.stderr


@needs("groff")
def test_manual_pages_have_every_option_and_no_warning(installed):
    """A page that was written by hand knows last year's options."""
    pages = sorted((installed / "usr/local/share/man/man1").glob("*.1"))
    for page in pages:
        rendered = run("groff", "-man", "-Tutf8", "-ww", "-P-cbou", page)
        assert not rendered.stderr, f"{page.name}: {rendered.stderr}"
        verb = page.stem.partition("-")[2]
        help = run(BINARY, "help", *([verb] if verb else [])).stdout
        flags = set(re.findall(r"--[a-z][a-z-]+", help.partition("OPTIONS:")[2])) - {"--help", "--version"}
        text = rendered.stdout.replace("\N{HYPHEN}", "-").replace("\N{MINUS SIGN}", "-")
        assert not [flag for flag in flags if flag not in text], page.name
    assert "routerd-serve.1" in {page.name for page in pages}


def test_manual_page_names_every_variable(installed):
    """The README's table and the page are made from different sources and must say the same."""
    page = (installed / "usr/local/share/man/man1/routerd-serve.1").read_text()
    table = re.findall(r"^\| `--.*?\| `(ROUTERD_\w+)`", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(table) > 15
    assert not [name for name in table if name not in page]


@needs("bash")
def test_shell_completion_is_a_script(installed):
    """A completion file with an error in it breaks every new shell."""
    run("bash", "-n", installed / "usr/local/share/bash-completion/completions/routerd")


@pytest.fixture
def units(installed, tmp_path):
    """The units, with a program that is there."""
    for unit in (installed / "usr/local/lib/systemd/system").iterdir():
        text = unit.read_text().replace("/usr/local/bin/routerd", str(BINARY))
        (tmp_path / unit.name).write_text(text.replace("Documentation=man:", "#"))
    return tmp_path


@needs("systemd-analyze")
def test_units_are_understood(units):
    """systemd ignores a line that it does not understand, hardening included, and says so where nobody looks."""
    result = run("systemd-analyze", "verify", "--man=no", units / "routerd.service", units / "routerd.socket")
    assert "routerd" not in result.stderr, result.stderr


@needs("systemd-analyze")
def test_the_service_is_fenced_in(units):
    """Exposure as systemd counts it, from 0 to 10 (unsafe): a line lost in an edit is seen here."""
    result = run(
        "systemd-analyze", "security", "--offline=true", "--threshold=25", units / "routerd.service", check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr


@pytest.fixture
def stand_in(tmp_path):
    """A program that says what routerd says: the debug build needs Swift's libraries, and takes a minute to pack."""
    source = tmp_path / "stand_in.c"
    source.write_text(f"""
        #include <unistd.h>
        int main(int count, char **words) {{ return execv("{BINARY}", words); }}
    """)
    run(shutil.which("cc") or "clang", "-o", tmp_path / "stand_in", source)
    return str(tmp_path / "stand_in")


@needs("dpkg-deb", "dpkg-shlibdeps")
def test_the_debian_package(stand_in, tmp_path):
    """Built twice it is the same; it asks for PostgreSQL, and overwrites no configuration."""
    for directory in ("one", "two"):
        run(PACKAGE, "deb", tmp_path / directory, ROUTERD_BINARY=stand_in)
    (first,), (second,) = ((tmp_path / name).glob("*.deb") for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    version = run(BINARY, "--version").stdout.strip()
    assert run("dpkg-deb", "--field", first, "Package", "Version").stdout.split() == [
        "Package:", "routerd", "Version:", version]
    depends = run("dpkg-deb", "--field", first, "Depends").stdout
    assert "postgresql-15 | postgresql (>= 13)" in depends and "libc6 (>=" in depends
    run("dpkg-deb", "--extract", first, tmp_path / "root")
    run("dpkg-deb", "--control", first, tmp_path / "control")
    assert (tmp_path / "control/conffiles").read_text() == "/etc/default/routerd\n"
    for script in ("postinst", "prerm", "postrm"):
        assert os.access(tmp_path / "control" / script, os.X_OK)
        run("sh", "-n", tmp_path / "control" / script)
    assert gzip.open(tmp_path / "root/usr/share/man/man1/routerd.1.gz").read().startswith(b".TH")
    assert run(tmp_path / "root/usr/bin/routerd", "--version").stdout.strip() == version
    listed = run("dpkg-deb", "--contents", first).stdout.splitlines()
    assert all(line.split()[1] == "root/root" for line in listed)


@pytest.mark.soak
@pytest.mark.skipif(not os.environ.get("ROUTERD_SOAK"), reason="installs a Debian from its mirror: minutes")
@pytest.mark.skipif(not IS_ROOT, reason="chroot needs root")
@pytest.mark.skipif(not RELEASE.exists(), reason="no release program: run make build")
@needs("debootstrap", "dpkg-deb", "dpkg-shlibdeps")
def test_the_package_in_a_clean_debian(tmp_path):
    """What the building machine has and the package forgot to ask for is missing on the first other machine."""
    root = tmp_path / "root"
    packages = "postgresql-15,postgresql-client-15,procps"
    mirror = os.environ.get("ROUTERD_TEST_MIRROR", "http://deb.debian.org/debian")
    run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root, mirror, timeout=1800)
    run(PACKAGE, "deb", root / "packages", ROUTERD_BINARY=str(RELEASE), timeout=600)
    check_package(root)


def check_package(root):
    """Installs, serves, upgrades, removes and purges the package below `root`, where no systemd runs."""
    (package,) = (root / "packages").glob("*.deb")
    inside = [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
        'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"', root, "env", "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"]
    run(*inside, "dpkg", "-i", f"/packages/{package.name}")
    port = free_port()
    script = f"""
        set -e
        # What systemd does: a directory of the unit's user, and the program as that user.
        install --directory --owner=postgres --group=postgres --mode=700 /var/lib/routerd
        setpriv --reuid=postgres --regid=postgres --init-groups --no-new-privs \\
            routerd serve --dir /var/lib/routerd --port {port} --confine auto &
        for _ in $(seq 300); do psql -qc '' postgresql://localhost:{port}/alice 2>/dev/null && break; sleep 0.1; done
        psql -Atc 'SELECT current_database()' postgresql://localhost:{port}/alice
        ps -C routerd -o user=
        setpriv --reuid=postgres --regid=postgres --init-groups routerd stop --dir /var/lib/routerd
        wait
    """
    said = run(*inside, "sh", "-c", script).stdout.split()
    assert "alice" in said and "postgres" in said, said
    (root / "etc/default/routerd").open("a").write("ROUTERD_PORT=6000\n")
    run(*inside, "dpkg", "-i", f"/packages/{package.name}")
    assert "ROUTERD_PORT=6000" in (root / "etc/default/routerd").read_text()
    run(*inside, "dpkg", "-r", "routerd")
    assert not (root / "usr/bin/routerd").exists() and (root / "etc/default/routerd").exists()
    purge = run(*inside, "dpkg", "-P", "routerd")
    assert "stays in /var/lib/routerd" in purge.stderr
    assert (root / "var/lib/routerd/alice/PG_VERSION").exists()
    assert run(*inside, "dpkg", "-l", "routerd", check=False).returncode == 1
