"""Ageing in plan and foresight: the same cost as counted from the schedule; cycles that do not pay are left."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, site
from soak_sizes import examples
from watched_program import Watched

from dispatch.billing.battery_ageing import ageing_of, schedule_ageing_eur
from dispatch.billing.bill import Flow, bill, stored_change_kwh
from dispatch.config.schema import DispatchConfig
from dispatch.evaluation.energy_iq import Quarter, assess
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.planning.hysteresis import evaluate_powers
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan

LIFE: dict[str, Any] = {
    "wear_eur_per_kwh": 0.0,
    "replacement_eur_per_kwh": 200.0,
    "cycle_life": ((20.0, 40_000.0), (50.0, 10_000.0), (100.0, 2_500.0)),
    "calendar_soc_pct": 70.0,
    "calendar_eur_per_kwh_day": 0.02,
}


@pytest.mark.soak
@settings(max_examples=examples(5), deadline=None)
@given(
    st.lists(st.floats(-50, 400), min_size=24, max_size=24),
    st.lists(st.floats(0, 90_000), min_size=48, max_size=48),
    st.floats(2, 98),
    st.floats(0, 899),
)
def test_the_program_counts_what_the_schedule_costs(
    prices: list[float], loads: list[float], soc_pct: float, into_s: float
) -> None:
    """Its objective is that of the powers it found, with ageing counted step by step; from cold and from a basis."""
    config, watched = site(battery=LIFE, horizon_h=12.0, tariff={"demand_eur_per_kw_month": 10.0}), Watched()
    inputs = ask(config, hourly(prices), loads, now_utc_s=NOON + into_s, soc_pct=soc_pct)
    plan = make_plan(inputs, watched)
    assert check_plan(plan, inputs) == []
    later = msgspec.structs.replace(inputs, now_utc_s=NOON + 1800.0, soc_pct=plan.steps[1].soc_pct)
    make_plan(later, watched)
    for problem, solution, objective in watched.told:
        if all(min(c, d) < 1e-6 for c, d in zip(solution.charge_kw, solution.discharge_kw, strict=True)):
            eur, _ = evaluate_powers(problem, solution.charge_kw, solution.discharge_kw)
            assert eur == pytest.approx(objective, rel=1e-6, abs=1e-4)


def test_only_the_depth_that_pays_is_cycled() -> None:
    """Between 80 and 130 EUR/MWh the first 20 % pay at 2.5 ct a kWh, deeper ones at 5 ct do not."""
    loads, prices = [40_000.0], hourly([130.0] * 6 + [80.0] * 12 + [130.0] * 6)
    flat = make_plan(ask(site(battery={"wear_eur_per_kwh": 0.0}), prices, loads, soc_pct=90.0))
    life = LIFE | {"cycle_life": ((20.0, 40_000.0), (100.0, 4_000.0)), "calendar_eur_per_kwh_day": 0.0}
    inputs = ask(site(battery=life), prices, loads, soc_pct=90.0, depths_kwh=(20.0, 70.0))
    aged = make_plan(inputs)
    assert min(step.soc_pct for step in flat.steps) == pytest.approx(10.0, abs=0.1)
    assert min(step.soc_pct for step in aged.steps) == pytest.approx(70.0, abs=0.1)
    ageing = ageing_of(inputs.config)
    assert ageing is not None
    assert ageing.eur_per_kwh == pytest.approx((0.025, 0.05625))


def test_a_full_store_is_not_held_for_nothing() -> None:
    """Charged for the evening either way; with a price of holding it, late."""
    prices, loads = hourly([80.0] * 12 + [200.0] * 12), [40_000.0]
    hold = {"wear_eur_per_kwh": 0.0, "calendar_soc_pct": 50.0, "calendar_eur_per_kwh_day": 0.05}
    soon, late = (make_plan(ask(site(battery=b), prices, loads)) for b in ({"wear_eur_per_kwh": 0.0}, hold))
    assert soon.steps[24].soc_pct == pytest.approx(90.0, abs=0.1)
    assert late.steps[24].soc_pct <= 50.1
    assert late.steps[47].soc_pct == pytest.approx(90.0, abs=0.1)


def _total_eur(config: DispatchConfig, net_w: list[float], prices: list[float], battery_w: list[float]) -> float:
    flow = Flow(
        start_utc_s=NOON, step_s=900, load_w=net_w, pv_w=[0.0] * len(net_w), eur_per_mwh=prices, battery_w=battery_w
    )
    aged_eur = schedule_ageing_eur(config, 900, battery_w, 50.0)
    return bill(config, flow, stored_change_kwh(config, 900, battery_w), ageing_eur=aged_eur).total_eur


@settings(max_examples=3, deadline=None)
@given(st.lists(st.floats(20, 300), min_size=12, max_size=12))
def test_foresight_pays_the_least_of_what_the_bill_counts(hours: list[float]) -> None:
    prices, net_w = [price for price in hours for _ in range(4)], [40_000.0] * 48
    aged, flat = site(battery=LIFE), site(battery={"wear_eur_per_kwh": 0.0})
    powers = [
        perfect_battery_w(one, 900, net_w, prices, idle_schedule(one, NOON, 900, 48, 50.0)) for one in (aged, flat)
    ]
    own, other = (_total_eur(aged, net_w, prices, battery_w) for battery_w in powers)
    assert own <= other + 1e-3
    assert own <= _total_eur(aged, net_w, prices, [0.0] * 48) + 1e-3


def test_the_energy_iq_counts_it_on_both_sides() -> None:
    """What foresight does is 100 %, over a gap and with a drift, too."""
    config, prices = site(battery=LIFE), [40.0] * 16 + [300.0] * 16
    net_w = [40_000.0] * 32
    best_w = perfect_battery_w(config, 900, net_w, prices, idle_schedule(config, NOON, 900, 32, 50.0))
    done, soc_pct = list[Quarter](), 50.0
    for k, (w, price) in enumerate(zip(best_w, prices, strict=True)):
        after_pct = soc_pct + stored_change_kwh(config, 900, [w]) - 0.01
        start_s = NOON + 900 * k + (3600 if k >= 28 else 0)
        done.append(Quarter(start_s, 40_000.0, 0.0, w, soc_pct, after_pct, price))
        soc_pct = after_pct
    found = assess(config, done, NOON, NOON + 900 * 40)
    assert found.iq_pct is not None
    assert found.own is not None
    assert 80 < found.iq_pct <= 100.01
    assert found.own.wear_eur > 1.0
