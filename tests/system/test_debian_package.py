"""The Debian package, installed, upgraded, rolled back and removed in a machine of its own: `make test-deb`.

A Debian is made by debootstrap. Where systemd-nspawn can boot it, the service runs in it under systemd, with every
directive of the unit; elsewhere the steps that need no running service are tried in a chroot.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path("/var/tmp/skerry-debian")  # the bare system, kept: it takes minutes
SUITE = "bookworm"
NEEDED = {"debootstrap": "debootstrap", "dpkg-deb": "dpkg", "chroot": "coreutils"}
SITE = (ROOT / "sites" / "demo.toml").read_text() + "\n[roles]\n"
LIMIT_S = 60.0

pytestmark = [
    pytest.mark.skipif(not os.environ.get("SKERRY_TEST_DEB"), reason="takes minutes: make test-deb"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a chroot"),
]


def run(*command: str | Path, **options: str) -> str:
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **options}, check=False
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Revisions 1 and 2, of the same commit."""
    out = tmp_path_factory.mktemp("packages")
    python = os.environ.get("SERVICE_PYTHON", "/usr/bin/python3")
    wheel = run("deploy/build-wheel", ROOT / ".venv/bin/python", out).strip()
    first, second = (Path(run("deploy/build-deb", wheel, python, out, str(n)).strip()) for n in (1, 2))
    return first, second


