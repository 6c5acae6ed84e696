"""The plan: a day computed by hand, peaks, negative prices, missing inputs, and what must always hold."""

import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, ask, hourly, site
from soak_sizes import examples
from watched_program import AlsoCold

from dispatch.billing.market_prices import PriceSeries
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.model.forecast import Forecast
from dispatch.model.plan import Plan
from dispatch.planning.inputs import PlanFailed, PlanInputs
from dispatch.planning.lp_model import Problem, Solution
from dispatch.planning.lp_solver import LinearProgram
from dispatch.planning.planner import Planner, make_plan
from dispatch.planning.validator import check_plan
from dispatch.wording.catalogue import words

TWO_PRICES = hourly([40.0] * 12 + [100.0] * 12)


class Watched(LinearProgram):
    """Keeps the solver's own answer."""

    def __init__(self) -> None:
        super().__init__(5.0)
        self.solution: Solution | None = None

    def solve(self, problem: Problem) -> Solution:
        self.solution = super().solve(problem)
        return self.solution


def energy_kwh(plan: Plan, sign: int) -> float:
    return sum(max(0.0, sign * s.battery_w) for s in plan.steps) / 4000


def test_a_two_price_day_computed_by_hand() -> None:
    # 80 kWh go in at 40 EUR/MWh (80 / 0.9 = 88.889 kWh at the terminals) and come out at 100 (80 x 0.9 = 72 kWh).
    # load 240 kWh: 120 x 0.04 + 120 x 0.10 = 16.80; charge 3.5556; discharge -7.20; wear 160.889 x 0.01 = 1.6089
    plan = make_plan(ask(site(), TWO_PRICES, [10_000]))
    assert len(plan.steps) == 96
    assert energy_kwh(plan, -1) == pytest.approx(88.889, abs=0.01)
    assert energy_kwh(plan, 1) == pytest.approx(72.0, abs=0.01)
    assert plan.cost_eur == pytest.approx(14.7644, abs=0.002)
    assert all(s.battery_w <= 0 for s in plan.steps[:48])
    assert all(s.battery_w >= 0 for s in plan.steps[48:])
    assert plan.steps[47].soc_pct == pytest.approx(90)
    assert plan.steps[-1].soc_pct == pytest.approx(10)
    first_charge = next(s for s in plan.steps if s.battery_w < 0)
    assert words(first_charge.reason).startswith("price 4.0 → 10.0 ct/kWh at ")
    assert plan.note is None


def test_a_small_spread_is_left_alone() -> None:
    # losses: 1 / 0.81 = 1.235; wear 2 x 1 ct: 60 -> 75 does not pay
    plan = make_plan(ask(site(), hourly([60.0] * 12 + [75.0] * 12), [10_000]))
    assert all(s.battery_w == 0 for s in plan.steps)
    assert {words(s.reason) for s in plan.steps} == {"at the reserve, SoC 10 %"}


def test_the_peak_is_held_by_charging_before_it_and_the_reason_says_so() -> None:
    config = site(tariff={"demand_eur_per_kw_month": 10.0})
    loads = [20_000] * 32 + [50_000] * 4 + [20_000] * 60  # one hour of 50 kW, from 22:00 local time
    plan = make_plan(ask(config, hourly([80.0] * 24), loads, month_peak_w=35_000))
    assert max(s.grid_w for s in plan.steps) <= 35_001
    assert plan.peak_target_w == pytest.approx(35_000, abs=1)
    assert plan.steps[32].battery_w == pytest.approx(15_000, abs=1)
    assert words(plan.steps[32].reason) == "keeps import below the month's peak 35.0 kW"
    charge = next(s for s in plan.steps if s.battery_w < 0)
    assert words(charge.reason).startswith("month's peak 35.0 kW at risk at 22:00")


