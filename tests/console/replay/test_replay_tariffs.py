"""Replays on awkward tariffs and inputs: demand forms, mixed resolutions, short days, two batteries, bad input."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from replay_cases import CONFIG, FIRST, START, a_case, load_w, played, prices, pv_w

from console.replay.compare import compare, night_valley_w
from console.replay.engine import Case, Schedule
from console.replay.job_file import Job
from console.replay.traces import Trace
from dispatch.billing.bill import Flow, account_peaks_w, bill, stored_change_kwh
from dispatch.billing.demand_charge import billed_by_period_w
from dispatch.billing.market_prices import PriceSeries
from dispatch.config.battery_ratings import full_soc_pct, reserve_soc_pct
from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import BatteryConfig, CapsConfig, DispatchConfig, PcsRatings
from dispatch.config.tariff_terms import TariffTerms
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.pipeline import PlanningState, PlanSource

BERLIN = ZoneInfo("Europe/Berlin")
WORKING = DemandTerms(eur_per_kw=10, top_days=2, floor_w=12_000, windows=("mon-fri 08:00-20:00",))


def with_demand(terms: DemandTerms) -> DispatchConfig:
    tariff = msgspec.structs.replace(CONFIG.tariff, demand_eur_per_kw_month=0.0, demand=terms)
    return msgspec.structs.replace(CONFIG, tariff=tariff)


def from_local(day: str, days: int, market: PriceSeries | None = None) -> Case:
    """A case over local days from a midnight on, with three days of past."""
    begin = datetime.fromisoformat(day).replace(tzinfo=BERLIN)
    start_s = int(begin.timestamp())
    end_s = int((begin + timedelta(days=days)).timestamp())
    first_s = start_s - 3 * 86400
    hours = (end_s - first_s) // 3600 + 24
    series = market or PriceSeries(
        tuple(range(first_s, first_s + 3600 * hours, 3600)),
        tuple(50.0 + 40 * (k % 24 > 15) for k in range(hours)),
        first_s + 3600 * hours,
    )
    return a_case(
        load=Trace(first_s, 900, load_w()),
        pv=Trace(first_s, 900, pv_w()),
        prices=series,
        start_s=start_s,
        end_s=end_s,
    )


def test_the_controller_knows_what_its_bill_will_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two days of which the working hours count: what it has on its books is the bill's, to the interval."""
    config, begin_s = with_demand(WORKING), START + 18 * 3600
    seen: list[PlanningState] = []
    inputs = PlanSource.inputs

    def noting(self: PlanSource, now: PlanningState, *rest: Any) -> PlanInputs:
        seen.append(now)
        return inputs(self, now, *rest)

    monkeypatch.setattr(PlanSource, "inputs", noting)
    run = played(a_case(config=config, start_s=begin_s, end_s=begin_s + 18 * 3600))
    done = run.schedule
    assert (run.plan_counts.failed, run.plan_counts.refused, run.plan_counts.safe_steps) == (0, 0, 0)
    grid_w = [a - b - c for a, b, c in zip(done.load_w, done.pv_w, done.battery_w, strict=True)]
    ended = account_peaks_w(config, begin_s, 900, grid_w[:-1])  # the last interval is still running
    billed = billed_by_period_w(WORKING, ended)
    assert billed == {"2025-09": pytest.approx(run.billed_peak_w, rel=1e-6)}
    # of three days, the two here and one to come, two are billed: today is free up to its own, tomorrow up to the lower
    yesterday_w, today_w = (ended[day] for day in ("2025-09-17", "2025-09-18"))
    assert seen[-1].month_peak_w == pytest.approx(max(today_w, 12_000), rel=1e-6)
    assert seen[-1].next_day_peak_w == pytest.approx(max(min(today_w, yesterday_w), 12_000), rel=1e-6)
    scored = compare(run.case, done)
    totals = {name: one.total_eur for name, one in scored.bills.items()}
    assert totals["perfect_foresight"] <= min(totals.values()) + 0.01
    assert max(grid_w) > 1.2 * billed["2025-09"]  # at night the battery fills up, whatever the peak