@pytest.fixture(scope="module")
def debian() -> Path:
    """A bare Debian with Python and systemd. Skips, saying why, where it cannot be made."""
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed; as root: apt-get install {' '.join(missing)}")
    if not (CACHE / "made").exists():
        shutil.rmtree(CACHE, ignore_errors=True)
        command = [
            "debootstrap",
            "--variant=minbase",
            "--include=python3,systemd,util-linux",
            SUITE,
            str(CACHE / "root"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no Debian can be made (no network?): {(done.stdout + done.stderr).strip()[-300:]}")
        (CACHE / "made").touch()
    return CACHE / "root"


class Machine:
    """A Debian of our own, booted where that is possible."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._container: subprocess.Popen[bytes] | None = None
        self._init: str | None = None

    def boot(self) -> bool:
        """Start its systemd. False where this machine cannot."""
        if shutil.which("systemd-nspawn") is None:
            return False
        self._container = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe", "-D", self.root],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )
        with contextlib.suppress(AssertionError):
            self._init = waited(self._found_init)
            waited(lambda: self.tried("systemctl", "is-system-running", "--wait").returncode in (0, 1))
            return True
        self.halt()
        return False

    def _found_init(self) -> str:
        """The process id, here, of its systemd: the child of nspawn."""
        assert self._container is not None
        path = Path(f"/proc/{self._container.pid}/task/{self._container.pid}/children")
        return path.read_text().strip() if path.exists() else ""

    def halt(self) -> None:
        """Power off, as by a switch; all its processes have ended afterwards."""
        if self._container is None:
            return
        if self._init:
            os.kill(int(self._init), signal.SIGKILL)  # and with it all others of its process namespace
        else:
            self._container.kill()
        self._container.wait()
        self._container = None

    def tried(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        into = ["nsenter", "-t", self._init, "-a", "-r", "-w"] if self._init else ["chroot", str(self.root)]
        return subprocess.run([*map(str, into), *command], capture_output=True, text=True, check=False)

    def run(self, *command: str) -> str:
        """Run a command in it that must succeed."""
        done = self.tried(*command)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def install(self, package: Path) -> str:
        """As a technician does with a file; what is said."""
        shutil.copy(package, self.root / "var/tmp/skerry.deb")
        return self.run("dpkg", "--install", "/var/tmp/skerry.deb")


def waited(look: Callable[[], object]) -> str:
    """What `look` gives once it is something. Fails after a while."""
    until_s = time.monotonic() + LIMIT_S
    while not (found := look()):
        assert time.monotonic() < until_s, f"nothing after {LIMIT_S:g} s"
        time.sleep(0.1)
    return str(found)


@pytest.fixture
def machine(debian: Path, tmp_path: Path) -> Iterator[Machine]:
    root = tmp_path / "root"
    run("cp", "-a", debian, root)
    there = Machine(root)
    run("mount", "-t", "proc", "proc", root / "proc")
    try:
        yield there
    finally:
        there.halt()
        run("umount", "-l", root / "proc")
        shutil.rmtree(root)


def test_two_builds_of_one_commit_are_the_same_bytes(packages: tuple[Path, Path], tmp_path: Path) -> None:
    python = os.environ.get("SERVICE_PYTHON", "/usr/bin/python3")
    wheel = Path(run("deploy/build-wheel", ROOT / ".venv/bin/python", tmp_path).strip())
    assert wheel.read_bytes() == (packages[0].parent / wheel.name).read_bytes()
    package = Path(run("deploy/build-deb", wheel, python, tmp_path, "1").strip())
    assert package.read_bytes() == packages[0].read_bytes()
    print(f"\n{package.name}: {package.stat().st_size / 1e6:.1f} MB, the same twice")


def test_install_and_remove_without_a_service_manager(packages: tuple[Path, Path], machine: Machine) -> None:
    """As when an image is made: nothing can be started."""
    machine.install(packages[0])
    assert re.search(r"^skerry-viewer:x:\d+:skerry$", (machine.root / "etc/group").read_text(), re.MULTILINE)
    assert machine.run("skerry", "--version").startswith("skerry ")
    state = machine.root / "var/lib/skerry"
    (state / "telemetry.db").write_text("rows")
    (machine.root / "etc/skerry/site.toml").write_text(SITE)
    machine.run("skerry", "check", "/etc/skerry/site.toml")
    machine.install(packages[1])
    machine.install(packages[0])
    machine.run("dpkg", "--remove", "skerry")
    assert not (machine.root / "opt/skerry").exists(), [*(machine.root / "opt/skerry").rglob("*")][:5]
    machine.run("dpkg", "--purge", "skerry")
    assert (state / "telemetry.db").read_text() == "rows"
    assert (machine.root / "etc/skerry/site.toml").read_text() == SITE


def pid_of(machine: Machine) -> str:
    return machine.run("systemctl", "show", "--property=MainPID", "--value", "skerry").strip()


def at_s(machine: Machine, what: str) -> float:
    """A time of the unit, on the monotonic clock."""
    return int(machine.run("systemctl", "show", f"--property={what}TimestampMonotonic", "--value", "skerry")) / 1e6


def first_tick_s(machine: Machine) -> float:
    """From the last start of the process to READY, which follows the first completed tick."""
    return at_s(machine, "ActiveEnter") - at_s(machine, "ExecMainStart")


def is_active(machine: Machine) -> bool:
    return machine.tried("systemctl", "is-active", "skerry").returncode == 0


def test_the_service_under_systemd(packages: tuple[Path, Path], machine: Machine) -> None:
    """First installation, start, roles, crash, hang, upgrade, rollback, a disk that cannot be written, removal."""
    if not machine.boot():
        pytest.skip("systemd-nspawn cannot boot a container here; as root: apt-get install systemd-container")
    assert "not started" in machine.install(packages[0])
    assert machine.tried("systemctl", "start", "skerry").returncode == 0  # ConditionPathExists=: nothing to do
    assert pid_of(machine) == "0"
    (machine.root / "etc/skerry/site.toml").write_text(SITE)
    machine.run("systemctl", "enable", "--now", "skerry")
    print(f"\nfirst tick {first_tick_s(machine):.1f} s after the start")
    for user, groups in (("vera", "skerry-viewer"), ("otto", "skerry-viewer,skerry-operator"), ("nobody", "")):
        if groups:
            machine.run("useradd", "--groups", groups, user)
            waited(lambda user=user: not machine.tried("runuser", "-u", user, "--", "skerry", "status").returncode)
        else:
            assert machine.tried("runuser", "-u", user, "--", "skerry", "status").returncode != 0
    hold = ("skerry", "stop", "--reason", "test")
    assert machine.tried("runuser", "-u", "vera", "--", *hold).returncode == 4
    machine.run("runuser", "-u", "otto", "--", *hold)
    identity = machine.run("cat", "/var/lib/skerry/identity.json")

    before = pid_of(machine)
    machine.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", "skerry")
    waited(lambda: pid_of(machine) not in ("0", before) and is_active(machine))

    before = pid_of(machine)
    stopped_s = time.monotonic()
    machine.run("systemctl", "kill", "--signal=STOP", "--kill-who=main", "skerry")  # a hung loop
    waited(lambda: pid_of(machine) not in ("0", before))
    print(f"a hung gateway was replaced after {time.monotonic() - stopped_s:.1f} s by the watchdog")
    waited(lambda: is_active(machine))

    for step, package in (("upgrade", packages[1]), ("rollback", packages[0])):
        before = pid_of(machine)
        machine.install(package)
        assert machine.run("systemctl", "is-active", "skerry").strip() == "active"
        assert pid_of(machine) != before
        assert machine.run("cat", "/var/lib/skerry/identity.json") == identity
        print(f"{step}: first tick {first_tick_s(machine):.1f} s after the start of the process")
    machine.run("runuser", "-u", "otto", "--", "skerry", "status")
    levels = machine.run("journalctl", "-u", "skerry", "-o", "cat", "-p", "err", "--no-pager")
    assert "gateway started" not in levels
    assert "gateway started" in machine.run("journalctl", "-u", "skerry", "-o", "cat", "--no-pager")

    machine.run("systemctl", "stop", "skerry")
    machine.install(packages[1])
    assert pid_of(machine) == "0"  # a stopped one stays stopped

    shutil.rmtree(machine.root / "var/lib/skerry")
    machine.run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/var/lib")
    machine.run("systemctl", "start", "skerry")  # control runs without a state directory
    assert "Records not written" in waited(lambda: alarms(machine))
    machine.run("systemctl", "stop", "skerry")
    machine.run("umount", "/var/lib")
    machine.run("dpkg", "--purge", "skerry")
    assert (machine.root / "etc/skerry/site.toml").exists()


def alarms(machine: Machine) -> str:
    done = machine.tried("runuser", "-u", "otto", "--", "skerry", "status")
    return done.stdout if "Records not written" in done.stdout else ""
