"""kill -9 of a gateway: what was said beforehand of its PCS comes true, for each kind of PCS on the twin."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from harness import a_site, site_text, until
from test_gateway_wire import FLAT, FLAT_TRACE, battery_w
from waiting import LIMIT_S

from dispatch.control.exit_behaviour import if_gateway_dies
from dispatch.wording.catalogue import words

LONGER_S = 4.0  # of machine time, four times as much of the twin's: its timer, or a heartbeat watch, has run out
KINDS = {
    "compliant": ("reverts to 0.0 kW after 5 s", True),
    "no-revert": ("keeps its last setpoint", False),
    "refuses-revert": ("keeps its last setpoint", False),
}


@pytest.mark.parametrize("personality", KINDS)
async def test_what_is_said_beforehand_comes_true(tmp_path: Path, personality: str) -> None:
    said, reverts = KINDS[personality]
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    twin = FLAT + f'personality = "{personality}"\nspeed = 4\n'
    async with a_site(tmp_path, site_text(twin=twin, revert_s=5)) as site:
        await site.twin()
        gateway, client = await site.gateway(), await site.client()
        await site.twin_says({"load_step_w": 30_000})
        last = await until(client, lambda s: battery_w(s) > 15_000)
        assert said in words(if_gateway_dies(last.snapshot.pcs[0], last.decision))
        async with asyncio.timeout(LIMIT_S):
            while not any(said in event["text"] for event in await client.request("events", limit=50)):
                await until(client, lambda s: True)
        gateway.kill()
        await gateway.wait()
        killed_s = (now := await site.twin_says({"state": {}}))["mono_s"]
        async with asyncio.timeout(LIMIT_S):
            while now["mono_s"] < killed_s + LONGER_S:
                await asyncio.sleep(0.2)
                now = await site.twin_says({"state": {}})
        assert (abs(now["state"]["pcs_w"]["pcs1"]) < 500) is reverts, said
