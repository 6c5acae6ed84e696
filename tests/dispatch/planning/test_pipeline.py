"""What the joined forecasts and the month's peak make of a plan."""

from pathlib import Path

import msgspec
import pytest
from plan_site import ask, hourly, site

from dispatch.billing.market_prices import PriceSeries
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig
from dispatch.model.plan import Plan
from dispatch.model.reservations import Reservation
from dispatch.planning.peak.outlook import PeakOutlook, Rise
from dispatch.planning.pipeline import PlanningState, PlanSource
from dispatch.planning.planner import make_plan
from dispatch.wording.catalogue import words
from gateway.site.loader import load

SITE = Path(__file__).parents[3] / "sites" / "yardstick-de.toml"
T0 = 1_751_328_000  # 2025-07-01
QUARTERS = 6 * 96


def planned(
    *,
    outlook: bool,
    demand: DemandTerms | None = None,
    soc_pct: float = 60.0,
    caps: bool = False,
    promised: tuple[Reservation, ...] = (),
    eur_per_mwh: tuple[float, ...] = (80.0,) * 36,
) -> Plan:
    """A plan after six days of 30 kW with 60 kW for three hours a day."""
    config = load(SITE).dispatch
    config = msgspec.structs.replace(config, plan=msgspec.structs.replace(config.plan, peak_outlook=outlook))
    if demand is not None:
        tariff = msgspec.structs.replace(config.tariff, demand_eur_per_kw_month=0.0, demand=demand)
        config = msgspec.structs.replace(config, tariff=tariff)
    config = msgspec.structs.replace(config, caps=CapsConfig(value_eur_per_kwh=0.01, max_share=0.9))
    source = PlanSource(config)
    for k in range(QUARTERS):
        source.observe_load(T0 + 900 * k, 60_000.0 if k % 96 >= 84 else 30_000.0)
        source.observe_pv(T0 + 900 * k, 0.0)
    source.reserve(promised)
    now_s = T0 + 900 * QUARTERS
    prices = PriceSeries(tuple(now_s + 3600 * h for h in range(36)), eur_per_mwh, now_s + 36 * 3600)
    now = PlanningState(
        utc_s=now_s, load_w=30_000.0, pv_w=0.0, soc_pct=soc_pct, month_peak_w=0.0, interval_energy_wh=0.0, caps=caps
    )
    inputs = source.inputs(now, prices)
    plan, faults = source.make(inputs)
    assert faults == []
    assert tuple(s.load_w for s in plan.steps) == inputs.load.load_w, "grants are worked out from the same inputs"
    return plan


def test_the_outlook_holds_what_the_battery_can_and_may_be_switched_off() -> None:
    # 21 h of 30 kW and 3 h of 60 kW: 33.75 kW is the mean, which a battery without losses would hold
    told, alone = planned(outlook=True), planned(outlook=False)
    assert 33_750 <= told.peak_target_w <= 36_000
    assert alone.peak_target_w > told.peak_target_w + 2_000


@pytest.mark.parametrize("load_kw", [20.0, 80.0])
def test_on_a_new_site_charging_does_not_set_the_months_peak(load_kw: float) -> None:
    """Nothing is known of its pulses yet, and prices that fall to a third tempt: below the contract as above it."""
    config = load(SITE).dispatch
    config = msgspec.structs.replace(config, grid=msgspec.structs.replace(config.grid, contracted_peak_w=55_000.0))
    source = PlanSource(config)
    prices = PriceSeries(tuple(T0 + 3600 * h for h in range(36)), (60.0, *(20.0,) * 17, *(60.0,) * 18), T0 + 36 * 3600)
    now = PlanningState(
        utc_s=T0, load_w=1000 * load_kw, pv_w=0.0, soc_pct=50.0, month_peak_w=0.0, interval_energy_wh=0.0
    )  # fmt: skip
    plan, faults = source.make(source.inputs(now, prices))
    assert faults == []
    assert max(step.grid_w for step in plan.steps) <= 1000 * load_kw + 1


def test_caps_are_counted_on_only_while_nodes_take_them() -> None:
    """Nearly empty before the pulse: caps at 1 ct/kWh would hold a peak that the battery cannot."""
    with_caps, without = planned(outlook=True, soc_pct=21.0, caps=True), planned(outlook=True, soc_pct=21.0)
    assert with_caps.peak_target_w < without.peak_target_w - 1_000


def promised(start_s: float, hours: float) -> Reservation:
    """30 kW for a job."""
    return Reservation(
        id="r1", name="render-7", power_w=30_000.0, start_utc_s=start_s, end_utc_s=start_s + 3600 * hours,
        latest_utc_s=start_s, who="tech1", given_utc_s=start_s,
    )  # fmt: skip


