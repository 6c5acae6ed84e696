"""Signals in the plan: an import limit is prepared and kept as far as the battery reaches, and raises no peak."""

from __future__ import annotations

import msgspec
import pytest
from plan_site import NOON, ask, hourly, site

from dispatch.model.plan import Plan, PlanStep
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan
from dispatch.wording.catalogue import words

FLAT = hourly([100.0] * 24)
TARGET = Signal("s1", Sort.MARKET, "acme", Quantity.IMPORT, 20_000.0, NOON + 4 * 3600, NOON + 6 * 3600, NOON)


def within(plan: Plan, signal: Signal = TARGET) -> list[PlanStep]:
    return [s for s in plan.steps if signal.start_utc_s <= s.start_utc_s < signal.end_utc_s]


def inputs(*signals: Signal, month_peak_w: float = 45_000.0) -> PlanInputs:
    config = site(tariff={"demand_eur_per_kw_month": 10.0}, rest_soc_pct=10.0)
    return ask(config, FLAT, [30_000.0], signals=signals, month_peak_w=month_peak_w)


def test_energy_for_a_target_is_stored_before_it_and_used_in_it() -> None:
    """At a flat price and an empty battery: nothing without the target, 20 kWh charged before with it."""
    assert all(abs(s.battery_w) < 1 for s in make_plan(inputs()).steps)
    plan = make_plan(inputs(TARGET))
    assert [s.grid_w for s in within(plan)] == pytest.approx([20_000.0] * 8, abs=1)
    assert max(s.grid_w for s in plan.steps) <= 45_001, "below the month's peak"
    assert check_plan(plan, inputs(TARGET)) == []


def test_reasons_name_the_target_and_not_a_price() -> None:
    plan = make_plan(inputs(TARGET))
    assert {words(s.reason) for s in within(plan)} == {"keeps import at 20.0 kW or less: acme s1"}
    charged = [words(s.reason) for s in plan.steps if s.battery_w < -1]
    assert charged
    assert all("acme s1 at" in text and "import at most 20.0 kW" in text for text in charged)


def test_a_peak_below_the_target_is_the_reason_where_both_are() -> None:
    high = msgspec.structs.replace(TARGET, limit_w=29_000.0)
    load_w = [20_000.0] * 16 + [30_000.0] * 8 + [20_000.0] * 72
    config = site(tariff={"demand_eur_per_kw_month": 10.0}, rest_soc_pct=10.0)
    plan = make_plan(ask(config, FLAT, load_w, signals=(high,), month_peak_w=25_000.0))
    assert {s.reason.code for s in within(plan, high)} == {"step.below_peak"}


def test_a_target_raises_no_peak_and_what_it_lacks_is_not_taken_from_the_reserve() -> None:
    tight = make_plan(inputs(TARGET, month_peak_w=30_000.0))
    assert max(s.grid_w for s in tight.steps) <= 30_001
    assert within(tight)[0].grid_w == pytest.approx(30_000, abs=1)


def test_a_plan_made_without_the_target_is_not_kept() -> None:
    before = make_plan(inputs())
    plan = make_plan(inputs(TARGET), before=before)
    assert within(plan)[0].grid_w == pytest.approx(20_000, abs=1)


def test_other_quantities_and_times_change_nothing() -> None:
    export = msgspec.structs.replace(TARGET, quantity=Quantity.EXPORT)
    later = msgspec.structs.replace(TARGET, start_utc_s=NOON + 90_000, end_utc_s=NOON + 93_600)
    bare = [s.battery_w for s in make_plan(inputs()).steps]
    assert [s.battery_w for s in make_plan(inputs(export, later)).steps] == pytest.approx(bare)
