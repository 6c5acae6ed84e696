"""`skerry drill report` and `status` from the record alone: no gateway runs."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from dispatch.model.reasons import plain
from gateway import exit_codes
from gateway.site import paths
from storage.config import StorageConfig
from storage.drills import DrillRecord
from storage.recorder import Recorder
from tests.console.cli.conftest import NOON_UTC_S, Machine
from tests.drill_sample import passed

REPORT = passed(NOON_UTC_S)
HEAD = "17:" + "9f" * 32


@pytest.fixture
def drilled(machine: Machine) -> str:
    """A record with two drills."""
    site: Path = machine.site()
    recorder = Recorder(machine.state / "skerry" / paths.slug(site), StorageConfig(), "boot")
    failed = msgspec.structs.replace(REPORT, result="failed", why=plain("the switch did not confirm open"), minutes=5.0)
    recorder.drill(DrillRecord(REPORT, HEAD))
    recorder.drill(DrillRecord(failed, HEAD))
    assert recorder.close()
    return str(site)


async def test_a_report_is_read_without_a_gateway(machine: Machine, drilled: str) -> None:
    ran = await machine.skerry("drill", "report", "1", "--site", drilled)
    assert ran.code == exit_codes.OK
    assert ran.err.startswith("skerry: no gateway is running; read from ")
    for line in (
        "Drill 1, 2025-09-16 12:00:00 CEST: PASSED, held, returned, every criterion met",
        "Islanded  10 min; transfer gap 8 ms by the switch's recorder",
        "Bus       228.0 – 231.5 V, 49.98 – 50.40 Hz while islanded",
        "Battery   3.41 kWh; SoC 80.0 → 76.2 %, lowest 76.2 %",
        "  before: ✓ energy             SoC 80.0 %, 21.0 kW for 10 min takes 4.5 %",
        f"Audit     head {HEAD}",
    ):
        assert line in ran.out.splitlines()
    newest = await machine.skerry("drill", "report", "--json", "--site", drilled)
    assert [record["number"] for record in json.loads(newest.out)] == [2]
    listed = await machine.skerry("drill", "report", "--list", "--site", drilled)
    assert [line.split()[0] for line in listed.out.splitlines()] == ["1", "2"]


async def test_status_without_a_gateway_tells_of_the_last_drill(machine: Machine, drilled: str) -> None:
    ran = await machine.skerry("drill", "status", "--site", drilled)
    assert ran.code == exit_codes.OK
    assert "FAILED, the switch did not confirm open" in ran.out
    assert "State" not in ran.out, "where the site stands nobody knows"


async def test_no_drill_and_no_record(machine: Machine, drilled: str) -> None:
    ran = await machine.skerry("drill", "report", "9", "--site", drilled)
    assert (ran.code, ran.out) == (exit_codes.FAILED, "")
    assert "there is no drill 9 on record" in ran.err
    other = await machine.skerry("drill", "report", "--site", str(machine.site("other.toml")))
    assert other.code == exit_codes.NO_GATEWAY
