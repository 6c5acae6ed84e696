"""An order in force is in the plan at once, and out of it at once when it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from small_gateway import Running, running
from waiting import LIMIT_S

from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason
from dispatch.planning.inputs import PlanFailed
from dispatch.planning.pipeline import PlanSource
from dispatch.wording.catalogue import words
from gateway.api.client import GatewayClient
from gateway.errors import RequestFailed


async def another(there: Running, plan: Plan | None) -> Plan:
    """The next plan after this one."""
    async with asyncio.timeout(LIMIT_S):
        while (now := there.gateway.planner.plan) is plan or now is None:
            await there.gateway.loop.next_tick()
    return now


async def test_an_order_is_in_the_plan_at_once_and_out_of_it_when_it_ends(place: Path) -> None:
    async with running(place, place / "s.sock", plan={"enabled": True, "period_s": 3600}) as there:
        free = await another(there, None)
        client = await GatewayClient.connect(there.socket, 0)
        offered = await client.request("flex", hours=[0.25, 1.0])
        assert {offer["hours"] for offer in offered["offers"]} == {0.25, 1.0}
        assert offered["offers"][0]["start_utc_s"] == pytest.approx(offered["now_utc_s"])
        assert offered["note"] is None
        with pytest.raises(RequestFailed, match="float"):
            await client.request("flex", hours=[-1.0])
        await client.request("stop", reason="work on the busbar")
        held = await another(there, free)
        assert (await client.request("flex"))["note"]["code"] == "step.ordered"
        order = there.gateway.orders.active[0]
        assert held.steps[1].battery_w == 0
        assert words(held.steps[1].reason).startswith(
            f"order {order.id} of {order.who}, hold at 0 kW, has the battery until "
        )
        await client.request("order.end", id=order.id)
        after = await another(there, held)
        assert not any("order" in words(step.reason) for step in after.steps)
        assert [step.battery_w for step in after.steps] == [step.battery_w for step in free.steps]
        await client.close()


async def test_where_no_plan_can_be_made_the_battery_stops_with_the_order(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 8 went on with what the last plan had for the order, for as long as no other was made."""

    def fails(*_: object) -> None:
        raise PlanFailed(Reason("no_plan.no_soc"))

    async with running(place, place / "s.sock", plan={"enabled": True, "period_s": 3600}) as there:
        free = await another(there, None)
        client = await GatewayClient.connect(there.socket, 0)
        order = {"kind": "setpoint", "value": 15_000.0, "for_s": 3600.0, "reason": "feeder test"}
        await client.request("order.set", **order, seen_utc_s=there.clock.utc_s())
        assert (await another(there, free)).steps[1].battery_w == 15_000
        assert (await there.gateway.loop.next_tick()).decision.battery_w == 15_000
        monkeypatch.setattr(PlanSource, "make", fails)
        given = there.gateway.orders.active[0].id
        await client.request("order.end", id=given)
        async with asyncio.timeout(LIMIT_S):
            while not there.gateway.planner.error:
                await there.gateway.loop.next_tick()
        decision = (await there.gateway.loop.next_tick()).decision
        reasons = {trace.rule.value: words(trace.reason) for trace in decision.chain}
        assert reasons["plan"] == f"order {given} is over: hold until the next plan"
        assert decision.battery_w == pytest.approx(0, abs=100)
        await client.close()
