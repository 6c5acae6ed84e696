"""Tiers of charges on peaks: in the plan, foresight and Energy IQ, against the bill."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import ask, hourly, site

from dispatch.billing.bill import Flow, bill, stored_change_kwh
from dispatch.billing.peak_charges import by_tier, charge_peaks_w, peak_charges, risen_eur
from dispatch.config.charges import Charge
from dispatch.config.schema import DispatchConfig
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.model.charge_levels import ChargeLevel
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan

MIDNIGHT = int(datetime(2025, 9, 16, tzinfo=ZoneInfo("Europe/Berlin")).timestamp())
FALLING = ((0.0, 62.0), (50.0, 48.0), (200.0, 36.0))  # Telemark Nett, 2022
RISING = ((0.0, 4.0), (30.0, 9.0), (45.0, 20.0))


def a_charge(tiers: tuple[tuple[float, float], ...], **changes: Any) -> Charge:
    return Charge(id="power", kind="max", tiers=tiers, **changes)


def a_site(charge: Charge, **changes: Any) -> DispatchConfig:
    return site(tariff={"charge": (charge,), "power_factor": 0.9}, **changes)


def cost_eur(config: DispatchConfig, net_w: Sequence[float], battery_w: Sequence[float]) -> float:
    flow = Flow(
        start_utc_s=MIDNIGHT,
        step_s=900,
        load_w=net_w,
        pv_w=[0.0] * len(net_w),
        eur_per_mwh=[100.0] * len(net_w),
        battery_w=battery_w,
    )
    return bill(config, flow, stored_change_kwh(config, 900, battery_w)).total_eur


def foreseen(config: DispatchConfig, net_w: list[float]) -> list[float]:
    idle = idle_schedule(config, MIDNIGHT, 900, len(net_w), 50.0)
    return perfect_battery_w(config, 900, net_w, [100.0] * len(net_w), idle)


FORMS: list[dict[str, Any]] = [
    {"tiers": FALLING},
    {"tiers": RISING},
    {"tiers": ((10.0, 4.0), (30.0, 9.0))},
    {"tiers": FALLING, "tier_on": "whole"},
    {"tiers": ((0.0, 8.0), (25.0, 2.0), (40.0, 0.0)), "basis": "kVA", "vat_pct": 25.0},
    {"tiers": RISING, "basis": "kVA", "floor_kw": 20.0},
    {"tiers": RISING, "top": 2, "peaks_of": "day"},
]


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(st.floats(1, 95_000), min_size=6, max_size=6))
@settings(max_examples=8, deadline=None)
def test_what_peaks_cost_is_what_the_bill_says(form: dict[str, Any], load_w: list[float]) -> None:
    """Of kVA the bill's are of the mean's apparent power, that is a kW by the power factor."""
    config = a_site(a_charge(**form))
    grid_w = [w for w in load_w for _ in range(4)]
    own_w = charge_peaks_w(config, MIDNIGHT, 900, grid_w)
    idle = [0.0] * len(grid_w)
    free = msgspec.structs.replace(config, tariff=msgspec.structs.replace(config.tariff, charge=()))
    eur = cost_eur(config, grid_w, idle) - cost_eur(free, grid_w, idle)
    assert risen_eur(peak_charges(config), own_w, {}) == pytest.approx(eur, abs=0.01)


def test_dearer_tiers_are_a_charge_each() -> None:
    terms = peak_charges(a_site(a_charge(RISING)))
    assert [(t.id, t.eur_per_kw, t.floor_w) for t in terms] == [
        ("power above 45 kW", 11.0, 45_000.0),
        ("power above 30 kW", 5.0, 30_000.0),
        ("power", 4.0, 0.0),
    ]
    assert by_tier(terms) == [terms]
    assert [way[0].eur_per_kw for way in by_tier(peak_charges(a_site(a_charge(FALLING))))] == [62.0, 48.0, 36.0]


def planned_peak_kw(config: DispatchConfig, billed_kw: float, more_kw: float = 10.0) -> float:
    """Of an hour of so much above what is billed already."""
    w = 1000 * billed_kw
    levels = tuple(
        ChargeLevel(t.id, True, max(w, t.floor_w), max(w, t.floor_w), max(w, t.floor_w)) for t in peak_charges(config)
    )
    loads_w = [w] * 24 + [w + 1000 * more_kw] * 4 + [w]
    prices = hourly([100.0] * 48, MIDNIGHT)
    inputs = ask(config, prices, loads_w, now_utc_s=MIDNIGHT, soc_pct=60.0, levels=levels, month_peak_w=w)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    return max(step.grid_w for step in plan.steps) / 1000


@pytest.mark.parametrize(
    ("tiers", "billed_kw", "kept"),
    [(((0.0, 6.0), (50.0, 0.5)), 20.0, True), (((0.0, 6.0), (50.0, 0.5)), 60.0, False), (RISING, 20.0, True)],
)
def test_a_plan_pays_the_price_of_the_tier_that_is_reached(
    tiers: tuple[tuple[float, float], ...], billed_kw: float, kept: bool
) -> None:
    """To keep 10 kW for an hour off the peak costs 20 EUR of wear: at 6 EUR/kW that pays, at 0.50 it does not."""
    config = a_site(a_charge(tiers), battery={"wear_eur_per_kwh": 2.1})
    peak_kw = planned_peak_kw(config, billed_kw)
    assert peak_kw == pytest.approx(billed_kw + (0 if kept else 10), abs=0.1)


@pytest.mark.parametrize("tier_on", ["part", "whole"])
@pytest.mark.parametrize(("more_kw", "kept"), [(10.0, True), (35.0, False)])
def test_a_plan_tries_the_tiers_that_a_peak_may_come_to(tier_on: str, more_kw: float, kept: bool) -> None:
    """45 kW are paid, from 50 kW on a kW costs 0.50 EUR, below 6 EUR; to keep a kW off costs 2.33 EUR of wear.

    So 10 kW more are kept off for 23 EUR and not paid with 30 + 2.50, 35 kW for 82 EUR not: they cost 30 + 15. Where
    all kW then cost 0.50 EUR, neither are: 55 kW cost less than 45.
    """
    config = a_site(
        a_charge(((0.0, 6.0), (50.0, 0.5)), tier_on=tier_on),
        battery={"wear_eur_per_kwh": 2.33, "discharge_efficiency": 1.0},
    )
    peak_kw = planned_peak_kw(config, 45.0, more_kw)
    assert peak_kw == pytest.approx(45 + (0 if kept and tier_on == "part" else more_kw), abs=0.1)


loads = st.lists(st.floats(0, 90_000), min_size=8, max_size=8)


@pytest.mark.parametrize("form", [FORMS[0], FORMS[1], {"tiers": ((0.0, 9.0), (30.0, 1.0))}])
@given(loads)
@settings(max_examples=5, deadline=None)
def test_foresight_is_never_dearer_on_the_bill_than_with_any_one_price(
    form: dict[str, Any], load_w: list[float]
) -> None:
    net_w = [w for w in load_w for _ in range(6)]
    charge = a_charge(**form)
    config = a_site(charge)
    own = cost_eur(config, net_w, foreseen(config, net_w))
    others = [[0.0] * len(net_w)]
    others += [foreseen(a_site(a_charge((), price=price)), net_w) for _, price in charge.tiers]
    assert own <= min(cost_eur(config, net_w, other) for other in others) + 0.01
