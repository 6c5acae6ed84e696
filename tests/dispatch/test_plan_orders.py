"""A plan under manual orders: what they take is given, what they leave is planned, and nothing they ask breaks it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, site

from dispatch.model import Plan
from dispatch.orders import Order, OrderKind
from dispatch.plan_check import check_plan
from dispatch.planner import PlanInputs, make_plan

PRICES = hourly([100.0] * 2 + [20.0] * 4 + [300.0] * 4 + [100.0] * 26)
FLAT_W = [30_000.0]


def order(kind: OrderKind, value: float = 0.0, hours: float = 2.0, target: str = "") -> Order:
    return Order("o1", kind, value, target, "anna", "", NOON - 60.0, NOON + 3600 * hours, 0.0)


def under(*orders: Order, soc_pct: float = 50.0, **changes: object) -> tuple[PlanInputs, Plan]:
    """The inputs at noon with 30 kW of load and these orders; the plan, found without fault."""
    inputs = ask(site(**changes), PRICES, FLAT_W, soc_pct=soc_pct, orders=orders)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    return inputs, plan


def test_a_battery_that_is_held_is_planned_from_the_orders_end() -> None:
    _, free = under()
    _, plan = under(order(OrderKind.HOLD, hours=4.0))
    assert any(step.battery_w for step in free.steps[8:16]), "it would charge at 20"
    assert [step.battery_w for step in plan.steps[:16]] == [0.0] * 16
    assert plan.steps[15].soc_pct == pytest.approx(50.0)
    assert plan.steps[0].reason == "order o1 of anna, hold at 0 kW, until 18:00"
    assert min(step.battery_w for step in plan.steps[16:24]) < -1_000, "two cheap hours are left"
    assert "order" not in plan.steps[16].reason


def test_an_ordered_power_moves_the_soc_and_ends_at_the_reserve() -> None:
    _, plan = under(order(OrderKind.SETPOINT, 20_000.0))
    assert [step.battery_w for step in plan.steps[:8]] == pytest.approx([20_000.0] * 7 + [20_000 * 0.2], abs=5)
    assert plan.steps[7].soc_pct == pytest.approx(10.0, abs=0.01)
    assert plan.steps[6].reason == "order o1 of anna, discharge 20.0 kW, until 16:00"
    assert plan.steps[7].reason.endswith("; the reserve allows 4.0 kW")


def test_an_import_target_and_a_soc_by_a_time_are_followed() -> None:
    _, plan = under(order(OrderKind.IMPORT_TARGET, 45_000.0, hours=1.0))
    assert [step.grid_w for step in plan.steps[:4]] == pytest.approx([45_000.0] * 4, abs=1)
    _, plan = under(order(OrderKind.SOC_TARGET, 80.0, hours=3.0))
    assert plan.steps[11].soc_pct == pytest.approx(80.0, abs=0.1)
    assert plan.steps[5].soc_pct == pytest.approx(65.0, abs=0.1), "evenly"


def test_an_order_that_ends_within_a_quarter_hour_takes_its_share_of_it() -> None:
    _, plan = under(order(OrderKind.SETPOINT, 20_000.0, hours=0.375))
    assert [step.battery_w for step in plan.steps[:2]] == pytest.approx([20_000.0, 10_000.0])


def test_without_a_pcs_the_plan_has_no_battery_and_a_raised_reserve_is_kept() -> None:
    _, plan = under(order(OrderKind.DISABLE, target="pcs1", hours=4.0))
    assert [step.battery_w for step in plan.steps[:16]] == [0.0] * 16
    _, plan = under(order(OrderKind.RESERVE_LEVEL, 70.0))
    assert plan.steps[4].soc_pct >= 70 - 0.1, "from 50 %"
    _, plan = under(order(OrderKind.RESERVE_LEVEL, 70.0), soc_pct=75.0)
    assert min(step.soc_pct for step in plan.steps) == pytest.approx(70.0, abs=0.1)
    _, plan = under(order(OrderKind.RESERVE_LEVEL, 5.0))
    assert min(step.soc_pct for step in plan.steps) >= 10 - 0.01, "a lower reserve frees nothing of the plan's"


def test_an_order_that_is_over_says_nothing() -> None:
    _, free = under()
    _, plan = under(order(OrderKind.HOLD, hours=-1.0))
    assert plan.steps == free.steps


def test_what_an_order_takes_of_the_peak_is_in_the_plan() -> None:
    changes = {"tariff": {"demand_eur_per_kw_month": 10.0}}
    _, plan = under(order(OrderKind.SETPOINT, -40_000.0, hours=0.5), soc_pct=20.0, **changes)
    assert plan.peak_target_w == pytest.approx(70_000.0, abs=50)


VALUES = st.floats(-150_000, 150_000)
KINDS = st.sampled_from([OrderKind.SETPOINT, OrderKind.IMPORT_TARGET, OrderKind.HOLD, OrderKind.SOC_TARGET])


@given(
    kind=KINDS,
    value=VALUES,
    hours=st.floats(0.01, 30),
    soc_pct=st.floats(0, 100),
    late_s=st.floats(0, 899),
    load_w=st.floats(0, 120_000),
    reserve_h=st.floats(0, 6),
    disabled=st.booleans(),
    raised_pct=st.none() | st.floats(0, 100),
)
def test_no_order_breaks_a_plan(
    kind: OrderKind,
    value: float,
    hours: float,
    soc_pct: float,
    late_s: float,
    load_w: float,
    reserve_h: float,
    disabled: bool,
    raised_pct: float | None,
) -> None:
    """Whatever is asked: a plan, balanced and within limits (`check_plan`), with the ordered steps as ordered."""
    if kind is OrderKind.SOC_TARGET:
        value = abs(value) / 1_500
    orders = [order(kind, value, hours)]
    orders += [order(OrderKind.DISABLE, target="pcs1", hours=hours / 2)] if disabled else []
    orders += [order(OrderKind.RESERVE_LEVEL, raised_pct)] if raised_pct is not None else []
    config = site(reserve={"hours": reserve_h, "critical_load_w": 10_000.0})
    inputs = ask(config, PRICES, [load_w], soc_pct=soc_pct, now_utc_s=NOON + late_s, orders=tuple(orders))
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    stands = orders[0].ends_utc_s > inputs.now_utc_s
    held = [step for step in plan.steps if stands and step.start_utc_s < orders[0].ends_utc_s]
    assert all(step.reason.startswith("order o1") for step in held)
    for step in held[:-1]:
        free = kind is OrderKind.SETPOINT and "allows" not in step.reason
        assert not free or step.battery_w == pytest.approx(value, abs=100)
        assert kind is not OrderKind.HOLD or step.battery_w == 0