def test_with_several_charges_the_controller_knows_what_its_bill_will_say() -> None:
    """All hours, working hours, and an excess charge: on its books is what the bill charges; foresight pays no more."""
    charges = (
        Charge(id="market", kind="energy", market_factor=1.0),
        Charge(id="all", kind="max", price=3.0),
        Charge(id="working", kind="max", price=8.0, windows=("working",)),
        Charge(id="above", kind="excess", price=5.0, contract_kw=15.0, windows=("working",), outside=True),
    )
    window = TariffWindow(id="working", days=("mon-fri",), times=("08:00-20:00",))
    tariff = TariffTerms(charge=charges, window=(window,))
    config, begin_s = msgspec.structs.replace(CONFIG, tariff=tariff), START + 18 * 3600
    run = played(a_case(config=config, start_s=begin_s, end_s=begin_s + 18 * 3600))
    done = run.schedule
    assert (run.plan_counts.failed, run.plan_counts.refused, run.plan_counts.safe_steps) == (0, 0, 0)
    ended = slice(0, -1)  # the last interval is still running
    flow = Flow(
        start_utc_s=begin_s,
        step_s=900,
        load_w=done.load_w[ended],
        pv_w=done.pv_w[ended],
        eur_per_mwh=[0.0] * (len(done.load_w) - 1),
        battery_w=done.battery_w[ended],
    )
    now = run.charges_now
    assert now is not None
    assert bill(config, flow).peak_eur == pytest.approx(now.eur, abs=0.01)
    totals = {name: one.total_eur for name, one in compare(run.case, done).bills.items()}
    assert totals["perfect_foresight"] <= min(totals.values()) + 0.01


def test_one_tariff_said_both_ways_gives_one_schedule() -> None:
    """The demand charge of [tariff], and as a charge that is listed."""
    charge = Charge(
        id="peak", kind="max", price=10.0, peaks_of="day", top=2, floor_kw=12.0, windows=("working",), period="month"
    )
    window = TariffWindow(id="working", days=("mon-fri",), times=("08:00-20:00",))
    new = msgspec.structs.replace(with_demand(WORKING).tariff, demand=None, charge=(charge,), window=(window,))
    listed, begin_s = msgspec.structs.replace(CONFIG, tariff=new), START + 6 * 3600
    one, two = (
        played(a_case(config=config, start_s=begin_s, end_s=begin_s + 6 * 3600)).schedule
        for config in (with_demand(WORKING), listed)
    )
    assert vars(one) == vars(two)


def test_with_jobs_caps_and_a_demand_window_what_comes_after_changes_nothing_before() -> None:
    """Load, and jobs not yet submitted, after T; the queue and what runs are known before."""
    caps = CapsConfig(value_eur_per_kwh=0.05, max_share=0.25, idle_w=18_000)
    config = msgspec.structs.replace(
        with_demand(WORKING),
        caps=caps,
        grid=msgspec.structs.replace(CONFIG.grid, contracted_peak_w=22_000),
        batteries=(BatteryConfig(id="bat1", energy_kwh=12),),
        reserve=msgspec.structs.replace(CONFIG.reserve, hours=0.1),
    )
    step, t_s = 8, START + 14 * 3600
    known = [Job("a", START + 3600, START, 7200.0, None, 9_000.0, 8), Job("b", FIRST, FIRST, 3e6, 9e6, 4_000.0, 8)]

    def outcome(load: list[float], jobs: list[Job]) -> Schedule:
        case = a_case(
            start_s=START + 12 * 3600,
            end_s=START + 15 * 3600,
            config=config,
            load=Trace(FIRST, 900, load),
            jobs=tuple(jobs),
            gpus_total=64,
        )
        return played(case).schedule

    cut, loads = (t_s - FIRST) // 900, load_w()
    plain = outcome(loads, known)
    loads[cut : cut + 12] = [58_000.0] * 12
    changed = outcome(loads, [*known, Job("c", t_s + 900, t_s + 1, 3600.0, 7200.0, 25_000.0, 16)])
    for name in ("battery_w", "load_w", "pv_w", "soc_pct", "shed_w"):
        assert getattr(changed, name)[:step] == getattr(plain, name)[:step], name
    assert changed.battery_w[step:] != plain.battery_w[step:]
    assert max(plain.shed_w[:step]) > 0


