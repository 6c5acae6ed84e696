"""Several charges on peaks at once: in the tick, the plan, perfect foresight and caps, against the bill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import ask, hourly, site
from small_site import a_plan

from dispatch.billing.bill import Flow, bill, stored_change_kwh
from dispatch.billing.billing_memory import Billing
from dispatch.billing.interval_budget import MeteringInterval
from dispatch.billing.peak_charges import account_key, charge_peaks_w, peak_charges, risen_eur
from dispatch.config.charges import Charge, IndividualFee, MonthWeights, TariffWindow
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig, DispatchConfig, GridConfig
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.islanding import IslandState
from dispatch.model.plan import Plan
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.lp_solver import LinearProgram
from dispatch.planning.peak.outlook import PeakOutlook
from dispatch.planning.planner import make_plan
from dispatch.planning.power_admission import PowerRequest, grant
from dispatch.planning.validator import check_plan
from dispatch.power_caps.ski_rental import CapInputs, CapsLedger, decide
from dispatch.wording.catalogue import words

HOUR = 3600
BERLIN = "Europe/Berlin"
MIDNIGHT = int(datetime(2025, 9, 16, tzinfo=ZoneInfo(BERLIN)).timestamp())  # a Tuesday
EVENING = TariffWindow(id="evening", days=("mon-fri",), times=("17:00-20:00",))
NOON = TariffWindow(id="noon", times=("11:30-13:30",))
ALL = Charge(id="all", kind="max", price=6.0)
HIGH = Charge(id="high", kind="max", price=9.0, windows=("evening",))
TWO = (ALL, HIGH)


def a_site(*charges: Charge, windows: tuple[TariffWindow, ...] = (EVENING,), **changes: Any) -> DispatchConfig:
    return site(tariff={"charge": charges or TWO, "window": windows}, **changes)


def an_interval(config: DispatchConfig) -> MeteringInterval:
    grid = GridConfig(fuse_a=160, contracted_peak_w=60_000)
    return MeteringInterval(grid, BERLIN, 250, peak_charges(config))


def import_for(interval: MeteringInterval, from_h: float, w: float, quarters: int = 1) -> None:
    """Import held over quarter hours from so many hours after midnight on, to just beyond the last one's end."""
    begin = int(from_h * HOUR)
    for t_s in range(begin, begin + 900 * quarters + 4, 4):
        interval.advance(MIDNIGHT + t_s, t_s, w)


# ── the tick ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_lowest_free_level_of_the_charges_that_count_is_kept() -> None:
    interval, plan = an_interval(a_site()), a_plan(0, peak_target_w=10_000)
    import_for(interval, 15, 40_000)
    import_for(interval, 17, 20_000)
    levels = {level.charge: level for level in interval.levels}
    assert {id: round(level.free_w, -1) for id, level in levels.items()} == {"high": 20_000, "all": 40_000}
    kept = interval.budget(plan).guard
    assert (round(kept.limit_w, -1), words(kept.peak)) == (20_000, "peak free by high")
    import_for(interval, 20, 10_000)
    kept = interval.budget(plan).guard
    assert (round(kept.limit_w, -1), words(kept.peak)) == (40_000, "peak free by all")
    assert [level.counts for level in interval.levels] == [False, True]  # the dearer one comes first


def test_a_plan_has_a_target_for_each_charge() -> None:
    """The same plan, before and in the window: the target that holds is that of the charges which count."""
    interval = an_interval(a_site())
    plan = msgspec.structs.replace(a_plan(0, peak_target_w=35_000), targets_w={"all": 35_000.0, "high": 12_000.0})
    import_for(interval, 16, 5_000)
    target = interval.budget(plan).target
    assert target is not None
    assert target.limit_w == 35_000
    import_for(interval, 16.75, 5_000)
    target = interval.budget(plan).target
    assert target is not None
    assert target.limit_w == 12_000


