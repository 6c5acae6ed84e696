"""Bad input gets a plan that is defined, with a line that says what was wrong (more of it in test_planner)."""

from __future__ import annotations

import pytest
from plan_site import ask, hourly, site

from dispatch.model.plan import Plan
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan
from dispatch.wording.catalogue import words

DAY = [40.0] * 12 + [100.0] * 12
PEAKS = {"demand_eur_per_kw_month": 10.0}
LATE_HOUR = [20_000.0] * 40 + [60_000.0] * 4 + [20_000.0]  # one hour of it above every peak


def planned(inputs: PlanInputs) -> Plan:
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    return plan


@pytest.mark.parametrize("price", [5_000.0, -5_000.0])
@pytest.mark.parametrize("net", [LATE_HOUR, [0.0]])
def test_absurd_prices(price: float, net: list[float]) -> None:
    """One such hour: used as published and said; import and export never at once, the peak no reason to fail."""
    market = [*DAY[:6], price, *DAY[7:]]
    plan = planned(ask(site(tariff=PEAKS), hourly(market), net, soc_pct=50.0, pv_w=(30_000.0,)))
    assert f"{price:g} " in words(plan.note)
    assert "the market's limits are -500 and 4000" in words(plan.note)
    hour = plan.steps[24:28]
    assert all(s.battery_w >= 0 for s in hour) if price > 0 else all(s.battery_w <= 0 for s in hour)
    assert any(abs(s.battery_w) > 1_000 for s in hour)


@pytest.mark.parametrize("soc_pct", [0.0, 5.0, 97.0, 100.0])
def test_a_state_of_charge_outside_its_limits(soc_pct: float) -> None:
    plan = planned(ask(site(tariff=PEAKS), hourly(DAY), LATE_HOUR, soc_pct=soc_pct))
    assert 10 - 1e-6 <= plan.steps[-1].soc_pct <= max(90.0, soc_pct) + 1e-6