def test_hourly_and_quarter_hourly_prices_side_by_side() -> None:
    """DE-LU on 1 October 2025: hours until local midnight, quarters from then on; each step is charged at its own."""
    midnight = int(datetime(2025, 10, 1, tzinfo=BERLIN).timestamp())
    first = midnight - 4 * 86400
    hours, quarters = range(first, midnight, 3600), range(midnight, midnight + 86400, 900)
    market = PriceSeries(
        (*hours, *quarters),
        (*(60.0 + k % 24 for k in range(len(hours))), *(60.0 + 20 * (k % 4) for k in range(len(quarters)))),
        midnight + 86400,
    )
    case = msgspec.structs.replace(
        from_local("2025-09-30", 1, market), start_s=midnight - 2 * 3600, end_s=midnight + 2 * 3600
    )
    run = played(case)
    assert (len(run.schedule), run.plan_counts.failed, run.plan_counts.refused) == (16, 0, 0)
    scored = compare(case, run.schedule)
    grid_w = [a - b for a, b in zip(run.schedule.load_w, run.schedule.pv_w, strict=True)]
    eur = 0.0
    for k, w in enumerate(grid_w):
        market_eur = (market.at(case.start_s + 900 * k) or 0.0) / 1000
        eur += w / 4000 * (market_eur + 0.05 if w > 0 else market_eur - 0.005)
    assert scored.bills["none"].energy_eur == pytest.approx(eur)
    assert list(scored.bills["none"].peaks_w) == ["2025-09", "2025-10"]


def test_the_day_with_23_hours() -> None:
    """Over the hour that is not there; the valley rule's six hours from midnight are five."""
    day = from_local("2025-03-30", 1)
    assert day.end_s - day.start_s == 92 * 900
    run = played(msgspec.structs.replace(day, end_s=day.start_s + 5 * 3600))
    assert (len(run.schedule), run.plan_counts.plans, run.plan_counts.failed, run.plan_counts.refused) == (20, 20, 0, 0)
    assert list(compare(run.case, run.schedule).bills["skerry"].peaks_w) == ["2025-03"]
    valley_w = night_valley_w(day, day.end_s)
    assert [k for k, w in enumerate(valley_w) if w < 0][-1] < 20
    assert next(k for k, w in enumerate(valley_w) if w > 0) >= 24