def test_peaks_of_each_charge_survive_a_restart() -> None:
    interval = an_interval(a_site())
    import_for(interval, 15, 40_000)
    import_for(interval, 17, 20_000)
    kept = msgspec.json.decode(msgspec.json.encode(interval.billing()), type=Billing)
    restarted = an_interval(a_site(HIGH, ALL))
    restarted.restore(kept)
    import_for(restarted, 17.5, 1_000)
    assert {level.charge: round(level.free_w, -1) for level in restarted.levels} == {"high": 20_000, "all": 40_000}
    dearer = msgspec.structs.replace(ALL, price=12.0)  # it is the main charge from now on
    restarted = an_interval(a_site(dearer, HIGH))
    restarted.restore(kept)
    import_for(restarted, 17.5, 1_000)
    assert {level.charge: round(level.free_w, -1) for level in restarted.levels} == {"high": 20_000, "all": 40_000}


def test_the_memory_of_one_demand_charge_is_that_of_the_charge_that_always_counts() -> None:
    kept = Billing(month="2025-09", month_peak_w=33_000.0)
    for charges in (TWO, (ALL,)):
        interval = an_interval(a_site(*charges))
        interval.restore(kept)
        import_for(interval, 17.5, 1_000)
        levels = {level.charge: level.free_w for level in interval.levels}
        assert levels["all"] == 33_000
        assert levels.get("high", 0.0) < 33_000


def test_an_excess_charge_leaves_its_contract_free_in_each_window() -> None:
    config = a_site(
        Charge(id="in", kind="excess", price=9.0, contract_kw=25.0, windows=("evening",)),
        Charge(id="out", kind="excess", price=6.0, contract_kw=45.0, windows=("evening",), outside=True),
    )
    interval, plan = an_interval(config), a_plan(0, peak_target_w=10_000)
    import_for(interval, 15, 30_000)
    assert interval.budget(plan).guard.limit_w == 45_000
    import_for(interval, 17, 20_000)
    assert interval.budget(plan).guard.limit_w == 25_000


def test_weights_of_months_and_peaks_of_weeks() -> None:
    """Twice 30 kW in September at half weight are 15 kW; October counts whole. The mean of two weeks is billed."""
    weekly = Charge(
        id="week",
        kind="max",
        price=12.0,
        peaks_of="week",
        top=2,
        period="year",
        month_weight_pct=MonthWeights(sep=50.0),
    )
    interval = an_interval(a_site(weekly))
    import_for(interval, 10, 30_000)
    import_for(interval, 24 * 7 + 10, 20_000)
    assert interval.levels[0].billed_w == pytest.approx(12_500)
    assert interval.levels[0].free_w == pytest.approx(20_000)  # this week's own
    import_for(interval, 24 * 15 + 10, 4_000)  # October: 15 and 10 kW are billed
    assert interval.levels[0].free_w == pytest.approx(10_000, abs=1)


def test_the_period_s_peak_is_kept_until_the_gap_of_an_individual_fee_is_reached() -> None:
    """20 % and 10 kW: 40 kW and 30 kW in the window are enough, 35 kW are not."""
    fee = IndividualFee(windows=("evening",), gap_pct=20.0, gap_kw=10.0)
    year = Charge(id="grid", kind="max", price=120.0, period="year", individual=fee)
    config = a_site(year)
    assert [terms.id for terms in peak_charges(config)] == ["grid", "grid without individual fee"]
    assert [terms.id for terms in peak_charges(config, "granted")] == ["grid"]
    for window_w, outside_w, eur in ((30_000.0, 60_000.0, 30 * 120.0), (35_000.0, 40_000.0, 40 * 120.0)):
        interval, plan = an_interval(config), a_plan(0, peak_target_w=10_000)
        import_for(interval, 15, 40_000)
        assert interval.budget(plan).guard.limit_w == pytest.approx(40_000)  # not before the window was measured
        import_for(interval, 17, window_w)
        assert interval.budget(plan).guard.limit_w == pytest.approx(window_w)
        import_for(interval, 20, 10_000)
        assert interval.budget(plan).guard.limit_w == pytest.approx(outside_w)
        now = interval.charges_now
        assert now is not None
        assert now.eur == pytest.approx(eur)


