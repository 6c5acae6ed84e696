"""A grid meter that stands still: what it says is shown as FROZEN, and is no value to anything that remembers."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from small_gateway import LOAD_W, Running
from waiting import LIMIT_S

from console.display.past_model import past_model
from console.display.status_text import why_text
from console.display.viewmodel import Model, received
from dispatch.model.readings import Quality
from gateway.api.client import GatewayClient
from gateway.api.protocol import Published
from gateway.planning_service import Observation
from storage.past import Past


async def test_what_a_frozen_meter_says_is_neither_recorded_nor_learnt_from(
    there: Running, client: GatewayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[Observation] = []
    monkeypatch.setattr(there.gateway.planner, "observe", learnt.append)
    began_s = there.clock.utc_s()
    there.devices.frozen_w = LOAD_W
    order = {"kind": "setpoint", "value": 15_000.0, "reason": "test", "seen_utc_s": began_s}
    await client.request("order.set", **order)
    async with asyncio.timeout(LIMIT_S):
        while not (published := await there.gateway.loop.next_tick()).decision.meter_frozen:
            pass
        frozen_s = published.snapshot.utc_s
        while published.snapshot.utc_s < frozen_s + 3.5:
            published = await there.gateway.loop.next_tick()
    w = published.snapshot.grid.w
    assert (w.good, w.value, w.quality) == (None, LOAD_W, Quality.STALE)
    assert published.snapshot.load_w is None
    late = [seen.snapshot for seen in learnt if seen.snapshot.utc_s >= frozen_s]
    assert late
    assert all(snapshot.load_w is None for snapshot in late)
    await asyncio.wrap_future(there.gateway.recorder.flush())
    asked = {"start_utc_s": began_s - 1, "end_utc_s": published.snapshot.utc_s + 1, "step_s": 1}
    found = await client.request("history", signals=["grid.w", "site_load.w", "pcs.w"], **asked)
    import_w, load_w, pcs_w = (found["signals"][name] for name in ("grid.w", "site_load.w", "pcs.w"))
    since = next(n for n, t in enumerate(found["t"]) if t > frozen_s)
    assert set(import_w[since:]) == set(load_w[since:]) == {None}, "a console that comes later shows a gap"
    assert any(w is not None for w in pcs_w[since:]), "and only there"
    assert any(w is not None for w in import_w[:since])
    await shown_then(client, published)


async def shown_then(client: GatewayClient, published: Published) -> None:
    """What a console shows of that moment later is what it showed then: by what a gateway truly records."""
    answer = await client.request("past", utc_s=published.snapshot.utc_s)
    live = received(Model(welcome=client.welcome), published)
    then = past_model(live, msgspec.convert(answer, Past))
    assert then.past is not None
    assert then.past.record == "samples"
    assert then.published is not None
    assert (then.published.snapshot.grid.w.value, then.now_utc_s) == (None, live.now_utc_s)
    assert then.published.snapshot.pcs[0].w.value == pytest.approx(published.snapshot.pcs[0].w.value, abs=1.0)
    assert then.published.interval.limit_w == pytest.approx(published.interval.limit_w, abs=1.0)
    assert then.published.month_peak_w == pytest.approx(published.month_peak_w, abs=1.0)
    decision = then.published.decision
    assert (decision.mode, decision.island, decision.binding) == (
        published.decision.mode,
        published.decision.island,
        published.decision.binding,
    )
    earlier = past_model(live, msgspec.convert(await client.request("past", utc_s=live.now_utc_s - 86_400), Past))
    assert earlier.published is None
    assert "nothing is kept before" in why_text(earlier)
