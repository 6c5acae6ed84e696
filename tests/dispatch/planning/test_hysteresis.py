"""A plan in force stays unless the new one is better by the margin, or it can no longer be followed."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, site
from soak_sizes import examples
from watched_program import Watched

from dispatch.config.schema import DispatchConfig
from dispatch.model.plan import Plan
from dispatch.planning.hysteresis import evaluate_powers
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan

PRICES = [40.0] * 12 + [100.0] * 12


def of(config: DispatchConfig, margin_pct: float) -> DispatchConfig:
    return msgspec.structs.replace(config, plan=msgspec.structs.replace(config.plan, hysteresis_pct=margin_pct))


def powers(plan: Plan) -> list[float]:
    return [step.battery_w for step in plan.steps]


@pytest.mark.soak
@settings(max_examples=examples(10), deadline=None)
@given(
    st.lists(st.floats(-100, 400), min_size=24, max_size=24),
    st.lists(st.floats(0, 90_000), min_size=96, max_size=96),
    st.floats(5, 95),
    st.floats(0, 60_000),
    st.floats(0, 899),
)
def test_weighed_is_what_the_program_minimises(
    prices: list[float], loads: list[float], soc_pct: float, peak_w: float, into_s: float
) -> None:
    config = site(
        tariff={"demand_eur_per_kw_month": 10.0}, grid={"contracted_peak_w": 50_000.0, "export_limit_w": 20_000.0},
        reserve={"hours": 2, "critical_load_w": 9_000},
    )  # fmt: skip
    watched = Watched()
    inputs = ask(config, hourly(prices), loads, now_utc_s=NOON + into_s, soc_pct=soc_pct, month_peak_w=peak_w)
    make_plan(msgspec.structs.replace(inputs, interval_energy_wh=3_000.0, pv_w=(30_000.0,) * 40), watched)
    for problem, solution, objective in watched.told:
        eur, again = evaluate_powers(problem, solution.charge_kw, solution.discharge_kw)
        if all(min(c, d) < 1e-6 for c, d in zip(solution.charge_kw, solution.discharge_kw, strict=True)):
            assert eur == pytest.approx(objective, rel=1e-6, abs=1e-4)
            assert again.peaks_kw == pytest.approx(solution.peaks_kw, abs=1e-4)


def shifted(inputs: PlanInputs, **changes: object) -> PlanInputs:
    """The same a quarter later, with the same load and prices, SoC as the first plan left it."""
    return msgspec.structs.replace(inputs, now_utc_s=inputs.now_utc_s + 900, **changes)


def test_a_plan_that_is_as_good_stays_and_one_that_saves_more_replaces_it() -> None:
    config = of(site(), 0.5)
    first = make_plan(ask(config, hourly(PRICES), [10_000]))
    later = ask(config, hourly([40.0] * 11 + [41.0] + [100.0] * 12), [10_050], now_utc_s=NOON + 900)
    later = msgspec.structs.replace(later, soc_pct=first.steps[0].soc_pct)
    stayed = make_plan(later, before=first)
    assert powers(stayed)[:95] == pytest.approx(powers(first)[1:], abs=1.0)
    assert stayed.steps[0].load_w == 10_050, "load, SoC and reasons are those of now"
    assert check_plan(stayed, later) == []
    # the cheap hours have moved: charging then saves 88.9 kWh x 3 ct, of 24 EUR of load
    moved = ask(config, hourly([70.0] * 6 + [40.0] * 6 + [100.0] * 12), [10_000], now_utc_s=NOON + 900)
    moved = msgspec.structs.replace(moved, soc_pct=first.steps[0].soc_pct)
    assert powers(make_plan(moved, before=first)) == powers(make_plan(moved))


def test_the_margin_is_where_it_is_said_to_be() -> None:
    """The same two plans: kept just below what the new one saves, replaced just above."""
    plain = site()
    first = make_plan(ask(plain, hourly(PRICES), [10_000]))
    dearer = hourly([44.0] * 6 + [40.0] * 6 + [100.0] * 12)
    watched = Watched()
    later = msgspec.structs.replace(ask(plain, dearer, [10_000], now_utc_s=NOON + 900), soc_pct=first.steps[0].soc_pct)
    new = make_plan(later, watched)
    ((problem, solution, _),) = watched.told
    old_w = [*powers(first)[1:], new.steps[-1].battery_w]
    old_eur, _ = evaluate_powers(problem, [max(0.0, -w / 1000) for w in old_w], [max(0.0, w / 1000) for w in old_w])
    saved = old_eur - evaluate_powers(problem, solution.charge_kw, solution.discharge_kw)[0]
    bill = sum(h * 10 * p for h, p in zip(problem.hours, problem.buy, strict=True))
    assert saved > 0.01
    for factor, stays in ((1.02, True), (0.98, False)):
        told = msgspec.structs.replace(later, config=of(plain, factor * 100 * saved / bill))
        assert (powers(make_plan(told, before=first))[:90] == pytest.approx(old_w[:90], abs=1.0)) is stays


def test_a_plan_that_can_no_longer_be_followed_is_replaced() -> None:
    config = of(site(), 10.0)
    first = make_plan(ask(config, hourly([100.0] * 12 + [40.0] * 12), [30_000], soc_pct=90.0))
    assert max(powers(first)) > 1_000
    empty = ask(config, hourly([100.0] * 12 + [40.0] * 12), [30_000], now_utc_s=NOON + 900)
    assert powers(make_plan(empty, before=first)) == powers(make_plan(empty))
    fuse_w = config.grid.fuse_w
    charging = make_plan(ask(config, hourly(PRICES), [10_000]))
    heavy = ask(config, hourly(PRICES), [fuse_w - 1_000], now_utc_s=NOON + 900)
    assert max(step.grid_w for step in make_plan(heavy, before=charging).steps) <= fuse_w + 1
    old = msgspec.structs.replace(first, steps=first.steps[:0])
    assert powers(make_plan(empty, before=old)) == powers(make_plan(empty)), "one that has run out"


def test_a_plan_that_would_raise_the_peak_is_replaced() -> None:
    config = of(site(tariff={"demand_eur_per_kw_month": 10.0}), 0.1)
    calm = ask(config, hourly([80.0] * 24), [20_000], month_peak_w=30_000, soc_pct=60.0)
    first = make_plan(calm)
    pulse = ask(
        config, hourly([80.0] * 24), [45_000] * 4 + [20_000], month_peak_w=30_000, soc_pct=60.0, now_utc_s=NOON + 900
    )
    assert make_plan(pulse, before=first).steps[0].battery_w == pytest.approx(15_000, abs=10)


def test_powers_beyond_a_limit_weigh_infinitely() -> None:
    watched = Watched()
    make_plan(ask(site(), hourly(PRICES), [10_000]), watched)
    ((problem, solution, _),) = watched.told
    assert evaluate_powers(problem, [61.0, *solution.charge_kw[1:]], solution.discharge_kw)[0] == math.inf
    assert evaluate_powers(problem, solution.charge_kw, [5.0, *solution.discharge_kw[1:]])[0] == math.inf