# ── the plan ────────────────────────────────────────────────────────────────────────────────────────────────────────

FLAT = hourly([100.0] * 48, MIDNIGHT)


def planned(config: DispatchConfig, loads_w: Sequence[float], **changes: Any) -> tuple[PlanInputs, Plan]:
    """A plan of midnight on, checked."""
    inputs = ask(config, FLAT, loads_w, now_utc_s=MIDNIGHT, soc_pct=60.0, **changes)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    return inputs, plan


def levels(**free_w: float) -> tuple[ChargeLevel, ...]:
    return tuple(ChargeLevel(id, True, w, w, w) for id, w in free_w.items())


def test_a_window_in_the_horizon_is_kept_and_the_hours_around_it_are_not() -> None:
    """40 kW all day and 30 kW are free in the evening: 10 kW for three hours are what the battery holds."""
    config = a_site()
    _, plan = planned(config, [40_000.0], levels=levels(all=40_000.0, high=30_000.0), month_peak_w=40_000.0)
    inside = [step.grid_w for step in plan.steps if 17 * HOUR <= step.start_utc_s - MIDNIGHT < 20 * HOUR]
    assert inside == pytest.approx([30_000.0] * 12, abs=2)
    assert max(step.grid_w for step in plan.steps) <= 40_001
    assert plan.targets_w == {"high": pytest.approx(30_000, abs=2), "all": pytest.approx(40_000, abs=2)}
    assert plan.peak_target_w == pytest.approx(40_000, abs=2)
    said = [words(step.reason) for step in plan.steps if step.battery_w > 5_000 and step.reason is not None]
    assert said
    assert all("peak free by high" in text for text in said)
    alone = [msgspec.structs.replace(config, tariff=msgspec.structs.replace(config.tariff, charge=(ALL,)))]
    _, without = planned(alone[0], [40_000.0], levels=levels(all=40_000.0), month_peak_w=40_000.0)
    assert min(step.grid_w for step in without.steps) > 39_000


def test_each_window_of_excess_charges_has_its_contract() -> None:
    config = a_site(
        Charge(id="in", kind="excess", price=9.0, contract_kw=25.0, windows=("evening",)),
        Charge(id="out", kind="excess", price=6.0, contract_kw=34.0, windows=("evening",), outside=True),
    )
    loads_w = [30_000.0] * (17 * 4) + [32_000.0] * 12 + [38_000.0] * 4 + [30_000.0]
    _, plan = planned(config, loads_w)
    peaks_w = charge_peaks_w(config, MIDNIGHT, 900, [step.grid_w for step in plan.steps])
    assert peaks_w["2025-09@in"] <= 25_002
    assert 33_998 <= peaks_w["2025-09@out"] <= 34_002  # up to the contract nothing is saved


loads = st.lists(st.floats(0, 70_000), min_size=8, max_size=8)
convex = st.lists(
    st.builds(
        Charge,
        id=st.uuids().map(str),
        kind=st.sampled_from(["max", "excess"]),
        price=st.floats(0.5, 20.0),
        windows=st.sampled_from([(), ("evening",), ("noon",)]),
        outside=st.booleans(),
        contract_kw=st.sampled_from([20.0, 35.0]),
        period=st.sampled_from(["month", "year"]),
    ).filter(lambda charge: bool(charge.windows) or not charge.outside),
    min_size=1,
    max_size=4,
)


