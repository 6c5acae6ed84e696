"""PV and export in the plan: limits are kept by charging, then by limiting PV; nothing is exported where that costs."""

from __future__ import annotations

import msgspec
import pytest
from plan_site import NOON, ask, hourly, site

from dispatch.config.schema import DispatchConfig, PvTerms
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan
from dispatch.wording.catalogue import words

ROOF = PvTerms(id="roof", peak_w=60_000, curtail=True)
BARN = PvTerms(id="barn", peak_w=20_000)


def pv_site(*pv: PvTerms, **changes: object) -> DispatchConfig:
    return msgspec.structs.replace(site(horizon_h=2.0, **changes), pv=pv)


def plan_for(config: DispatchConfig, price: float, **changes: object) -> tuple[Plan, PlanInputs]:
    """Two hours of 10 kW of load and 50 kW of PV, with a full battery unless told otherwise."""
    prices = hourly([price] * 2) if isinstance(price, float) else price
    inputs = ask(config, prices, [10_000.0], **({"pv_w": (50_000.0,) * 8, "soc_pct": 90.0} | changes))
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    return plan, inputs


def signal(quantity: Quantity, limit_w: float, sort: Sort = Sort.OBLIGATION) -> Signal:
    return Signal("s1", sort, "dso", quantity, limit_w, NOON + 3600, NOON + 7200, NOON)


def test_what_costs_is_not_exported() -> None:
    plan, _ = plan_for(pv_site(ROOF), -50.0, soc_pct=50.0)
    assert [s.grid_w for s in plan.steps if s.grid_w < -1] == []
    assert max(s.curtail_w for s in plan.steps) > 5_000
    step = next(s for s in plan.steps if s.curtail_w > 1_000)
    assert step.sell_eur_per_kwh == pytest.approx(-0.05)


def test_a_battery_with_room_takes_what_would_be_limited() -> None:
    plan, _ = plan_for(pv_site(ROOF, tariff={"fee_eur_per_kwh": 0.1}), -50.0, soc_pct=10.0)
    stored_kwh = sum(max(0.0, -s.battery_w) for s in plan.steps) / 4000 * 0.9
    assert stored_kwh == pytest.approx(80.0 * 8 * 10 / (8 * 10), abs=8.5), "80 kWh of PV offered, 80 of room"
    assert max(s.grid_w for s in plan.steps) < 1


def test_inverters_that_cannot_be_limited_export_at_a_loss() -> None:
    plan, _ = plan_for(pv_site(BARN), -50.0)
    assert [s.curtail_w for s in plan.steps] == [0.0] * 8
    assert [s.grid_w for s in plan.steps] == pytest.approx([-40_000.0] * 8, abs=1)


def test_of_several_inverters_those_that_may_are_limited() -> None:
    plan, _ = plan_for(pv_site(ROOF, BARN), -50.0)
    assert plan.steps[0].curtail_w == pytest.approx(0.75 * 50_000, abs=1)


def test_the_export_limit_is_kept_by_limiting_what_is_above_it() -> None:
    plan, _ = plan_for(pv_site(ROOF, grid={"export_limit_w": 30_000.0}), 50.0)
    assert min(s.grid_w for s in plan.steps) >= -30_001
    step = plan.steps[0]
    assert (step.grid_w, step.curtail_w) == (pytest.approx(-30_000, abs=1), pytest.approx(10_000, abs=1))
    assert words(step.reason or Reason("")).endswith("PV is limited by 10.0 kW, as export is limited to 30.0 kW")
    assert plan.note is None


def test_without_such_an_inverter_room_is_made_and_what_is_left_is_said() -> None:
    """Nothing but the limit asks for it: at one price a full battery would stay full."""
    limit = {"export_limit_w": 30_000.0}
    sun = (0.0,) * 4 + (50_000.0,) * 4
    plan, _ = plan_for(pv_site(BARN, grid=limit), 50.0, pv_w=sun)
    assert min(s.grid_w for s in plan.steps) >= -30_001
    assert sum(s.battery_w for s in plan.steps[:4]) > 30_000
    plan, _ = plan_for(pv_site(BARN, grid=limit), 50.0)
    assert "export is planned up to 10.0 kW above its limit" in words(plan.note or Reason(""))
    assert "no PV inverter has `curtail = true`" in words(plan.note or Reason(""))


def test_an_announced_export_limit_and_a_limit_on_production_are_in_the_plan() -> None:
    for sort in (Sort.OBLIGATION, Sort.FLEET):
        plan, _ = plan_for(pv_site(ROOF), 50.0, signals=(signal(Quantity.EXPORT, 5_000.0, sort),))
        assert [-s.grid_w for s in plan.steps[4:]] == pytest.approx([5_000.0] * 4, abs=1)
        assert plan.steps[0].curtail_w == 0
    plan, _ = plan_for(pv_site(ROOF), 50.0, signals=(signal(Quantity.PRODUCTION, 4_000.0),))
    assert [s.pv_w - s.curtail_w for s in plan.steps[4:]] == pytest.approx([4_000.0] * 4, abs=1)
    assert "as the grid operator allows it 4.0 kW" in words(plan.steps[5].reason or Reason(""))
    assert plan.note is None


def test_a_limit_on_production_that_nobody_can_hold_is_said() -> None:
    plan, _ = plan_for(pv_site(BARN), 50.0, signals=(signal(Quantity.PRODUCTION, 4_000.0),))
    assert max(s.curtail_w for s in plan.steps) == 0
    assert "PV is forecast up to 46.0 kW above what is allowed" in words(plan.note or Reason(""))


def test_a_charge_limit_leaves_own_pv() -> None:
    """§14a EnWG: 4 kW from the grid, and what PV gives beyond the load."""
    cheap = hourly([10.0, 10.0])
    limited = (signal(Quantity.CHARGE, 4_000.0),)
    config = pv_site(BARN, tariff={"fee_eur_per_kwh": 0.0}, rest_soc_pct=90.0)
    plan, _ = plan_for(config, cheap, soc_pct=10.0, pv_w=(0.0,) * 6 + (13_000.0,) * 2, signals=limited)
    assert max(-s.battery_w for s in plan.steps[:4]) > 4_100
    assert max(-s.battery_w for s in plan.steps[4:6]) <= 4_001
    assert max(-s.battery_w for s in plan.steps[6:]) <= 7_001


def test_a_plan_in_force_goes_on_with_pv_limited_anew() -> None:
    config = pv_site(ROOF)
    before, inputs = plan_for(config, -50.0)
    after = msgspec.structs.replace(inputs, pv_w=(45_000.0,) * 8)
    plan = make_plan(after, before=before)
    assert check_plan(plan, after) == []
    assert plan.steps[0].curtail_w == pytest.approx(35_000, abs=1)


def test_the_check_finds_pv_limited_by_more_than_can_be() -> None:
    plan, inputs = plan_for(pv_site(ROOF, BARN), -50.0)
    first = plan.steps[0]
    more = msgspec.structs.replace(first, curtail_w=45_000.0, grid_w=first.grid_w + 45_000 - first.curtail_w)
    faults = check_plan(msgspec.structs.replace(plan, steps=(more, *plan.steps[1:])), inputs)
    assert any("at most 37500 W can be" in fault for fault in faults)
