"""Batteries that differ in size, efficiency, wear and limits are one store to plan with."""

from __future__ import annotations

import msgspec
import pytest
from plan_site import NOON, ask, hourly, site

from dispatch.billing.bill import stored_change_kwh
from dispatch.config.battery_ratings import mean_efficiency, reserve_soc_pct, wear_eur_per_kwh
from dispatch.config.schema import BatteryConfig, DispatchConfig, PcsRatings
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.model.orders import Order, OrderKind
from dispatch.orders import validation
from dispatch.planning.order_projection import project_orders
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan
from dispatch.wording.catalogue import words


def two() -> DispatchConfig:
    """150 kWh at 96 % with 60 kW, 50 kWh at 88 % with 40 kW; together 200 kWh at 94 %, SoC 10 to 90 %."""
    return msgspec.structs.replace(
        site(),
        batteries=(
            BatteryConfig(
                id="big",
                energy_kwh=150,
                soc_min_pct=5,
                soc_max_pct=95,
                charge_efficiency=0.96,
                discharge_efficiency=0.96,
                wear_eur_per_kwh=0.01,
            ),
            BatteryConfig(
                id="small",
                energy_kwh=50,
                soc_min_pct=25,
                soc_max_pct=75,
                charge_efficiency=0.88,
                discharge_efficiency=0.88,
                wear_eur_per_kwh=0.03,
            ),
        ),
        pcs=(
            PcsRatings(id="pcs1", battery="big", charge_w=60_000, discharge_w=60_000),
            PcsRatings(id="pcs2", battery="small", charge_w=40_000, discharge_w=40_000),
        ),
    )


def test_what_they_are_together() -> None:
    config = two()
    assert mean_efficiency(config) == (pytest.approx(0.94), pytest.approx(0.94))
    assert wear_eur_per_kwh(config) == pytest.approx(0.015)
    assert stored_change_kwh(config, 3600, [-10_000.0]) == pytest.approx(9.4)


def test_the_reserve_stands_on_what_each_must_keep() -> None:
    """5 % of 150 and 25 % of 50 kWh are out of reach: 20 kWh. 17.6 kWh through the worse one take 20 more."""
    config = msgspec.structs.replace(
        two(), reserve=msgspec.structs.replace(two().reserve, hours=1.0, critical_load_w=17_600.0)
    )
    assert reserve_soc_pct(config) == pytest.approx(20.0)


def test_plan_and_foresight_use_all_of_both_and_no_more() -> None:
    """160 kWh between the limits, 100 kW at most."""
    config, prices = two(), [40.0] * 12 + [200.0] * 12
    inputs = ask(config, hourly(prices), [60_000], soc_pct=10.0)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    assert max(s.soc_pct for s in plan.steps) == pytest.approx(90.0, abs=0.01)
    assert min(s.soc_pct for s in plan.steps) == pytest.approx(10.0, abs=0.01)
    idle = idle_schedule(config, NOON, 900, 96, 50.0)
    best_w = perfect_battery_w(config, 900, [60_000.0] * 96, [p for p in prices for _ in range(4)], idle)
    assert min(best_w) >= -100_001
    assert -sum(w for w in best_w if w < 0) / 4000 == pytest.approx(80 / 0.94, rel=1e-3)
    assert sum(w for w in best_w if w > 0) / 4000 == pytest.approx(80 * 0.94, rel=1e-3)


def test_the_plan_calls_them_full_when_each_is_and_trades_at_the_mean() -> None:
    config, prices = two(), [40.0] * 12 + [200.0] * 12
    plan = make_plan(ask(config, hourly(prices), [60_000], soc_pct=10.0))
    full = [step for step in plan.steps if words(step.reason) == "battery full"]
    assert full
    assert all(step.soc_pct == pytest.approx(90.0, abs=0.6) for step in full)


def test_orders_reach_from_each_at_its_minimum_to_each_at_its_maximum() -> None:
    config = two()
    assert validation.ratings(OrderKind.SOC_TARGET, config) == pytest.approx((10.0, 90.0))
    assert validation.ratings(OrderKind.RESERVE_LEVEL, config) == pytest.approx((10.0, 90.0))


@pytest.mark.parametrize("target_pct", [60.0, 40.0])
def test_an_order_for_a_soc_is_projected_to_reach_it(target_pct: float) -> None:
    """What the order asks and what the projection makes of it reckon with the same efficiency."""
    inputs = ask(two(), hourly([40.0] * 24), [60_000], soc_pct=50.0)
    ends_s = inputs.now_utc_s + 7200
    order = Order("o1", OrderKind.SOC_TARGET, target_pct, "", "tech1", "test", inputs.now_utc_s, ends_s, 7200.0)
    inputs = msgspec.structs.replace(inputs, orders=(order,))
    starts = [int(inputs.now_utc_s) + 900 * n for n in range(8)]
    assert project_orders(inputs, starts, [60_000.0] * 8).soc_pct == pytest.approx(target_pct, abs=0.01)