@given(convex, loads, st.lists(st.floats(0, 40_000), min_size=4, max_size=4))
@settings(max_examples=12, deadline=None)
def test_the_plan_pays_for_its_peaks_what_the_bill_does(
    charges: list[Charge], load_w: list[float], free_w: list[float]
) -> None:
    """The program's cost of peaks is that of the bill for the plan's own import, above what is billed anyway."""
    config = a_site(*charges, windows=(EVENING, NOON))
    terms = peak_charges(config)
    free = {one.id: max(w, one.floor_w) for one, w in zip(terms, free_w, strict=False)}
    _, plan = planned(
        config, [w for w in load_w for _ in range(12)], levels=levels(**free), month_peak_w=min(free.values())
    )
    own = charge_peaks_w(config, MIDNIGHT, 900, [step.grid_w for step in plan.steps])
    paid = {}
    for one in terms:
        period = "2025" if one.per == "year" else "2025-09"
        paid[account_key(one, period)] = free[one.id]
    higher = {key: max(paid.get(key, 0.0), own.get(key, 0.0)) for key in paid | own}
    energy = 0.0
    for step in plan.steps:
        energy += 0.25 * (max(step.grid_w, 0.0) * step.price_eur_per_kwh + abs(step.battery_w) * 0.01) / 1000
    stored = (plan.steps[-1].soc_pct - 60.0) / 100 * 100 * (0.1 - 0.01) * 0.9
    exported = sum(0.25 * min(step.grid_w, 0.0) / 1000 * 0.1 for step in plan.steps)
    assert plan.cost_eur - (energy + exported - stored) == pytest.approx(risen_eur(terms, higher, paid), abs=0.05)


def objective(program: LinearProgram) -> float:
    """What the solver minimised, EUR."""
    assert program._highs is not None
    return float(program._highs.getInfo().objective_function_value)


def test_the_model_is_kept_as_windows_move_through_the_horizon() -> None:
    """Planned in the middle of quarters, too: as a fresh model would, and mostly without making one."""
    config = a_site(
        *TWO, Charge(id="noon", kind="excess", price=4.0, contract_kw=30.0, windows=("noon",)), windows=(EVENING, NOON)
    )
    kept, models, took = LinearProgram(5.0), [], []
    for minutes in (0, 7, 15, 30, 44, 45, 60):
        first = minutes // 15
        loads_w = [30_000 + 20_000 * math.sin((k + first) / 9) for k in range(96)]
        inputs = ask(
            config,
            FLAT,
            loads_w,
            now_utc_s=MIDNIGHT + 60.0 * minutes,
            soc_pct=50.0,
            levels=levels(all=4e4, high=4e4, noon=4e4),
        )
        plan, fresh = make_plan(inputs, kept), LinearProgram(5.0)
        make_plan(inputs, fresh)
        assert check_plan(plan, inputs) == []
        assert objective(kept) == pytest.approx(objective(fresh), rel=1e-6, abs=1e-3)
        assert kept._highs is not None
        models.append(kept._highs)
        took.append(kept._highs.getInfo().simplex_iteration_count)
    assert all(model is models[0] for model in models)
    assert max(took[1:]) < took[0] / 4, took


@pytest.mark.parametrize("usual_w", [30_000.0, 45_000.0])
def test_a_peak_that_will_not_be_billed_is_not_kept(usual_w: float) -> None:
    """In autumn: 20 kW in last winter's window, 24 kW outside of it so far, a gap of 50 %. Where no battery could hold
    the load below 45 kW, the fee will be granted: then the battery rests.
    """
    fee = IndividualFee(windows=("winter",), gap_pct=50.0)
    year = Charge(id="grid", kind="max", price=120.0, period="year", individual=fee)
    config = a_site(year, windows=(TariffWindow(id="winter", months=("jan",)),))
    whole = "grid without individual fee"
    given_levels = (
        ChargeLevel("grid", False, 20e3, 20e3, 20e3),
        ChargeLevel(whole, True, 24e3, 24e3, 24e3),
    )
    outlook = PeakOutlook(target_w=24e3, rises=(), usual_w=usual_w, ready=())
    loads_w = [20_000.0] * 40 + [34_000.0] * 20 + [20_000.0]
    _, plan = planned(config, loads_w, levels=given_levels, month_peak_w=24e3, peak=outlook)
    kept = usual_w < 40_000
    assert (plan.targets_w[whole] < 25_000) is kept
    assert (max(abs(step.battery_w) for step in plan.steps[40:60]) > 9_000) is kept


