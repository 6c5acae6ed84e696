"""Drills by the command line, on the wire: refused, run to a report, aborted. Twin and gateway as processes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness import Site, a_site, site_text, until
from test_island_wire import FLAT_TRACE, WAITING
from waiting import LIMIT_S

from console.launcher import GatewayChild
from dispatch.islanding.drill_schedule import ScheduleMemory
from dispatch.model.islanding import IslandState
from dispatch.wording.catalogue import words
from gateway import exit_codes
from gateway.api.client import GatewayClient
from storage.config import StorageConfig
from storage.reader import Archive
from storage.recorder import Recorder
from storage.verify import verify

FLAT = f"{WAITING}soc_pct = 30\n"
QUICK = """
[island]
wait_s = 1
ramp_w_per_s = "100 kW/s"
drill_floor_pct = 10
"""
WHY = ("--reason", "rehearsal")


@pytest.fixture
def speed() -> int:
    """Of the twin's clock; tests that need not watch in real time ask for more."""
    return 1


@pytest.fixture
async def twin(tmp_path: Path, speed: int) -> AsyncIterator[Site]:
    """A flat 21 kW load on a battery of 100 kWh that is at 30 %."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=f"{FLAT}speed = {speed}\n", extra=QUICK)) as site:
        await site.twin()
        yield site


@pytest.fixture
async def wire(twin: Site) -> Site:
    """With a gateway."""
    await twin.gateway()
    return twin


async def skerry(site: Site, *arguments: str) -> tuple[int | None, str, str]:
    """Exit code and both streams of `skerry ARGUMENTS --site SITE`."""
    process = await site.run(*arguments, "--site", str(site.path))
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    return process.returncode, out.decode(), err.decode()


async def drill_status(site: Site) -> dict[str, Any]:
    code, out, err = await skerry(site, "drill", "status", "--json")
    assert code == exit_codes.OK, err
    found: dict[str, Any] = json.loads(out)
    return found


async def ready_client(site: Site) -> GatewayClient:
    """A client, once every device is read."""
    client = await site.client()
    await until(
        client,
        lambda s: (
            s.decision.island is IslandState.GRID_TIED
            and s.snapshot.load_w is not None
            and s.snapshot.batteries[0].discharge_limit_w.good is not None
        ),
    )
    return client


async def the_record_keeps_it(site: Site, report: dict[str, Any]) -> None:
    """The report by its number, with the head of the audit, also once the gateway is gone; in the export; verified."""
    code, out, err = await skerry(site, "drill", "report", "1", "--json")
    assert code == exit_codes.OK, err
    (kept,) = json.loads(out)
    assert (kept["number"], kept["report"], kept["not_durable"]) == (1, report, "")
    row, _, digest = kept["audit_head"].partition(":")
    audit = json.loads((await skerry(site, "audit", "--json"))[1])
    named = next(r for r in audit if r["kind"] == "drill")
    assert (named["outcome"], named["seq"], named["sha256"]) == ("passed", int(row), digest)
    code, out, err = await skerry(site, "drill", "report", "7")
    assert (code, out) == (exit_codes.FAILED, "")
    assert "there is no drill 7 on record" in err


async def test_a_drill_is_refused_run_and_reported(wire: Site) -> None:
    client = await ready_client(wire)
    code, out, _ = await skerry(wire, "drill", "status")
    assert code == exit_codes.OK
    assert "State     grid-tied" in out
    assert "no drill is on record" in out

    code, out, err = await skerry(wire, "drill", "start", "--minutes", "60", *WHY)  # 25 % that are not there
    assert code == exit_codes.REFUSED
    failed = [line for line in out.splitlines() if line.startswith("✗")]
    assert len(failed) == 1
    assert failed[0].startswith("✗ energy")
    assert "→ charge to" in failed[0]
    assert "✓ grid-tied" in out
    assert "no drill: energy: SoC" in err
    assert (await drill_status(wire))["report"] is None

    code, out, err = await skerry(wire, "drill", "start", "--minutes", "0.1", "--dry-run", *WHY)
    assert code == exit_codes.OK, out + err
    assert "a drill of 0.1 min may begin" in out
    code, out, err = await skerry(wire, "drill", "start", "--minutes", "0.1", *WHY)
    assert code == exit_codes.OK, out + err
    assert "✗" not in out
    await until(client, lambda s: s.decision.island is IslandState.ISLANDED)
    code, out, _ = await skerry(wire, "drill", "status")
    assert code == exit_codes.OK
    assert "Drill     0.1 min by" in out
    await until(client, lambda s: s.decision.island is IslandState.GRID_TIED)
    async with asyncio.timeout(LIMIT_S):
        while (found := await drill_status(wire))["report"] is None:
            pass
    assert found["report"]["result"] == "passed", found["report"]["why"]
    assert found["report"]["v_min"] > 0
    code, out, _ = await skerry(wire, "drill", "status")
    assert "PASSED" in out
    assert "Hz while islanded" in out
    assert "✓ bus frequency" in out
    assert "Audit     head " in out
    report = found["report"]
    shown = await until(client, lambda s: s.last_drill is not None)
    assert shown.last_drill is not None
    assert (shown.last_drill.result, shown.last_drill.minutes) == ("passed", 0.1)
    await the_record_keeps_it(wire, report)
    rows = await client.request("audit", limit=50)
    said = [(r["kind"], r.get("outcome")) for r in rows if r.get("command") == "drill.start"]
    assert said == [("intent", None), ("result", "refused"), ("intent", None), ("result", "accepted")]


async def test_a_drill_is_aborted_and_the_rest_is_refused_when_it_does_not_apply(wire: Site) -> None:
    client = await ready_client(wire)
    for arguments, line in (
        (("drill", "abort"), "there is no drill and no black start to abort"),
        (("island", "reset", *WHY), "there is no fault to reset: the site is grid-tied"),
        (("island", "black-start", *WHY, "--confirm-nobody-on-the-bus"), "black start is for a dead site"),
    ):
        code, _, err = await skerry(wire, *arguments)
        assert code == exit_codes.REFUSED
        assert line in err
    code, _, err = await skerry(wire, "drill", "start", "--minutes", "5", *WHY)
    assert code == exit_codes.OK, err
    await until(client, lambda s: s.decision.island is IslandState.ISLANDED)
    code, _, err = await skerry(wire, "setpoint", "5kW", *WHY)
    assert code == exit_codes.REFUSED
    code, out, err = await skerry(wire, "drill", "abort")
    assert code == exit_codes.OK, err
    assert "aborting" in out
    await until(client, lambda s: s.decision.island is IslandState.GRID_TIED)
    async with asyncio.timeout(LIMIT_S):
        while (found := await drill_status(wire))["report"] is None:
            pass
    assert found["report"]["result"] == "aborted"


@pytest.mark.parametrize("speed", [4])
async def test_the_console_is_lost_in_a_drill_and_the_gateway_brings_the_site_back_before_it_ends(twin: Site) -> None:
    """`skerry SITE.toml` over SSH: the line breaks, the console dies, its gateway sees the end of its stdin."""
    child = GatewayChild(twin.path, twin.state_dir, ["--twin", str(twin.announce)])
    await child.start()
    try:
        client = await ready_client(twin)
        code, _, err = await skerry(twin, "drill", "start", "--minutes", "30", *WHY)
        assert code == exit_codes.OK, err
        await until(client, lambda s: s.decision.island is IslandState.ISLANDED)
        async with asyncio.timeout(LIMIT_S):
            await child.stop()  # closes its stdin; it is not waited for
        assert child.left_behind
        async with asyncio.timeout(LIMIT_S):
            while child.ended is None:  # noqa: ASYNC110 - nobody tells of a process's end
                await asyncio.sleep(0.05)
        assert child.ended == exit_codes.OK
    finally:
        child.left_behind = False
        if child.ended is None:
            await child.stop()
    state = (await twin.twin_says({"state": {}}))["state"]
    assert (state["switch"], state["unserved_wh"]) == ({"pcc": "closed"}, 0)
    (kept,) = Archive(twin.state_dir).drills(1)
    assert kept.report.result == "aborted"
    text = [e.text for e in Archive(twin.state_dir).events(50)]
    assert "the console is gone, a drill is under way: going on until it is on the grid" in text


async def test_a_drill_whose_gateway_is_killed_or_stopped_is_reported_as_failed(twin: Site) -> None:
    gateway = await twin.gateway()
    client = await ready_client(twin)
    await skerry(twin, "drill", "start", "--minutes", "30", *WHY)
    await until(client, lambda s: s.decision.island is IslandState.PREPARING)
    gateway.kill()
    await gateway.wait()
    gateway = await twin.gateway()
    client = await ready_client(twin)
    shown = await until(client, lambda s: s.last_drill is not None)
    assert shown.last_drill is not None
    assert (shown.last_drill.result, shown.last_drill.minutes) == ("failed", 30)
    assert "killed in its middle" in words(shown.last_drill.why)
    await skerry(twin, "drill", "start", "--minutes", "20", *WHY)
    await until(client, lambda s: s.decision.island is IslandState.PREPARING)
    gateway.terminate()
    assert await asyncio.wait_for(gateway.wait(), LIMIT_S) == exit_codes.OK
    kept = Archive(twin.state_dir).drills()
    assert [(k.number, k.report.minutes, k.report.result) for k in kept] == [(2, 20, "failed"), (1, 30, "failed")]
    assert words(kept[0].report.why) == "the gateway was stopped in its middle"
    assert verify(twin.state_dir).ok


@pytest.mark.soak
@pytest.mark.skipif(not os.environ.get("SKERRY_SOAK"), reason="make soak; test_drill_clock.py has its parts")
async def test_a_drill_that_is_due_begins_by_itself_where_the_site_file_says_so(tmp_path: Path) -> None:
    """The twin's calendar begins on a Tuesday, 08:55 in Berlin; the drill was due at 08:00, the last run a week ago."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    drills = '[drills]\nschedule = "weekly, Tuesday 08:00"\nminutes = 0.1\nunattended = true\n'
    async with a_site(tmp_path, site_text(twin=f"{FLAT}speed = 4\n", extra=QUICK + drills)) as site:
        before = Recorder(site.state_dir, StorageConfig(), "boot")
        before.save_state("drills", ScheduleMemory(handled_utc_s=1_758_005_700.0 - 7 * 86_400))
        assert before.close()
        await site.twin()
        await site.gateway()
        client = await site.client()
        shown = await until(client, lambda s: s.last_drill is not None)
        assert shown.last_drill is not None
        assert (shown.last_drill.result, shown.last_drill.who) == ("passed", "schedule")
        plan = (await until(client, lambda s: s.drill_plan is not None and s.drill_plan.due_utc_s is None)).drill_plan
        assert plan is not None
        assert plan.next_utc_s == 1_758_607_200.0
        _, out, _ = await skerry(site, "drill", "status")
        assert "Next      2025-09-23 08:00:00 CEST, begins by itself" in out
        rows = await client.request("audit", limit=50)
        assert [r["kind"] for r in rows if r.get("who") == "schedule"] == ["intent", "result", "drill"]
