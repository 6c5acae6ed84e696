"""The balancing charge in the plan: in cheap hours, without a higher peak, out of the way of orders and signals."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, site
from replay_cases import CONFIG, a_case, played
from soak_sizes import examples

from dispatch.model.balancing import BalanceDue
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import Plan
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan
from dispatch.wording.catalogue import words

BALANCED: dict[str, Any] = {"balance_every_days": 14.0, "balance_hold_s": 1800.0}
NEVER = (BalanceDue("bat1", NOON + 20 * 3600.0, None),)
PRICES = [100.0] * 8 + [30.0] * 4 + [100.0] * 12


def asked(balance: tuple[BalanceDue, ...] = NEVER, **changes: Any) -> PlanInputs:
    prices = hourly(changes.pop("prices", PRICES))
    config = site(battery=BALANCED, **changes.pop("site", {}))
    return ask(config, prices, changes.pop("loads", [20_000.0]), balance=balance, **changes)


def full(plan: Plan) -> list[int]:
    return [k for k, step in enumerate(plan.steps) if step.soc_pct > 99.4]


def said(plan: Plan) -> list[str]:
    return sorted({step.reason.code for step in plan.steps if step.reason is not None})


def test_it_is_charged_in_the_cheap_hours_and_held() -> None:
    inputs = asked()
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    steps = full(plan)
    assert len(steps) >= 3
    assert steps == list(range(steps[0], steps[-1] + 1))
    above = [k for k, step in enumerate(plan.steps) if step.battery_w < -50 and step.soc_pct > 90.1]
    assert {plan.steps[k].price_eur_per_kwh for k in above} == {0.03}
    assert {"step.balance_charge", "step.balance_hold"} <= set(said(plan))
    first = plan.steps[above[0]].reason
    assert first is not None
    assert words(first) == "to 100 % so that the BMS balances the cells; not seen full yet"
    assert plan.note is not None
    assert "balancing charge: at 100 % from" in words(plan.note)


def test_what_is_not_due_changes_nothing() -> None:
    without = asked(balance=())
    plan = make_plan(without)
    assert max(step.soc_pct for step in plan.steps) == pytest.approx(90.0, abs=0.1)
    plain = msgspec.structs.replace(without, config=site())
    assert [step.battery_w for step in plan.steps] == [step.battery_w for step in make_plan(plain).steps]


def test_no_hours_are_left_where_it_would_raise_the_peak() -> None:
    """A load at the month's peak all day leaves nothing to charge with."""
    changes: dict[str, Any] = {"tariff": {"demand_eur_per_kw_month": 10.0}}
    inputs = asked(site=changes, loads=[50_000.0], month_peak_w=50_000.0, soc_pct=60.0)
    plan = make_plan(inputs)
    assert full(plan) == []
    assert check_plan(plan, inputs) == []
    assert max(step.grid_w for step in plan.steps) <= 50_000 + 60
    assert plan.note is not None
    assert "no balancing charge" in words(plan.note)
    room = msgspec.structs.replace(inputs, month_peak_w=56_000.0)
    held = make_plan(room)
    assert len(full(held)) >= 3
    assert max(step.grid_w for step in held.steps) <= 56_000 + 60


def test_it_stays_out_of_the_way_of_orders_and_signals() -> None:
    """Both have the cheap hours."""
    begin, end = NOON + 8 * 3600.0, NOON + 12 * 3600.0
    signal = Signal(
        id="s1", sender="grid", sort=Sort.OBLIGATION, quantity=Quantity.IMPORT, limit_w=90_000.0,
        start_utc_s=begin, end_utc_s=end, given_utc_s=NOON,
    )  # fmt: skip
    inputs = asked(signals=(signal,))
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    times = [plan.steps[k].start_utc_s for k in full(plan)]
    assert len(times) >= 3
    assert not [t for t in times[:3] if begin <= t < end]


def test_overdue_it_comes_within_hours() -> None:
    plan = make_plan(asked(balance=(BalanceDue("bat1", NOON - 86_400.0, NOON - 15 * 86_400.0),)))
    assert full(plan)[0] < 24
    assert plan.note is not None
    assert "last full" in words(plan.note)


@pytest.mark.soak
@settings(max_examples=examples(3), deadline=None)
@given(
    st.lists(st.floats(-50, 400), min_size=24, max_size=24),
    st.lists(st.floats(0, 60_000), min_size=48, max_size=48),
    st.floats(5, 100),
    st.floats(0, 899),
)
def test_it_never_raises_the_peak(prices: list[float], loads: list[float], soc_pct: float, into_s: float) -> None:
    changes: dict[str, Any] = {"tariff": {"demand_eur_per_kw_month": 10.0}, "horizon_h": 12.0}
    inputs = asked(
        site=changes, loads=loads, prices=prices, soc_pct=soc_pct, now_utc_s=NOON + into_s, month_peak_w=40_000.0
    )
    with_it, without = make_plan(inputs), make_plan(msgspec.structs.replace(inputs, balance=()))
    assert check_plan(with_it, inputs) == []
    later = [(a.grid_w, b.grid_w) for a, b in zip(with_it.steps[1:], without.steps[1:], strict=True)]
    assert max(a for a, _ in later) <= max(40_000.0, *(b for _, b in later)) + 60


def test_a_replay_reaches_it_in_time() -> None:
    battery = msgspec.structs.replace(
        CONFIG.batteries[0], balance_every_days=0.12, balance_hold_s=900.0, soc_max_pct=80.0
    )
    plan = msgspec.structs.replace(CONFIG.plan, horizon_h=8.0)
    tariff = msgspec.structs.replace(CONFIG.tariff, demand_eur_per_kw_month=0.0)
    config = msgspec.structs.replace(CONFIG, batteries=(battery, *CONFIG.batteries[1:]), plan=plan, tariff=tariff)
    run = played(a_case(hours=5, config=config, soc_pct=90.0))
    assert (run.plan_counts.failed, run.plan_counts.refused) == (0, 0)
    soc_pct = list(run.schedule.soc_pct)
    assert max(soc_pct) >= 99.4
    full = [k for k, pct in enumerate(soc_pct) if pct >= 99.4]
    assert len(full) >= 2
    assert full == list(range(full[0], full[-1] + 1))


def test_orders_come_first() -> None:
    order = Order(
        id="o1", kind=OrderKind.HOLD, value=0.0, target="", who="tech1", reason="test", given_utc_s=NOON,
        ends_utc_s=NOON + 23 * 3600.0, ends_mono_s=23 * 3600.0,
    )  # fmt: skip
    inputs = asked(orders=(order,))
    assert full(make_plan(inputs)) == []