def test_a_job_pays_for_each_charge_whose_level_it_passes() -> None:
    """20 kW from 16 to 18 o'clock on a battery that is empty: 6 EUR above 40 kW, and 9 EUR above 30 in the window."""
    config = a_site(battery={"energy_kwh": 0.0})
    given_levels = levels(all=40_000.0, high=30_000.0)
    now = MIDNIGHT + 16 * HOUR
    inputs = ask(config, FLAT, [30_000.0], now_utc_s=now, levels=given_levels, month_peak_w=40_000.0)
    found = grant(PowerRequest(power_w=20_000, for_s=2 * HOUR), inputs, make_plan(inputs), IslandState.GRID_TIED, ())
    assert found.cost_eur == pytest.approx(10 * 6.0 + 20 * 9.0, abs=0.1)


# ── caps ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_caps_may_cost_what_the_charges_that_count_would() -> None:
    """4 kW above both levels for 15 minutes are worth 15 EUR/kW in the window, 6 outside."""
    caps = CapsConfig(value_eur_per_kwh=100.0, max_share=0.5, idle_w=0.0)
    terms = peak_charges(a_site())
    figures = {"step_s": 900.0, "load_w": 60_000.0, "import_w": 44_000.0, "import_max_w": 40_000.0}

    def purchase_eur(hour: float) -> float:
        need = CapInputs(
            utc_s=MIDNIGHT + hour * HOUR, month_peak_w=30_000.0, levels=levels(all=30e3, high=20e3), **figures
        )
        reason = decide(caps, terms, BERLIN, need, CapsLedger()).reason
        found = reason.figures["purchase_eur"]
        assert isinstance(found, float)
        return found

    assert purchase_eur(18) == pytest.approx(4 * 15)
    assert purchase_eur(21) == pytest.approx(4 * 6)


# ── perfect foresight, and the two ways of saying one tariff ────────────────────────────────────────────────────────


def cost(config: DispatchConfig, net_w: list[float], battery_w: list[float], prices: list[float]) -> float:
    flow = Flow(
        start_utc_s=MIDNIGHT,
        step_s=HOUR,
        load_w=net_w,
        pv_w=[0.0] * len(net_w),
        eur_per_mwh=prices,
        battery_w=battery_w,
    )
    return bill(config, flow, stored_change_kwh(config, HOUR, battery_w)).total_eur


@given(convex, loads, st.lists(st.floats(-50, 300), min_size=9, max_size=9))
@settings(max_examples=12, deadline=None)
def test_foresight_is_never_dearer_on_the_bill_than_with_some_of_the_charges(
    charges: list[Charge], load_w: list[float], prices: list[float]
) -> None:
    hour = {"metering_interval_s": HOUR}
    net_w, market = [w for w in load_w for _ in range(9)], [p for p in prices for _ in range(8)]
    config = a_site(*charges, windows=(EVENING, NOON), grid=hour)
    energy = (Charge(id="market", kind="energy", market_factor=1.0),)
    fewer = [a_site(*charges[:k], *energy, windows=(EVENING, NOON), grid=hour) for k in range(len(charges))]

    def foreseen(of: DispatchConfig) -> list[float]:
        return perfect_battery_w(of, HOUR, net_w, market, idle_schedule(of, MIDNIGHT, HOUR, len(net_w), 50.0))

    best = cost(config, net_w, foreseen(config), market)
    for other in ([0.0] * len(net_w), *map(foreseen, fewer)):
        assert best <= cost(config, net_w, other, market) + 0.01


