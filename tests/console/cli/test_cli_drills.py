"""`skerry drill report` and `status` from the record alone: no gateway runs."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from console import exits, paths
from dispatch.island_view import Check, DrillReport
from storage.config import StorageConfig
from storage.drills import DrillRecord
from storage.recorder import Recorder
from tests.console.cli.conftest import NOON_UTC_S, Machine

REPORT = DrillReport(
    who="ann",
    reason="monthly",
    minutes=10.0,
    started_utc_s=NOON_UTC_S,
    ended_utc_s=NOON_UTC_S + 700,
    result="passed",
    why="held, returned, every criterion met",
    timeline=((NOON_UTC_S, "preparing: drill of 10 min by ann"), (NOON_UTC_S + 700, "end")),
    checks=(Check("energy", True, "SoC 80.0 %, 21.0 kW for 10 min takes 4.5 %"),),
    criteria=(Check("bus voltage", True, "229 V"),),
    transfer_gap="8 ms by the switch's recorder",
    islanded_s=601.5,
    v_min=228.0,
    v_max=231.5,
    hz_min=49.98,
    hz_max=50.4,
    battery_wh=3_412.5,
    soc_track=((NOON_UTC_S, 80.0), (NOON_UTC_S + 600, 76.2)),
)
HEAD = "17:" + "9f" * 32


@pytest.fixture
def drilled(machine: Machine) -> str:
    """A record with two drills."""
    site: Path = machine.site()
    recorder = Recorder(machine.state / "skerry" / paths.slug(site), StorageConfig(), "boot")
    failed = msgspec.structs.replace(REPORT, result="failed", why="the switch did not confirm open", minutes=5.0)
    recorder.drill(DrillRecord(REPORT, HEAD))
    recorder.drill(DrillRecord(failed, HEAD))
    assert recorder.close()
    return str(site)


async def test_a_report_is_read_without_a_gateway(machine: Machine, drilled: str) -> None:
    ran = await machine.skerry("drill", "report", "1", "--site", drilled)
    assert ran.code == exits.OK
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
    assert ran.code == exits.OK
    assert "FAILED, the switch did not confirm open" in ran.out
    assert "State" not in ran.out, "where the site stands nobody knows"


async def test_no_drill_and_no_record(machine: Machine, drilled: str) -> None:
    ran = await machine.skerry("drill", "report", "9", "--site", drilled)
    assert (ran.code, ran.out) == (exits.FAILED, "")
    assert "there is no drill 9 on record" in ran.err
    other = await machine.skerry("drill", "report", "--site", str(machine.site("other.toml")))
    assert other.code == exits.NO_GATEWAY
