"""What can be offered to a grid event: power, energy and load as bounds, what is charged before, what it costs."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, site

from dispatch.config.schema import CapsConfig, DispatchConfig, NodeTerms
from dispatch.events.flexibility import Compute, Offer, compute_flexibility, offers, shown_starts
from dispatch.model.equipment import Node
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.readings import reading
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.planning.planner import make_plan

LATER = NOON + 4 * 3600


def plan_of(load_w: float = 40_000.0, battery_w: float = 0.0, peak_w: float = 60_000.0, **changes: Any) -> Plan:
    """A day with one load, 20 ct/kWh, 50 ct in the four hours from `LATER` on."""
    steps = tuple(
        PlanStep(
            start_utc_s=NOON + 900 * n,
            price_eur_per_kwh=0.5 if 16 <= n < 32 else 0.2,
            load_w=load_w,
            load_low_w=changes.get("low_w", load_w),
            load_high_w=load_w,
            pv_w=0.0,
            battery_w=battery_w,
            grid_w=load_w - battery_w,
            soc_pct=50.0,
        )
        for n in range(96)
    )
    return Plan(made_utc_s=float(NOON), step_s=900, steps=steps, peak_target_w=peak_w, cost_eur=0.0, solve_ms=1.0)


def one(config: DispatchConfig, plan: Plan, soc_pct: float, start: float, hours: float, **more: Any) -> Offer:
    (offer,) = offers(config, plan, soc_pct, [(start, hours)], **more)
    return offer


def test_now_it_is_the_energy_above_the_reserve_or_the_power_or_the_load() -> None:
    config = site()  # 100 kWh, 60 kW, 90 % each way, 10 % at least
    long = one(config, plan_of(), 50.0, NOON, 2.0)
    assert long.battery_w == pytest.approx(1000 * 40 * 0.9 / 2)
    assert long.limited_by.code == "flexibility.energy"
    assert long.charge_kwh == 0
    assert long.import_w == pytest.approx(40_000 - 18_000)
    short = one(config, plan_of(90_000.0), 50.0, NOON, 0.25)
    assert (short.battery_w, short.limited_by.code) == (60_000.0, "flexibility.power")
    assert one(config, plan_of(90_000.0), 50.0, NOON, 0.25, discharge_w=15_000.0).battery_w == 15_000.0
    little = one(config, plan_of(low_w=5_000.0), 50.0, NOON, 0.25)
    assert (little.battery_w, little.limited_by.code) == (5_000.0, "flexibility.load")
    assert little.expected.battery_w == pytest.approx(40_000.0), "by the load expected, not by its lower edge"
    assert little.expected.battery_eur > little.battery_eur


def test_the_reserve_is_not_offered() -> None:
    config = site(reserve={"hours": 1.0, "critical_load_w": 36_000.0})  # 36 kWh / 0.9 above 10 %: 50 %
    assert one(config, plan_of(), 50.0, NOON, 1.0).battery_w == 0
    assert one(config, plan_of(), 60.0, NOON, 1.0).battery_w == pytest.approx(9_000.0)


def test_ahead_it_is_charged_before_as_far_as_no_peak_rises() -> None:
    config = site()
    offer = one(config, plan_of(), 50.0, LATER, 2.0)  # 20 kW x 4 h of room, 40 kWh until it is full
    assert offer.battery_w == pytest.approx(1000 * 80 * 0.9 / 2)
    assert offer.charge_kwh == pytest.approx(40.0)
    none = one(config, plan_of(peak_w=40_000.0), 50.0, LATER, 2.0)
    assert none.battery_w == pytest.approx(1000 * 40 * 0.9 / 2)
    assert none.charge_kwh == 0


def test_the_contract_bounds_the_charging_before() -> None:
    config = site(grid={"contracted_peak_w": 41_000.0})
    offer = one(config, plan_of(), 50.0, LATER, 2.0)  # 1 kW x 4 h x 0.9
    assert offer.charge_kwh == pytest.approx(3.6)


def test_what_the_plan_discharges_before_is_counted_and_may_be_withheld() -> None:
    config = site()
    as_planned = one(config, plan_of(battery_w=5_000.0, peak_w=35_000.0), 50.0, LATER, 1.0)
    assert as_planned.battery_w == pytest.approx(1000 * (40 - 20 / 0.9) * 0.9)
    withheld = one(config, plan_of(battery_w=5_000.0, peak_w=40_000.0), 50.0, LATER, 1.0)
    assert withheld.battery_w == pytest.approx(36_000.0)  # 40 kWh are still there


def test_the_cost_is_energy_and_wear_beyond_the_plan() -> None:
    config = site()  # wear 1 ct/kWh
    offer = one(config, plan_of(), 50.0, LATER, 1.0)
    out_kwh = offer.battery_w / 1000
    bought_kwh = out_kwh / 0.81
    assert offer.battery_eur == pytest.approx(0.2 * bought_kwh - 0.5 * out_kwh + 0.01 * (out_kwh + bought_kwh))
    cheap = one(config, plan_of(), 50.0, NOON, 1.0)
    out_kwh = cheap.battery_w / 1000
    assert cheap.battery_eur == pytest.approx(0.2 * out_kwh / 0.81 - 0.2 * out_kwh + 0.01 * (out_kwh + out_kwh / 0.81))


def test_what_the_plan_does_anyway_costs_nothing() -> None:
    config = site()
    offer = one(config, plan_of(battery_w=10_000.0), 50.0, NOON, 0.25)
    assert offer.battery_w > 10_000
    same = one(config, plan_of(battery_w=60_000.0), 50.0, NOON, 0.25)
    assert same.battery_eur == pytest.approx(0.0)


def test_caps_give_more_but_not_more_than_there_is_load() -> None:
    config = site()
    offer = one(config, plan_of(), 50.0, NOON, 2.0, compute=Compute(10_000.0, 3.0, ("n1",)))
    assert (offer.compute_w, offer.compute_eur) == (10_000.0, 6.0)
    tight = one(config, plan_of(20_000.0), 50.0, NOON, 2.0, compute=Compute(10_000.0, 3.0, ("n1",)))
    assert tight.compute_w == pytest.approx(2_000.0)
    assert tight.compute_eur == pytest.approx(1.2)
    unpriced = one(config, plan_of(), 50.0, NOON, 2.0, compute=Compute(10_000.0, None, ("n1",)))
    assert unpriced.compute_eur is None


def test_without_a_battery_only_compute_can_be_offered() -> None:
    config = site(battery={"energy_kwh": 0.0})
    offer = one(config, plan_of(), 0.0, NOON, 1.0, compute=Compute(10_000.0, 3.0, ("n1",)))
    assert (offer.battery_w, offer.compute_w, offer.battery_eur) == (0.0, 10_000.0, 0.0)
    assert offer.limited_by.code == "flexibility.no_battery"


def test_an_offer_beyond_the_plan_is_left_out() -> None:
    config = site()
    assert offers(config, plan_of(), 50.0, [(NOON + 23 * 3600, 2.0), (NOON - 3600, 0.5)]) == ()
    assert len(offers(config, plan_of(), 50.0, [(NOON + 22 * 3600, 2.0)])) == 1


def test_the_starts_that_are_shown_are_now_and_full_hours() -> None:
    now, *later = shown_starts(NOON + 1234.0)
    assert now == NOON + 1234
    assert all(at % 3600 == 0 for at in later)
    assert later[0] == NOON + 3600


def capped_site(**caps: Any) -> DispatchConfig:
    config = site()
    nodes = (
        NodeTerms(id="n1", cap_w=2_000.0, gpus=4, host_w=500.0, slowdown_pct=20),
        NodeTerms(id="n2", cap_w=2_000.0, critical=True, gpus=4),
        NodeTerms(id="n3", gpus=4),
        NodeTerms(id="n4", cap_w=2_000.0, gpus=4, slowdown_pct=0),
    )
    return msgspec.structs.replace(config, nodes=nodes, caps=CapsConfig(**({"max_share": 0.5} | caps)))


def test_only_nodes_that_take_a_cap_and_tolerate_it_are_counted() -> None:
    nodes = [Node(name, w=reading(3_300.0)) for name in ("n1", "n2", "n3", "n4")]
    found = compute_flexibility(capped_site(price_eur_per_gpu_hour=1.5), nodes)
    assert found.nodes == ("n1",)
    assert 0 < found.shed_w <= 1_300
    assert found.eur_per_h is not None
    assert found.eur_per_h > 0
    assert compute_flexibility(capped_site(max_share=0.0), nodes) == Compute()
    assert compute_flexibility(capped_site(), nodes).eur_per_h is None
    assert compute_flexibility(capped_site(), [Node("n1")]) == Compute(0.0, None)


@given(
    soc=st.floats(0, 100), start=st.integers(0, 90), hours=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    load=st.floats(0, 120_000), planned=st.floats(-60_000, 60_000), peak=st.floats(0, 200_000),
)  # fmt: skip
def test_an_offer_keeps_power_energy_and_reserve(
    soc: float, start: int, hours: float, load: float, planned: float, peak: float
) -> None:
    config = site(reserve={"hours": 0.5, "critical_load_w": 10_000.0})
    found = offers(config, plan_of(load, planned, peak), soc, [(NOON + 900 * start, hours)])
    for offer in found:
        assert 0 <= offer.battery_w <= 60_000
        assert offer.battery_w <= load + 1e-6
        assert offer.battery_w / 1000 * hours / 0.9 <= max(soc, 90.0) + 1e-6
        assert offer.import_w >= -1e-6
        assert offer.charge_kwh >= 0


def test_the_planner_keeps_what_is_offered_at_about_the_cost_that_is_said() -> None:
    """Independent of the offers: the linear program, asked by signals to keep import so much lower."""
    config = site(tariff={"demand_eur_per_kw_month": 8.0})
    prices = hourly([120 + 60 * math.sin((hour - 3) / 6 * math.pi) for hour in range(30)])
    loads_w = [35_000 + 10_000 * math.sin(quarter / 48 * math.pi) for quarter in range(96)]
    inputs = ask(config, prices, loads_w, soc_pct=60.0, month_peak_w=45_000.0)
    plan = make_plan(inputs)
    for offer in offers(config, plan, 60.0, [(NOON, 2.0), (LATER, 2.0), (NOON + 12 * 3600, 2.0)]):
        held = [s for s in plan.steps if offer.start_utc_s <= s.start_utc_s < offer.start_utc_s + 3600 * offer.hours]
        signals = tuple(
            Signal(f"s{n}", Sort.MARKET, "x", Quantity.IMPORT, max(0.0, s.load_w - offer.battery_w), s.start_utc_s,
                   s.start_utc_s + 900.0, 0.0)
            for n, s in enumerate(held)
        )  # fmt: skip
        under = make_plan(msgspec.structs.replace(inputs, signals=signals))
        for signal in signals:
            step = under.at(signal.start_utc_s)
            assert step is not None
            assert step.grid_w <= signal.limit_w + 50
        assert under.peak_target_w <= plan.peak_target_w + 50
        assert under.cost_eur - plan.cost_eur == pytest.approx(
            offer.battery_eur, abs=0.3 + 0.4 * abs(offer.battery_eur)
        )
