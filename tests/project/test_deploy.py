"""The systemd unit is one that systemd understands, and as closed as we say."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "skerry.service"
OF_A_FLEET = sorted((ROOT / "deploy" / "hub").glob("*.service"))
EXPOSURE = 18  # tenths of what `systemd-analyze security` gives: 1.7 at systemd 252; newer ones count a little more
systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here, the one thing that `verify` looks for outside it."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/skerry/bin/skerry", "/bin/true"))
    return copy


@systemd
def test_systemd_understands_the_unit(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr  # an unknown key is a warning that names the unit


@systemd
def test_systemd_understands_the_units_of_a_fleet_and_they_are_closed(tmp_path: Path) -> None:
    copies = [tmp_path / unit.name for unit in OF_A_FLEET]
    for unit, copy in zip(OF_A_FLEET, copies, strict=True):
        copy.write_text(unit.read_text().replace("/opt/skerry/bin/skerry", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", *map(str, copies)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", *map(str, copies)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout


def test_the_units_of_a_fleet_give_options_that_the_commands_have() -> None:
    from console.cli.hub import hub
    from console.cli.uplink import uplink

    for command, unit in zip((hub, uplink), OF_A_FLEET, strict=True):
        line = next(line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
        assert f"skerry {command.name} " in line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in line.split() if word.startswith("--")} <= known


@systemd
def test_exposure_stays_low(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze rates running units only")
    assert done.returncode == 0, done.stdout[-300:]


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_the_watchdog_bites_before_the_devices_revert() -> None:
    """A hung gateway must be back, or known to be gone, within the shortest usual reversion time, 60 s."""
    unit = settings()
    assert unit["Type"] == ["notify"]
    assert float(unit["WatchdogSec"][0]) + float(unit["RestartSec"][0]) + 10 < 60


def test_nothing_keeps_the_gateway_from_starting() -> None:
    """A clock that is not set, a network that is not up, a state directory that cannot be made: control runs."""
    unit, words = settings(), UNIT.read_text()
    assert "StateDirectory" not in unit  # systemd would fail the unit where it cannot make it
    assert unit["ReadWritePaths"] == ["-/var/lib/skerry"]
    assert all(command.startswith("-") for command in unit["ExecStartPre"])
    assert unit["StartLimitIntervalSec"] == ["0"]
    for target in ("time-sync.target", "network-online.target"):
        assert target not in words


def test_a_bad_site_file_is_not_tried_again_and_again() -> None:
    from gateway import exit_codes

    assert settings()["RestartPreventExitStatus"] == [str(exit_codes.USAGE)]


def test_what_a_killed_gateway_left_in_a_pcs_is_released() -> None:
    """With the program and site file of the gateway; without success the service ends and starts anew all the same."""
    from console.cli.devices import devices
    from gateway.commissioning import release

    unit = settings()
    (start,), (stop_post,) = unit["ExecStart"], unit["ExecStopPost"]
    program, site = start.split()[0], start.split()[-1]
    assert stop_post == f"-{program} devices release {site}"
    assert "release" in devices.commands
    assert float(unit["TimeoutStopSec"][0]) > 2 * release.LIMIT_S


def test_a_reload_reads_the_prices_again() -> None:
    assert "ExecReload=/bin/kill -HUP $MAINPID" in UNIT.read_text().splitlines()


def test_every_group_of_the_roles_is_made() -> None:
    made = re.findall(r"^g (\S+)", (ROOT / "deploy" / "skerry.sysusers").read_text(), re.MULTILINE)
    assert made == ["skerry-viewer", "skerry-scheduler", "skerry-operator", "skerry-engineer"]


def test_benchmarks_run_the_gateway_at_the_units_priority() -> None:
    from benchmarks.plant import NICE

    assert settings()["Nice"] == [str(NICE)]


def applied(program: str, config: Path, root: Path) -> str:
    """Apply a file of systemd's in a directory instead of /; what is said."""
    if (command := shutil.which(program)) is None:
        pytest.skip(f"{program} is not installed")
    creates = ["--create"] if program == "systemd-tmpfiles" else []
    done = subprocess.run(
        [command, *creates, f"--root={root}", str(config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="hands directories to users")
def test_users_groups_and_directories_are_made_once_and_for_all(tmp_path: Path) -> None:
    """Twice, as at every boot: the second time changes nothing, and what is in the directory stays."""
    for name in ("etc", "var/lib"):
        (tmp_path / name).mkdir(parents=True)
    for turn in range(2):
        applied("systemd-sysusers", ROOT / "deploy" / "skerry.sysusers", tmp_path)
        applied("systemd-tmpfiles", ROOT / "deploy" / "skerry.tmpfiles", tmp_path)
        groups = {line.split(":")[0]: line.split(":") for line in (tmp_path / "etc/group").read_text().splitlines()}
        users = {line.split(":")[0]: line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()}
        assert groups.keys() >= {"skerry", "skerry-viewer", "skerry-operator", "skerry-engineer"}
        assert groups["skerry-viewer"][3] == "skerry"
        assert users["skerry"][6].endswith("nologin")
        found = os.stat(tmp_path / "var/lib/skerry")
        assert stat.S_IMODE(found.st_mode) == 0o750
        assert (str(found.st_uid), str(found.st_gid)) == (users["skerry"][2], groups["skerry"][2])
        assert stat.S_IMODE(os.stat(tmp_path / "etc/skerry").st_mode) == 0o755
        record = tmp_path / "var/lib/skerry/telemetry.db"
        assert turn == 0 or record.read_text() == "rows"
        record.write_text("rows")


def test_the_unit_writes_where_the_directory_is_made() -> None:
    made = re.findall(r"^d (\S+) ", (ROOT / "deploy" / "skerry.tmpfiles").read_text(), re.MULTILINE)
    assert made == ["/var/lib/skerry", "/etc/skerry"]
    assert "STATE_DIRECTORY=/var/lib/skerry" in settings()["Environment"]


@pytest.mark.parametrize(
    ("prefix", "python", "said"),
    [
        ("/home/x/skerry", "/usr/bin/python3", "PREFIX=/home/x/skerry is hidden from the service; take /opt/skerry"),
        ("/tmp/skerry", "/usr/bin/python3", "PREFIX=/tmp/skerry is hidden from the service"),
        ("opt", "/usr/bin/python3", "PREFIX=opt: expected an absolute path"),
        ("/opt/skerry", "/no/python3", "Skerry needs Python 3.11 or newer as '/no/python3'; name another"),
    ],
)
def test_what_the_service_could_not_use_is_not_installed(prefix: str, python: str, said: str, tmp_path: Path) -> None:
    command = [str(ROOT / "deploy" / "install-service"), "no.whl", python, prefix, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []
