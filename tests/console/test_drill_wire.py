"""Drills by the command line, on the wire: refused, run to a report, aborted. Twin and gateway as processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness import Site, a_site, site_text, until

from console import exits
from console.link.client import GatewayClient
from dispatch.model import IslandState

FLAT_TRACE = "start_utc,power_w\n2025-09-16T00:00:00Z,1000\n2025-09-17T00:00:00Z,1000\n"
FLAT = """
load_trace = "flat.csv"
base_load_w = 20000
nodes = 1
cooling_fraction = 0
pv_peak_w = 0
soc_pct = 30
auto_reclose = false
"""
QUICK = """
[island]
wait_s = 1
ramp_w_per_s = "20 kW/s"
drill_floor_pct = 10
"""
WHY = ("--reason", "rehearsal")


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Site]:
    """A flat 21 kW load on a battery of 100 kWh that is at 30 %."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT, extra=QUICK)) as site:
        await site.twin()
        await site.gateway()
        yield site


async def skerry(site: Site, *arguments: str) -> tuple[int | None, str, str]:
    """Exit code and both streams of `skerry ARGUMENTS --site SITE`."""
    process = await site.run(*arguments, "--site", str(site.path))
    out, err = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, out.decode(), err.decode()


async def drill_status(site: Site) -> dict[str, Any]:
    code, out, err = await skerry(site, "drill", "status", "--json")
    assert code == exits.OK, err
    found: dict[str, Any] = json.loads(out)
    return found


async def ready(site: Site) -> GatewayClient:
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


async def test_a_drill_is_refused_run_and_reported(wire: Site) -> None:
    client = await ready(wire)
    code, out, _ = await skerry(wire, "drill", "status")
    assert code == exits.OK
    assert "State     grid-tied" in out
    assert "No drill has been run since the gateway started." in out

    code, out, err = await skerry(wire, "drill", "start", "--minutes", "60", *WHY)  # 25 % that are not there
    assert code == exits.REFUSED
    failed = [line for line in out.splitlines() if line.startswith("✗")]
    assert len(failed) == 1
    assert failed[0].startswith("✗ energy")
    assert "→ charge to" in failed[0]
    assert "✓ grid-tied" in out
    assert "no drill: energy: SoC" in err
    assert (await drill_status(wire))["report"] is None

    code, out, err = await skerry(wire, "drill", "start", "--minutes", "0.1", *WHY)
    assert code == exits.OK, out + err
    assert "✗" not in out
    await until(client, lambda s: s.decision.island is IslandState.ISLANDED)
    code, out, _ = await skerry(wire, "drill", "status")
    assert code == exits.OK
    assert "Drill     0.1 min by" in out
    await until(client, lambda s: s.decision.island is IslandState.GRID_TIED)
    async with asyncio.timeout(10):
        while (found := await drill_status(wire))["report"] is None:
            pass
    assert found["report"]["result"] == "passed", found["report"]["why"]
    assert found["report"]["v_min"] > 0
    code, out, _ = await skerry(wire, "drill", "status")
    assert "PASSED" in out
    assert "Hz while islanded" in out
    assert "✓ bus frequency" in out
    rows = await client.request("audit", limit=50)
    said = [(r["kind"], r.get("outcome")) for r in rows if r.get("command") == "drill.start"]
    assert said == [("intent", None), ("result", "refused"), ("intent", None), ("result", "begun")]


async def test_a_drill_is_aborted_and_the_rest_is_refused_when_it_does_not_apply(wire: Site) -> None:
    client = await ready(wire)
    for arguments, line in (
        (("drill", "abort"), "there is no drill and no black start to abort"),
        (("island", "reset", *WHY), "there is no fault to reset: the site is grid-tied"),
        (("island", "black-start", *WHY, "--confirm-nobody-on-the-bus"), "black start is for a dead site"),
    ):
        code, _, err = await skerry(wire, *arguments)
        assert code == exits.REFUSED
        assert line in err
    code, _, err = await skerry(wire, "drill", "start", "--minutes", "5", *WHY)
    assert code == exits.OK, err
    await until(client, lambda s: s.decision.island is IslandState.ISLANDED)
    code, _, err = await skerry(wire, "setpoint", "5kW", *WHY)
    assert code == exits.REFUSED
    code, out, err = await skerry(wire, "drill", "abort")
    assert code == exits.OK, err
    assert "aborting" in out
    await until(client, lambda s: s.decision.island is IslandState.GRID_TIED)
    async with asyncio.timeout(10):
        while (found := await drill_status(wire))["report"] is None:
            pass
    assert found["report"]["result"] == "aborted"
    print(found["report"]["timeline"], found["report"]["islanded_s"])