@pytest.mark.parametrize("length_s", [900, 1800, 3600])
def test_the_metering_interval_counts_what_was_imported_before(length_s: int) -> None:
    config = site(
        tariff={"demand_eur_per_kw_month": 10.0}, grid={"metering_interval_s": length_s, "contracted_peak_w": 100_000}
    )
    # ten minutes in, 9 kWh already imported at a load of 54 kW; 40 kW mean allow so much more:
    left_wh = 40_000 * length_s / 3600 - 9_000
    inputs = ask(config, hourly([80.0] * 24), [54_000, 20_000], now_utc_s=NOON + 600, month_peak_w=40_000)
    plan = make_plan(msgspec.structs.replace(inputs, soc_pct=60.0, interval_energy_wh=9_000.0))
    imported_wh = plan.steps[0].grid_w * 300 / 3600 + sum(s.grid_w for s in plan.steps[1 : length_s // 900]) / 4
    assert imported_wh <= left_wh + 1
    assert plan.peak_target_w == pytest.approx(40_000, abs=1)
    assert plan.steps[0].soc_pct == pytest.approx(60 - plan.steps[0].battery_w / 12_000 / 0.9, abs=0.01)


@pytest.mark.parametrize("into_s", [300, 600, 840])
def test_a_plan_does_not_charge_on_what_the_running_interval_has_left(into_s: int) -> None:
    # the interval's mean allows 35, 50 and 167 kW for its rest; rule 8 keeps that for the load, so the plan says so
    config = site(tariff={"demand_eur_per_kw_month": 10.0}, grid={"contracted_peak_w": 55_000})
    inputs = ask(config, TWO_PRICES, [20_000], now_utc_s=NOON + into_s, month_peak_w=30_000)
    plan = make_plan(msgspec.structs.replace(inputs, interval_energy_wh=20_000 * into_s / 3600))
    assert plan.peak_target_w == pytest.approx(30_000, abs=1)
    assert [s.battery_w for s in plan.steps[:4]] == pytest.approx([-10_000] * 4, abs=1)
    assert plan.steps[0].soc_pct == pytest.approx(10 + 10 * (900 - into_s) / 3600 * 0.9, abs=0.01)


def test_a_month_that_begins_inside_the_horizon_has_its_own_peak() -> None:
    start = int(datetime(2025, 9, 30, 12, tzinfo=UTC).timestamp())  # October begins at 22:00 UTC
    config = site(tariff={"demand_eur_per_kw_month": 10.0})
    inputs = ask(config, hourly([80.0] * 24, start), [60_000] * 8 + [20_000] * 60, now_utc_s=start, month_peak_w=60_000)
    plan = make_plan(msgspec.structs.replace(inputs, peak_prior_w=30_000.0))
    assert plan.peak_target_w == pytest.approx(60_000)
    october = [s.grid_w for s in plan.steps if s.start_utc_s >= start + 36_000]
    assert max(october) <= 30_001


def test_the_reserve_is_kept_and_restored() -> None:
    config = site(reserve={"hours": 2, "critical_load_w": 9_000})  # 18 kWh at the terminals: 20 kWh stored, SoC 30 %
    assert reserve_soc_pct(config) == pytest.approx(30)
    kept = make_plan(ask(config, TWO_PRICES, [10_000], soc_pct=60.0))
    assert min(s.soc_pct for s in kept.steps) >= 30 - 1e-3
    short = make_plan(ask(config, hourly([100.0] * 24), [10_000], soc_pct=15.0))
    assert short.steps[3].soc_pct >= 30 - 1e-3
    assert "back to the reserve, SoC 30 %" in words(short.steps[0].reason)


def test_a_plan_that_begins_below_the_reserve_does_not_end_there() -> None:
    """Found: dear hours at the end were sold out of a reserve that the same plan had filled up."""
    config = site(reserve={"hours": 2, "critical_load_w": 9_000})
    plan = make_plan(ask(config, hourly([20.0] * 20 + [400.0] * 4), [30_000.0], soc_pct=20.0))
    assert min(step.soc_pct for step in plan.steps[4:]) == pytest.approx(30.0, abs=0.1)


def test_the_fuse_goes_before_the_reserve() -> None:
    config = site(reserve={"hours": 2, "critical_load_w": 9_000}, grid={"fuse_a": 100.0, "contracted_peak_w": 60_000.0})
    fuse_w = config.grid.fuse_w
    plan = make_plan(ask(config, hourly([100.0] * 24), [fuse_w + 10_000] * 4 + [20_000], soc_pct=30.0))
    assert max(s.grid_w for s in plan.steps) <= fuse_w + 1
    assert min(s.soc_pct for s in plan.steps) < 20
    assert "keeps import within the fuse" in words(plan.steps[0].reason)


def test_a_load_beyond_everything_still_gets_a_plan() -> None:
    config = site(grid={"fuse_a": 50.0, "contracted_peak_w": 30_000.0})
    inputs = ask(config, TWO_PRICES, [200_000], soc_pct=50.0)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    assert "exceeds the fuse" in words(plan.note)
    assert "exceeds the fuse" in words(plan.steps[-1].reason)


def test_pv_surplus_is_stored_and_what_the_export_limit_cuts_is_said() -> None:
    config = site(grid={"export_limit_w": 0.0})
    inputs = ask(config, hourly([80.0] * 24), [5_000], pv_w=(65_000.0,) * 16 + (0.0,) * 80)
    watched = Watched()
    plan = make_plan(inputs, watched)
    assert words(plan.steps[0].reason).startswith("PV surplus")
    assert plan.steps[15].soc_pct == pytest.approx(90)
    assert "exceeds the limit 0.0 kW" in words(plan.steps[15].reason)
    assert_one_direction(watched.solution)


def assert_one_direction(solution: Solution | None) -> None:
    assert solution is not None
    assert max(min(c, d) for c, d in zip(solution.charge_kw, solution.discharge_kw, strict=True)) < 1e-6


def test_negative_prices_never_burn_energy_or_import_and_export_at_once() -> None:
    config = site(tariff={"vat_pct": 20.0})  # with VAT, import is paid more than export costs
    inputs = ask(config, hourly([-300.0] * 8 + [50.0] * 8 + [-20.0] * 8), [10_000], soc_pct=88.0, pv_w=(15_000.0,) * 96)
    watched = Watched()
    plan = make_plan(inputs, watched)
    assert_one_direction(watched.solution)
    assert check_plan(plan, inputs) == []
    assert max(s.grid_w for s in plan.steps) < 100_000
    paid = make_plan(ask(site(), hourly([-50.0] * 4 + [80.0] * 20), [10_000]))
    assert "import is paid, -5.0 ct/kWh" in next(words(s.reason) for s in paid.steps if s.battery_w < 0)


def test_no_prices_at_all_defends_the_peak_only() -> None:
    config = site(tariff={"demand_eur_per_kw_month": 10.0})
    loads = [20_000] * 16 + [50_000] * 4 + [20_000]
    plan = make_plan(ask(config, PriceSeries((), (), 0), loads, month_peak_w=30_000, soc_pct=50.0))
    assert words(plan.note).startswith("no prices: flat 100 EUR/MWh assumed")
    assert max(s.grid_w for s in plan.steps) <= 30_001
    assert all(abs(s.battery_w) < 1 for s in plan.steps[:16])


def test_prices_that_end_are_continued_by_known_days_and_said() -> None:
    known = hourly([40.0] * 12 + [100.0] * 12, NOON - 86400)
    plan = make_plan(ask(site(), known, [10_000]))
    until = "no price for now, prices known until Tue 14:00"
    assert words(plan.note) == f"{until}: for 96 steps the mean of the same hour on known days"
    assert [s.price_eur_per_kwh for s in plan.steps] == pytest.approx([0.04] * 48 + [0.1] * 48)
    assert all(step.assumed for step in plan.steps)


def test_paid_import_is_taken_up_to_the_planned_peak_though_the_load_is_above_the_contract() -> None:
    """Found: charging was closed there, and the step said "kept for 20:00"."""
    config = site(grid={"contracted_peak_w": 20_000.0}, tariff={"demand_eur_per_kw_month": 10.0})
    loads = [30_000.0] * 4 + [50_000.0] * 20 + [30_000.0] * 4
    plan = make_plan(ask(config, hourly([-400.0, *[100.0] * 23]), loads, soc_pct=20.0))
    assert all(step.battery_w < -2_000 for step in plan.steps[:4])
    assert all(step.grid_w <= plan.peak_target_w + 1 for step in plan.steps[:4])


@pytest.mark.parametrize(("days", "date"), [(300, "2024-11-21 13:00"), (3, "2025-09-14 14:00")])
def test_prices_of_the_past_are_named_by_their_date(days: int, date: str) -> None:
    """Found: "until Fri" was last Friday, and read as the next."""
    stale = hourly([40.0] * 12 + [100.0] * 12, NOON - days * 86400)
    plan = make_plan(ask(site(), stale, [10_000]))
    start = f"no price for now, prices known until {date}: for 96 steps"
    assert words(plan.note) == f"{start} the mean of the same hour on known days"


def test_absurd_prices_and_gaps_across_the_clock_change() -> None:
    start = int(datetime(2025, 10, 25, 12, tzinfo=UTC).timestamp())
    prices: list[float | None] = [5000.0 if k % 3 else -5000.0 for k in range(36)]
    prices[11:15] = [None] * 4  # 01:00 to 04:00 local, the hour that comes twice among them
    inputs = ask(site(horizon_h=36.0), hourly(prices, start), [10_000], now_utc_s=start)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    assert "for 16 steps the mean of the same hour" in words(plan.note)


def test_a_resolution_that_changes_inside_the_horizon() -> None:
    starts = (*range(NOON, NOON + 12 * 3600, 3600), *range(NOON + 12 * 3600, NOON + 86400, 900))
    values = tuple(float(k) for k in range(len(starts)))
    inputs = ask(site(), PriceSeries(starts, values, NOON + 86400), [10_000])
    plan = make_plan(inputs)
    assert [s.price_eur_per_kwh * 1000 for s in plan.steps] == pytest.approx(
        [float(k // 4) for k in range(48)] + [12.0 + k for k in range(48)]
    )
    assert check_plan(plan, inputs) == []


def test_a_reserve_beyond_the_battery_is_said_and_keeps_it_full() -> None:
    config = site(reserve={"hours": 40, "critical_load_w": 9_000})
    inputs = ask(config, TWO_PRICES, [10_000], soc_pct=50.0)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    assert words(plan.note) == "the reserve of 360 kWh needs SoC 410 %, soc_max is 90 %: kept full"
    assert plan.steps[-1].soc_pct == pytest.approx(90)


def test_a_dear_hour_calls_for_export_up_to_the_limit() -> None:
    config = site(grid={"export_limit_w": 30_000.0})
    plan = make_plan(ask(config, hourly([50.0] * 12 + [900.0] + [50.0] * 11), [10_000], soc_pct=90.0))
    assert min(s.grid_w for s in plan.steps) == pytest.approx(-0.95 * 30_000, abs=1)
    assert words(plan.steps[48].reason) == "export earns 90.0 ct/kWh"


def test_without_a_plan_for_the_energy_the_battery_comes_back_to_rest() -> None:
    config = site(rest_soc_pct=60.0, tariff={"demand_eur_per_kw_month": 10.0})
    plan = make_plan(ask(config, hourly([80.0] * 24), [20_000], month_peak_w=40_000))
    assert plan.steps[-1].soc_pct == pytest.approx(60, abs=0.1)
    assert plan.steps[0].battery_w == pytest.approx(-20_000, abs=1)  # now, not some day
    assert max(s.grid_w for s in plan.steps) <= 40_001


def test_no_battery_gives_zeros() -> None:
    inputs = ask(site(battery={"energy_kwh": 0.0}), TWO_PRICES, [10_000])
    plan = make_plan(inputs)
    assert all(
        (s.battery_w, s.soc_pct, s.grid_w, words(s.reason)) == (0.0, 0.0, 10_000.0, "no battery") for s in plan.steps
    )
    assert check_plan(plan, inputs) == []


@pytest.mark.parametrize("day", ["2025-03-30", "2025-10-26"])
def test_days_of_92_and_100_quarters(day: str) -> None:
    start = int(datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC).timestamp()) - 86400
    inputs = ask(
        site(horizon_h=36.0),
        hourly([50.0 + 20 * math.sin(k) for k in range(40)], start),
        [10_000],
        now_utc_s=start + 77,
    )
    plan = make_plan(inputs)
    assert [s.start_utc_s for s in plan.steps] == [start + 900 * k for k in range(144)]
    assert check_plan(plan, inputs) == []


def test_what_no_plan_can_be_made_of() -> None:
    good = ask(site(), TWO_PRICES, [10_000])
    replace = msgspec.structs.replace
    with pytest.raises(PlanFailed, match="SoC unknown"):
        make_plan(replace(good, soc_pct=None))
    with pytest.raises(PlanFailed, match="month_peak_w holds nan"):
        make_plan(replace(good, month_peak_w=math.nan))
    with pytest.raises(PlanFailed, match="empty"):
        make_plan(replace(good, load=Forecast(NOON, (), (), ())))
    with pytest.raises(PlanFailed, match="expected the quarter"):
        make_plan(replace(good, load=Forecast(NOON + 900, (1.0,), (1.0,), (1.0,))))
    short = make_plan(replace(good, load=Forecast(NOON, (10_000.0,), (10_000.0,), (10_000.0,))))
    assert "held" in words(short.note)
    assert all(s.load_w == 10_000 for s in short.steps)


def test_a_failed_solve_keeps_the_last_plan() -> None:
    planner = Planner(site())
    good = ask(site(), TWO_PRICES, [10_000])
    plan = planner.solve(good)
    with pytest.raises(PlanFailed):
        planner.solve(msgspec.structs.replace(good, soc_pct=None))
    assert planner.last is plan


Case = tuple[PlanInputs, list[float], list[float]]


@st.composite
def cases(draw: st.DrawFn) -> PlanInputs:
    prices = draw(st.lists(st.floats(-500, 1000), min_size=12, max_size=12))
    loads = draw(st.lists(st.floats(0, 150_000), min_size=12, max_size=12))
    suns = draw(st.lists(st.floats(0, 80_000), min_size=12, max_size=12))
    config = site(
        horizon_h=12.0,
        rest_soc_pct=draw(st.sampled_from([0.0, 60.0])),
        tariff={
            "demand_eur_per_kw_month": draw(st.sampled_from([0.0, 10.0])),
            "vat_pct": draw(st.sampled_from([0.0, 25.0])),
        },
        grid={
            "metering_interval_s": draw(st.sampled_from([300, 600, 900, 1800, 3600])),
            "export_limit_w": draw(st.sampled_from([0.0, 30_000.0])),
            "contracted_peak_w": draw(st.sampled_from([30_000.0, 100_000.0])),
        },
        reserve={"hours": draw(st.sampled_from([0.0, 2.0])), "critical_load_w": 9_000},
    )
    return ask(
        config,
        hourly(prices),
        [w for w in loads for _ in range(4)],
        now_utc_s=NOON + draw(st.sampled_from([0.0, 0.5, 437.25, 899.999])),
        soc_pct=draw(st.floats(0, 100)),
        month_peak_w=draw(st.sampled_from([0.0, 40_000.0])),
        peak_prior_w=draw(st.sampled_from([None, 50_000.0])),
        interval_energy_wh=draw(st.sampled_from([None, 3_000.0])),
        pv_w=tuple(w for w in suns for _ in range(4)),
    )


@pytest.mark.soak
@settings(max_examples=examples(25), deadline=None)
@given(cases())
def test_every_plan_passes_the_independent_check(inputs: PlanInputs) -> None:
    watched = Watched()
    plan = make_plan(inputs, watched)
    assert check_plan(plan, inputs) == []
    assert_one_direction(watched.solution)
    assert all(words(s.reason) for s in plan.steps)
    interval_s, peak_w = inputs.config.grid.metering_interval_s, inputs.month_peak_w
    limit_w = min(max(plan.peak_target_w, peak_w), max(inputs.config.grid.contracted_peak_w, peak_w))
    for step in plan.steps if inputs.now_utc_s % interval_s else ():
        if step.start_utc_s // interval_s == inputs.now_utc_s // interval_s and step.battery_w < 0:
            assert step.grid_w <= limit_w + 60 or step.grid_w <= 0  # surplus PV may always be stored


@pytest.mark.soak
@settings(max_examples=examples(10), deadline=None)
@given(cases(), cases())
def test_a_kept_model_answers_as_a_fresh_one(one: PlanInputs, two: PlanInputs) -> None:
    planner = Planner(one.config)
    planner.solve(one)
    warm, cold = planner.solve(two), make_plan(two)
    assert warm.peak_target_w == pytest.approx(cold.peak_target_w, rel=1e-4, abs=5)
    assert check_plan(warm, two) == []


@pytest.mark.parametrize("interval_s", [900, 3600])
def test_the_basis_of_the_last_plan_spares_most_of_the_work(interval_s: int) -> None:
    """Cold, this takes some 200 iterations; a basis that is not moved with time takes as many."""
    config = site(tariff={"demand_eur_per_kw_month": 10.0}, grid={"metering_interval_s": interval_s})
    prices = hourly([60.0 + 30 * math.sin(k) for k in range(40)])
    program, took = LinearProgram(5.0), []
    for quarter in range(6):
        now_utc_s = NOON + 900 * quarter
        loads = [30_000 + 20_000 * math.sin((k + quarter) / 9) for k in range(96)]
        make_plan(ask(config, prices, loads, now_utc_s=now_utc_s, soc_pct=50.0, month_peak_w=40_000), program)
        assert program._highs is not None
        took.append(program._highs.getInfo().simplex_iteration_count)
    assert max(took[1:]) < took[0] / 5, took


@pytest.mark.soak
@settings(max_examples=examples(8), deadline=None)
@given(cases(), st.lists(st.sampled_from([1, 2, 7, 60]), min_size=2, max_size=4))
def test_a_basis_moved_along_with_time_answers_as_a_cold_start(inputs: PlanInputs, ahead: list[int]) -> None:
    program, loads = AlsoCold(), inputs.load.load_w
    make_plan(inputs, program)
    for quarters in ahead:  # with longer metering intervals the model is made anew, and the basis moves all the same
        loads = loads[quarters:] + loads[:quarters]
        first = inputs.load.start_utc_s + 900 * quarters
        now_utc_s, load = inputs.now_utc_s + 900 * quarters, Forecast(first, loads, loads, loads)
        inputs = msgspec.structs.replace(inputs, now_utc_s=now_utc_s, load=load)
        assert check_plan(make_plan(inputs, program), inputs) == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(5, 300), min_size=12, max_size=12), st.floats(2, 5))
def test_scaled_prices_scale_the_cost(prices: list[float], factor: float) -> None:
    def cost(scale: float) -> float:
        config = site(
            horizon_h=12.0,
            tariff={"demand_eur_per_kw_month": 10.0 * scale},
            battery={"wear_eur_per_kwh": 0.01 * scale},
        )
        series = hourly([p * scale for p in prices])
        return make_plan(ask(config, series, [10_000] * 20 + [50_000] * 4 + [10_000], month_peak_w=30_000)).cost_eur

    assert cost(factor) == pytest.approx(factor * cost(1.0), rel=2e-3, abs=0.01)


@pytest.mark.soak
@settings(max_examples=examples(10), deadline=None)
@given(
    st.lists(st.floats(-50, 300), min_size=12, max_size=12), st.lists(st.floats(0, 60_000), min_size=12, max_size=12)
)
def test_more_battery_never_costs_more(prices: list[float], loads: list[float]) -> None:
    def cost(energy_kwh: float) -> float:
        config = site(horizon_h=12.0, tariff={"demand_eur_per_kw_month": 10.0}, battery={"energy_kwh": energy_kwh})
        inputs = ask(config, hourly(prices), [w for w in loads for _ in range(4)], month_peak_w=20_000, soc_pct=50.0)
        return make_plan(inputs).cost_eur

    assert cost(200.0) <= cost(100.0) + 0.02
    assert cost(100.0) <= cost(50.0) + 0.02


def test_a_solver_out_of_time_says_so() -> None:
    with pytest.raises(PlanFailed, match="Time limit reached"):
        make_plan(ask(site(), TWO_PRICES, [10_000]), LinearProgram(1e-9))