def test_negative_prices_and_an_export_limit() -> None:
    """Paid import, then a price that calls for all export there is: within the limit, one direction at a time."""
    hours = range(FIRST, FIRST + 6 * 86400, 3600)
    market = PriceSeries(
        tuple(hours), tuple((-150.0, 900.0, 60.0, 60.0)[(t - START) // 7200 % 4] for t in hours), hours[-1] + 3600
    )
    run = played(a_case(hours=5, step_s=300, prices=market))
    done = run.schedule
    assert (run.plan_counts.failed, run.plan_counts.refused) == (0, 0)
    grid_w = [a - b - c for a, b, c in zip(done.load_w, done.pv_w, done.battery_w, strict=True)]
    assert min(grid_w) >= -CONFIG.grid.export_limit_w - 1
    assert min(grid_w) < -0.8 * CONFIG.grid.export_limit_w
    assert done.soc_pct[-1] == pytest.approx(50 + stored_change_kwh(CONFIG, 300, done.battery_w), abs=1e-6)


def test_two_batteries_each_within_its_own_limits() -> None:
    """Different in size, efficiency and power; the bill is on the energy that is really in them."""
    batteries = (
        BatteryConfig(id="big", energy_kwh=90, charge_efficiency=0.96, discharge_efficiency=0.96),
        BatteryConfig(
            id="small", energy_kwh=20, soc_min_pct=20, soc_max_pct=80, charge_efficiency=0.85, discharge_efficiency=0.9
        ),
    )
    pcs = (
        PcsRatings(id="pcs1", battery="big", charge_w=20_000, discharge_w=25_000),
        PcsRatings(id="pcs2", battery="small", charge_w=15_000, discharge_w=15_000),
    )
    config = msgspec.structs.replace(CONFIG, batteries=batteries, pcs=pcs)
    run = played(a_case(hours=16, config=config))
    assert (run.plan_counts.failed, run.plan_counts.refused, run.plan_counts.safe_steps) == (0, 0, 0)
    done = run.schedule
    assert max(done.battery_w) <= 40_000
    assert min(done.battery_w) >= -35_000
    assert min(done.soc_pct) >= reserve_soc_pct(config) - 1e-6
    assert max(done.soc_pct) <= full_soc_pct(config) + 1e-6
    scored = compare(run.case, done).bills["skerry"]
    change_kwh = (done.soc_pct[-1] - 50) / 100 * 110
    assert scored.stored_eur * change_kwh >= 0
    assert change_kwh != pytest.approx(stored_change_kwh(config, 900, done.battery_w), abs=1e-3)


def test_a_reserve_beyond_the_battery_keeps_it_full() -> None:
    config = msgspec.structs.replace(CONFIG, reserve=msgspec.structs.replace(CONFIG.reserve, hours=40.0))
    assert reserve_soc_pct(config) > 100
    run = played(a_case(hours=8, config=config))
    assert (run.plan_counts.failed, run.plan_counts.refused) == (0, 0)
    assert run.schedule.soc_pct[-1] > 80
    assert max(run.schedule.battery_w) <= 1e-6
    compare(run.case, run.schedule)


@pytest.mark.parametrize("what", ["absurd", "gaps", "stale"])
def test_odd_prices_give_plans_all_the_same(what: str) -> None:
    market = prices()
    values = list(market.eur_per_mwh)
    if what == "absurd":
        values = [(-5000.0 if k % 5 == 0 else 5000.0) if k % 3 == 0 else p for k, p in enumerate(values)]
    elif what == "gaps":
        values = [None if k % 7 < 3 else p for k, p in enumerate(values)]
    series = PriceSeries(market.start_utc_s, tuple(values), market.end_utc_s)
    if what == "stale":
        kept = 40  # published for the first 40 hours, long before the replay begins
        series = PriceSeries(market.start_utc_s[:kept], tuple(values[:kept]), FIRST + kept * 3600)
    run = played(a_case(hours=6, prices=series))
    assert (run.plan_counts.plans, run.plan_counts.failed, run.plan_counts.refused) == (24, 0, 0)
    assert [note for note in compare(run.case, run.schedule).notes if "prices" in note], "a line says so"


def test_jobs_without_limits_and_longer_than_the_horizon() -> None:
    jobs = (
        Job("endless", START, START - 60, 30 * 86400.0, None, 9_000.0, 8),
        Job("zero", START + 900, START + 60, 0.0, 60.0, 9_000.0, 8),
        Job("huge", START + 1800, START, 20 * 86400.0, 90 * 86400.0, 9_000.0, 900),
    )
    run = played(a_case(hours=6, jobs=jobs, gpus_total=16))
    assert (run.plan_counts.plans, run.plan_counts.failed, run.plan_counts.refused, run.plan_counts.safe_steps) == (
        24,
        0,
        0,
        0,
    )