def test_a_job_announced_for_next_week_makes_room_to_charge_today_and_is_named() -> None:
    """120 kWh at the AC terminals of a full battery are 10 kW over 12 hours: 30 of base and 30 of the job need 48."""
    dear_later = (20.0,) * 9 + (300.0,) * 3 + (20.0,) * 24
    job = promised(T0 + 900 * QUARTERS + 8 * 86_400, 12.0)
    told, alone = (planned(outlook=True, promised=jobs, eur_per_mwh=dear_later) for jobs in ((job,), ()))
    assert alone.peak_target_w + 5_000 < told.peak_target_w <= 48_500
    assert told.month_end is not None
    assert "; r1, announced from 2025-07-15 02:00, needs at least 48" in words(told.month_end)
    assert alone.month_end is not None
    assert "announced" not in words(alone.month_end)


def test_the_plans_own_peak_is_kept_where_all_jobs_are_announced() -> None:
    low = PeakOutlook(25_000.0, (Rise(1e6, 1.0),), 25_000.0, ())
    sure = ask(site(tariff={"demand_eur_per_kw_month": 10.0}), hourly([50.0] * 36), [40_000.0] * 96, peak=low)
    sure, unsure = (msgspec.structs.replace(sure, jobs_sure=known) for known in (True, False))
    own, given_way = (make_plan(inputs).peak_target_w for inputs in (sure, unsure))
    assert own > 30_000.0
    assert given_way == pytest.approx(25_000.0, abs=1.0)


def forecast_kw(source: PlanSource, now_s: float, load_kw: float) -> list[float]:
    """The load of the coming quarters, kW, as a plan of this moment sees it."""
    prices = PriceSeries((), (), 0)
    now = PlanningState(
        utc_s=now_s, load_w=1000 * load_kw, pv_w=0.0, soc_pct=60.0, month_peak_w=0.0, interval_energy_wh=0.0
    )  # fmt: skip
    return [round(w / 1000, 1) for w in source.inputs(now, prices).load.load_w[:12]]


def test_a_reserved_job_is_forecast_once_before_it_starts_while_it_runs_and_after_it_ends() -> None:
    config = load(SITE).dispatch
    source = PlanSource(config)
    for k in range(96):
        source.observe_load(T0 + 900 * k, 20_000.0)
    now_s = T0 + 96 * 900
    source.reserve([promised(now_s + 900 + 300, 0.5)])  # 30 kW from minute 20 to minute 50
    around = [20.0, 40.0, 50.0, 30.0, 20.0]
    assert forecast_kw(source, now_s, 20.0)[:5] == around
    assert forecast_kw(source, now_s + 600, 20.0)[:5] == around
    source.observe_load(now_s, 20_000.0)
    # of the running quarter the rest
    assert forecast_kw(source, now_s + 900 + 300, 50.0)[:4] == [50.0, 50.0, 30.0, 20.0]
    source.observe_load(now_s + 900, 40_000.0)  # it has begun: 30 kW for ten minutes
    assert forecast_kw(source, now_s + 1800, 50.0)[:3] == [50.0, 30.0, 20.0]
    source.observe_load(now_s + 1800, 50_000.0)
    assert forecast_kw(source, now_s + 2700, 50.0)[:2] == [30.0, 20.0]
    source.observe_load(now_s + 2700, 30_000.0)
    assert forecast_kw(source, now_s + 3600, 20.0)[:2] == [20.0, 20.0]


def test_a_reserved_job_that_begins_in_a_quarter_is_not_counted_twice_for_the_load_at_its_end() -> None:
    """On a site whose quarters have taught that the load at their end is what follows."""
    source = PlanSource(load(SITE).dispatch)
    loads_w = [10_000.0 + 2_000 * (k * k % 11) for k in range(192)] + [20_000.0, 20_000.0]
    for k in range(193):
        source.observe_load(T0 + 900 * k, loads_w[k], loads_w[k + 1])
    now_s = T0 + 193 * 900
    source.reserve([promised(now_s + 300, 1.0)])
    source.observe_load(now_s, 40_000.0, 50_000.0)  # ten minutes of it
    assert forecast_kw(source, now_s + 900, 50.0)[0] == pytest.approx(50, abs=1.5)


def test_a_reserved_job_that_comes_late_still_has_its_power_ahead() -> None:
    source = PlanSource(load(SITE).dispatch)
    for k in range(96):
        source.observe_load(T0 + 900 * k, 20_000.0)
    now_s = T0 + 96 * 900
    source.reserve([promised(now_s, 1.0)])
    source.observe_load(now_s, 20_000.0)  # nothing yet
    assert forecast_kw(source, now_s + 900, 20.0)[:4] == [50.0, 50.0, 50.0, 20.0]
    source.observe_load(now_s + 900, 50_000.0)
    assert forecast_kw(source, now_s + 1800, 50.0)[:3] == [50.0, 50.0, 20.0]