@pytest.mark.parametrize(("evening_w", "granted"), [(20_000.0, True), (50_000.0, False)])
def test_foresight_tries_an_individual_fee_granted_and_refused(evening_w: float, granted: bool) -> None:
    """60 kW at noon. Where the evening needs 50 kW for three hours, no gap of 70 % is left."""
    fee = IndividualFee(windows=("evening",), gap_pct=70.0)
    year = Charge(id="grid", kind="max", price=120.0, period="year", individual=fee)
    config = a_site(year, grid={"metering_interval_s": HOUR})
    net_w = [60_000.0 if 11 <= h < 14 else evening_w if 17 <= h < 20 else 10_000.0 for h in range(24)]
    market = [50.0] * 24

    def foreseen(of: DispatchConfig) -> list[float]:
        return perfect_battery_w(of, HOUR, net_w, market, idle_schedule(of, MIDNIGHT, HOUR, 24, 90.0))

    best_w = foreseen(config)
    whole = a_site(msgspec.structs.replace(year, individual=None), grid={"metering_interval_s": HOUR})
    alone = a_site(
        msgspec.structs.replace(year, individual=None, windows=("evening",)), grid={"metering_interval_s": HOUR}
    )
    costs = [cost(config, net_w, foreseen(of), market) for of in (alone, whole)]
    assert cost(config, net_w, best_w, market) == pytest.approx(min(costs), abs=0.01)
    assert (costs[0] < costs[1]) is granted


@pytest.mark.parametrize(
    ("demand", "charge"),
    [
        (DemandTerms(eur_per_kw=10.0), Charge(id="a", kind="max", price=10.0)),
        (
            DemandTerms(eur_per_kw=84.0, per="year", top_days=3, floor_w=15_000, windows=("mon-fri 17:00-20:00",)),
            Charge(
                id="a",
                kind="max",
                price=84.0,
                period="year",
                top=3,
                peaks_of="day",
                floor_kw=15.0,
                windows=("evening",),
            ),
        ),
    ],
)
def test_one_tariff_said_both_ways_is_one_plan_and_one_foresight(demand: DemandTerms, charge: Charge) -> None:
    old, new = site(tariff={"demand": demand}), a_site(charge)
    loads_w = [20_000.0 + 700.0 * (k * 37 % 53) for k in range(96)]
    peaks = {"month_peak_w": 27_000.0, "next_day_peak_w": 25_000.0, "peak_prior_w": 30_000.0}
    (_, one), (_, two) = (planned(config, loads_w, **peaks) for config in (old, new))
    assert [msgspec.structs.replace(step, reason=None) for step in one.steps] == [
        msgspec.structs.replace(step, reason=None) for step in two.steps
    ]
    assert (one.peak_target_w, one.cost_eur) == (two.peak_target_w, two.cost_eur)
    prices = [100.0] * 96
    assert perfect_battery_w(old, 900, loads_w, prices, idle_schedule(old, MIDNIGHT, 900, 96, 50.0)) == (
        perfect_battery_w(new, 900, loads_w, prices, idle_schedule(new, MIDNIGHT, 900, 96, 50.0))
    )


def test_what_limits_now_and_until_when_is_told() -> None:
    interval = an_interval(a_site())
    assert interval.charges_now is None
    import_for(interval, 15, 40_000)
    import_for(interval, 17, 20_000)
    now = interval.charges_now
    assert now is not None
    assert (now.charge, now.until_utc_s, now.count) == ("high", MIDNIGHT + 20 * HOUR, 2)
    assert now.eur == pytest.approx(40 * 6.0 + 20 * 9.0, abs=0.1)
    plain = an_interval(site(tariff={"demand_eur_per_kw_month": 6.0}))
    import_for(plain, 15, 40_000)
    assert plain.charges_now is None
    noon = msgspec.structs.replace(HIGH, id="noon", windows=("noon",))
    windows = an_interval(a_site(HIGH, noon, windows=(EVENING, NOON)))
    import_for(windows, 9, 40_000)
    now = windows.charges_now
    assert now is not None
    assert (now.charge, now.until_utc_s) == ("", MIDNIGHT + 11.5 * HOUR)
