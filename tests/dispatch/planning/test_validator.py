"""The independent check: a good plan passes, any number moved beyond its tolerance is caught."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, site

from dispatch.billing.charges.energy_prices import import_price
from dispatch.billing.market_prices import PriceSeries
from dispatch.model.plan import Plan
from dispatch.planning.peak.outlook import PeakOutlook, Rise
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan

CONFIG = site(tariff={"demand_eur_per_kw_month": 10.0}, grid={"export_limit_w": 20_000.0}, horizon_h=12.0)
INPUTS = ask(
    CONFIG,
    hourly([40.0, 90.0, 30.0, 120.0] * 3),
    [10_000.0 + 1_000 * (k % 30) for k in range(48)],
    now_utc_s=NOON + 123.4,
    soc_pct=55.0,
    month_peak_w=35_000.0,
    pv_w=tuple(900.0 * (k % 40) for k in range(48)),
)
PLAN = make_plan(INPUTS)
# what moves by more than this is no rounding: W, %, EUR/kWh, s
BEYOND = {
    "start_utc_s": 900,
    "price_eur_per_kwh": 1e-4,
    "load_w": 12.0,
    "load_low_w": 12.0,
    "load_high_w": 12.0,
    "pv_w": 12.0,
    "battery_w": 12.0,
    "grid_w": 12.0,
    "soc_pct": 0.05,
}


def with_step(plan: Plan, k: int, **changes: float) -> Plan:
    steps = list(plan.steps)
    steps[k] = msgspec.structs.replace(steps[k], **changes)
    return msgspec.structs.replace(plan, steps=tuple(steps))


def test_the_plan_itself_is_good_and_does_something() -> None:
    assert check_plan(PLAN, INPUTS) == []
    assert any(s.battery_w > 1_000 for s in PLAN.steps)
    assert any(s.battery_w < -1_000 for s in PLAN.steps)


def test_a_step_costs_the_mean_of_prices_finer_than_it() -> None:
    """Five-minute prices: each quarter hour begins cheap. The first step is the rest of its quarter only."""
    starts = tuple(NOON + 300 * k for k in range(144))
    prices = PriceSeries(starts, tuple(30.0 + 60.0 * (k % 3) for k in range(144)), NOON + 43_200)
    inputs = msgspec.structs.replace(INPUTS, prices=prices)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    rest = (176.6 * 30 + 300 * 90 + 300 * 150) / 776.6
    wanted = [import_price(CONFIG.tariff, CONFIG.timezone, NOON, price) for price in (rest, 90.0, 90.0)]
    assert [step.price_eur_per_kwh for step in plan.steps[:3]] == pytest.approx(wanted, abs=1e-6)
    cheap = import_price(CONFIG.tariff, CONFIG.timezone, NOON, 30.0)
    assert check_plan(with_step(plan, 1, price_eur_per_kwh=cheap), inputs)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 47), st.sampled_from(sorted(BEYOND)), st.floats(1.0, 1e4), st.booleans())
def test_any_number_moved_is_caught(k: int, field: str, times: float, up: bool) -> None:
    step = BEYOND[field]
    by = (step * max(1, int(times)) if field == "start_utc_s" else step * times) * (1 if up else -1)
    moved = with_step(PLAN, k, **{field: getattr(PLAN.steps[k], field) + by})
    assert check_plan(moved, INPUTS)


@pytest.mark.parametrize("field", sorted(BEYOND))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none(field: str, value: float) -> None:
    found = check_plan(with_step(PLAN, 7, **{field: value}), INPUTS)
    assert found == [f"step 7: {field} is {value}: expected a finite number"]


def test_a_whole_shifted_or_cut_plan() -> None:
    replace = msgspec.structs.replace
    assert any("the quarter hour that holds" in f for f in check_plan(replace(PLAN, steps=PLAN.steps[1:]), INPUTS))
    assert any(
        "900 s after" in f or "1800 s after" in f
        for f in check_plan(replace(PLAN, steps=PLAN.steps[:5] + PLAN.steps[6:]), INPUTS)
    )
    assert check_plan(replace(PLAN, steps=()), INPUTS) == ["the plan has no steps"]
    assert any("step_s" in f for f in check_plan(replace(PLAN, step_s=300), INPUTS))
    assert any("made at" in f for f in check_plan(replace(PLAN, made_utc_s=PLAN.made_utc_s + 1), INPUTS))
    assert any("peak target" in f for f in check_plan(replace(PLAN, peak_target_w=30_000.0), INPUTS))
    assert any("cost_eur" in f for f in check_plan(replace(PLAN, cost_eur=math.nan), INPUTS))


def test_limits_are_named() -> None:
    step = PLAN.steps[20]
    over = with_step(PLAN, 20, battery_w=61_000.0, grid_w=step.load_w - step.pv_w - 61_000)
    found = " ".join(check_plan(over, INPUTS))
    assert "ratings allow -60000..60000 W" in found
    assert "export" in found
    charged = with_step(PLAN, 20, battery_w=-150_000.0, grid_w=step.load_w - step.pv_w + 150_000)
    assert "the fuse carries 110400 W" in " ".join(check_plan(charged, INPUTS))


def test_a_plan_for_other_inputs_is_refused() -> None:
    assert check_plan(PLAN, msgspec.structs.replace(INPUTS, soc_pct=50.0))
    assert check_plan(PLAN, msgspec.structs.replace(INPUTS, month_peak_w=70_000.0))
    assert check_plan(PLAN, msgspec.structs.replace(INPUTS, prices=hourly([41.0] * 12)))


def test_with_an_outlook_the_target_may_be_its_own_but_neither_less_nor_above_the_fuse() -> None:
    outlook = PeakOutlook(36_000.0, (Rise(1e6, 1.0),), 36_000.0, ())
    told = msgspec.structs.replace(INPUTS, peak=outlook)
    good = make_plan(told)
    assert check_plan(good, told) == []
    for target_w in (34_900.0, CONFIG.grid.fuse_w + 100.0):
        assert any("peak target" in f for f in check_plan(msgspec.structs.replace(good, peak_target_w=target_w), told))


def test_below_the_outlook_a_target_must_still_cover_the_next_interval() -> None:
    early = msgspec.structs.replace(INPUTS, month_peak_w=0.0)
    plan = make_plan(early)
    low_w = plan.steps[1].grid_w - 1_000.0
    assert low_w > 0
    for outlook_w, refused in ((low_w, False), (low_w + 500.0, True)):
        told = msgspec.structs.replace(early, peak=PeakOutlook(outlook_w, (Rise(1e6, 1.0),), 36_000.0, ()))
        found = check_plan(msgspec.structs.replace(plan, peak_target_w=low_w), told)
        assert any("next metering interval" in f for f in found) == refused
