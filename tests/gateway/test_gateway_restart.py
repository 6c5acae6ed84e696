"""A gateway that is stopped and started again goes on with what the controller knew."""

from __future__ import annotations

import asyncio
from pathlib import Path

from harness import a_site, site_text, until
from waiting import LIMIT_S

from dispatch.model.decision import Mode
from gateway.api.protocol import Published

FLAT = """
load_trace = "flat.csv"
pcs_lag_s = 0.2
meter_delay_s = 0.1
base_load_w = 20000
nodes = 1
cooling_fraction = 0
pv_peak_w = 0
soc_pct = 60
"""


async def test_a_restarted_gateway_remembers_pulses_and_the_running_interval(tmp_path: Path) -> None:
    (tmp_path / "flat.csv").write_text("start_utc,power_w\n2025-09-16T00:00:00Z,1000\n2025-09-17T00:00:00Z,1000\n")
    async with a_site(tmp_path, site_text(twin=FLAT, revert_s=5)) as site:
        await site.twin()
        first = await site.gateway("--json")
        client = await site.client()
        before = await until(
            client, lambda s: s.decision.mode in (Mode.RULES, Mode.PLAN) and s.snapshot.load_w is not None
        )
        await site.twin_says({"load_step_w": 30_000})
        await until(client, lambda s: s.pulses_seen == 1)
        last = await until(client, lambda s: s.snapshot.mono_s > before.snapshot.mono_s + 3)
        await client.close()
        first.terminate()
        await asyncio.wait_for(first.wait(), LIMIT_S)
        await site.gateway("--json")
        after = await until(await site.client(), lambda s: s.snapshot.load_w is not None)
        assert after.pulses_seen == 1
        if after.interval.start_utc_s == last.interval.start_utc_s:
            assert measured_s(after) >= measured_s(last) > 0, "what the first gateway measured still counts as measured"


def measured_s(state: Published) -> float:
    """How much of the running interval is known."""
    return state.snapshot.utc_s - state.interval.start_utc_s - state.interval.unknown_s
