"""The systemd unit is one that systemd understands, and as closed as we say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "skerry.service"
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
def test_exposure_stays_low(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit)]
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


def test_a_bad_site_file_is_not_tried_again_and_again() -> None:
    from gateway import exit_codes

    assert settings()["RestartPreventExitStatus"] == [str(exit_codes.USAGE)]


def test_a_reload_reads_the_prices_again() -> None:
    assert "ExecReload=/bin/kill -HUP $MAINPID" in UNIT.read_text().splitlines()


def test_every_group_of_the_roles_is_made() -> None:
    made = re.findall(r"^g (\S+)", (ROOT / "deploy" / "sysusers.conf").read_text(), re.MULTILINE)
    assert made == ["skerry-viewer", "skerry-operator", "skerry-engineer"]


def test_benchmarks_run_the_gateway_at_the_units_priority() -> None:
    from benchmarks.plant import NICE

    assert settings()["Nice"] == [str(NICE)]