def test_what_was_reserved_does_not_stay_as_load_that_is_expected() -> None:
    """A restart: the past is learnt with the reservation known, and the job that runs is not taken for the base."""
    source = PlanSource(load(SITE).dispatch)
    now_s = T0 + 96 * 900
    source.reserve([promised(now_s - 1800, 1.0)])
    for k in range(96):
        source.observe_load(T0 + 900 * k, 50_000.0 if k >= 94 else 20_000.0)
    assert forecast_kw(source, now_s, 50.0)[:4] == [50.0, 50.0, 20.0, 20.0]


def test_the_plan_reckons_with_all_that_is_promised() -> None:
    now_s = T0 + 900 * QUARTERS
    kept = planned(outlook=True, promised=(promised(now_s + 3600, 1.0),))
    assert all(s.load_w == pytest.approx(60_000) for s in kept.steps[4:8])  # 30 kW of its own, 30 kW promised
    assert max(s.load_w for s in kept.steps[:4]) < 45_000


@pytest.mark.parametrize("outlook", [True, False])
def test_only_hours_that_count_say_what_peak_can_be_held(outlook: bool) -> None:
    """The 60 kW are at night, when import does not count: by day 200 kWh bring the 30 kW down to about 18."""
    day = DemandTerms(eur_per_kw=10.0, windows=("08:00-20:00",))
    assert 15_000 <= planned(outlook=outlook, demand=day).peak_target_w <= 24_000


def test_of_a_years_peak_no_more_is_expected_than_of_a_months() -> None:
    """A fortnight of days says nothing of the rest of a year, so it is defended all the same."""
    year = planned(outlook=True, demand=DemandTerms(eur_per_kw=100.0, per="year"))
    assert year.peak_target_w <= planned(outlook=True).peak_target_w + 500


def young_forecast(quarters_w: list[float], now_w: float) -> tuple[float, ...]:
    """The load ahead of a site with this record, W, as its plan sees it; contracted peak 55 kW."""
    config = load(SITE).dispatch
    config = msgspec.structs.replace(config, grid=msgspec.structs.replace(config.grid, contracted_peak_w=55_000.0))
    source = PlanSource(config)
    for k, w in enumerate(quarters_w):
        source.observe_load(T0 + 900 * k, w)
    now = PlanningState(
        utc_s=T0 + 900 * len(quarters_w), load_w=now_w, pv_w=0.0, soc_pct=50.0, month_peak_w=0.0,
        interval_energy_wh=0.0,
    )  # fmt: skip
    forecast = source.inputs(now, PriceSeries((), (), 0)).load
    assert all(a <= b <= c for a, b, c in zip(forecast.low_w, forecast.load_w, forecast.high_w, strict=True))
    return forecast.load_w


@pytest.mark.parametrize(
    ("quarters_w", "usual_w"),
    [([], 55_000.0), ([90_000.0], 55_000.0), ([20_000.0] * 7 + [90_000.0], 28_750.0)],
)
def test_a_young_site_does_not_expect_the_pulse_it_starts_with_for_as_long_as_the_plan_goes(
    quarters_w: list[float], usual_w: float
) -> None:
    """90 kW in its first minutes: held now, and gone over to the record's mean, at most the contract, within hours."""
    ahead_w = young_forecast(quarters_w, 90_000.0)
    assert ahead_w[0] == 90_000.0
    assert ahead_w[8] == pytest.approx(usual_w + (90_000 - usual_w) / 2.718, rel=0.01)
    assert all(w == pytest.approx(usual_w, rel=0.05) for w in ahead_w[32:])
    assert list(ahead_w) == sorted(ahead_w, reverse=True)


def test_a_young_site_below_its_contract_expects_what_it_draws_and_a_day_of_record_is_believed() -> None:
    assert set(young_forecast([], 30_000.0)) == {30_000.0}
    assert young_forecast([30_000.0] * 95 + [60_000.0], 60_000.0)[40] == pytest.approx(60_000.0), "a whole day"


def test_each_step_tells_the_carbon_of_an_imported_kwh() -> None:
    config = load(SITE).dispatch
    config = msgspec.structs.replace(config, tariff=msgspec.structs.replace(config.tariff, co2_g_per_kwh=380.0))
    now = PlanningState(utc_s=T0, load_w=30_000.0, pv_w=0.0, soc_pct=50.0, month_peak_w=0.0, interval_energy_wh=0.0)
    prices = PriceSeries((T0,), (80.0,), T0 + 3600)
    stated, mix = PlanSource(config), PlanSource(config, lambda utc_s: 100.0 if utc_s < T0 + 900 else None)
    plans = [source.make(source.inputs(now, prices))[0] for source in (stated, mix)]
    assert {step.co2_g_per_kwh for step in plans[0].steps} == {380.0}
    assert [step.co2_g_per_kwh for step in plans[1].steps[:3]] == [100.0, None, None]
