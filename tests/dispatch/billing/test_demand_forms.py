"""Every form of the demand charge in bill, foresight, interval, plan and caps: by hand, and what must always hold."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import ask, hourly, site
from small_site import a_plan

from dispatch.billing.bill import Bill, Flow, bill, stored_change_kwh
from dispatch.billing.billing_memory import Billing
from dispatch.billing.interval_budget import MeteringInterval
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig, DispatchConfig, GridConfig
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.model.plan import Plan
from dispatch.planning.planner import Planner, make_plan
from dispatch.planning.step_costs import step_costs
from dispatch.planning.validator import check_plan
from dispatch.power_caps.ski_rental import CapInputs, CapsLedger, decide
from dispatch.wording.catalogue import words

HOUR = 3600
MIDNIGHT = int(datetime(2025, 9, 16, tzinfo=ZoneInfo("Europe/Berlin")).timestamp())  # a Tuesday
WORKING = ("mon-fri 08:00-20:00",)


def a_site(length_s: int = 900, **demand: Any) -> DispatchConfig:
    terms = DemandTerms(**({"eur_per_kw": 10.0} | demand))
    return site(tariff={"demand": terms}, grid={"metering_interval_s": length_s})


def charged(config: DispatchConfig, net_w: list[float], battery_w: list[float] | None = None, price: float = 0) -> Bill:
    """The bill of hours from local midnight on."""
    battery_w = battery_w or [0.0] * len(net_w)
    flow = Flow(
        start_utc_s=MIDNIGHT,
        step_s=HOUR,
        load_w=net_w,
        pv_w=[0.0] * len(net_w),
        eur_per_mwh=[price] * len(net_w),
        battery_w=battery_w,
    )
    return bill(config, flow, stored_change_kwh(config, HOUR, battery_w))


def days(*peaks_w: float) -> list[float]:
    """A day for each: 10 kW, and its peak at 06 and at 12 o'clock, the earlier twice as high."""
    return [2 * w if h == 6 else w if h == 12 else 10_000.0 for w in peaks_w for h in range(24)]


# ── the bill ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_bill_of_each_form_by_hand() -> None:
    net_w = days(40_000, 20_000, 30_000)
    for demand, kw in (
        ({}, 80),
        ({"windows": WORKING}, 40),
        ({"top_days": 2}, 70),
        ({"top_days": 2, "windows": WORKING}, 35),
        ({"top_days": 3, "windows": WORKING}, 30),
        ({"top_days": 4, "windows": WORKING}, 22.5),  # a day is still to come
        ({"windows": ("sat-sun 00:00-24:00",)}, 0),
        ({"windows": ("sat-sun 00:00-24:00",), "floor_w": 25_000}, 25),
    ):
        found = charged(a_site(HOUR, **demand), net_w)
        assert found.peaks_w == {"2025-09": pytest.approx(1000 * kw)}, demand
        assert found.peak_eur == pytest.approx(10 * kw), demand


def test_a_year_is_billed_once_for_all_its_months() -> None:
    net_w = [30_000.0] + [10_000.0] * (30 * 24)
    assert list(charged(a_site(HOUR), net_w).peaks_w) == ["2025-09", "2025-10"]
    found = charged(a_site(HOUR, per="year", eur_per_kw=84.0), net_w)
    assert found.peaks_w == {"2025": pytest.approx(30_000)}
    assert found.peak_eur == pytest.approx(84 * 30)


@pytest.mark.parametrize(("length_s", "kw"), [(900, 40.0), (1800, 30.0), (3600, 25.0)])
def test_the_metering_interval_is_the_meters(length_s: int, kw: float) -> None:
    flow = Flow(
        start_utc_s=MIDNIGHT,
        step_s=900,
        load_w=[40_000.0, 20_000.0, 20_000.0, 20_000.0],
        pv_w=[0.0] * 4,
        eur_per_mwh=[0.0] * 4,
        battery_w=[0.0] * 4,
    )
    assert bill(a_site(length_s), flow).peaks_w == {"2025-09": pytest.approx(1000 * kw)}


def test_the_plain_key_and_the_table_are_one_charge() -> None:
    plain = site(tariff={"demand_eur_per_kw_month": 10.0}, grid={"metering_interval_s": HOUR})
    assert charged(plain, days(40_000, 20_000)) == charged(a_site(HOUR), days(40_000, 20_000))


# ── perfect foresight ───────────────────────────────────────────────────────────────────────────────────────────────


def foreseen(config: DispatchConfig, net_w: list[float], prices: list[float]) -> list[float]:
    return perfect_battery_w(config, HOUR, net_w, prices, idle_schedule(config, MIDNIGHT, HOUR, len(net_w), 50.0))


def test_foresight_lets_go_what_does_not_count() -> None:
    """Working hours only: the peak at 06 o'clock stays, the one at 12 goes; with days averaged, all of those go."""
    net_w = days(40_000, 20_000, 30_000)
    flat = [100.0] * len(net_w)
    windowed = a_site(HOUR, windows=WORKING)
    battery_w = foreseen(windowed, net_w, flat)
    grid_w = [a - b for a, b in zip(net_w, battery_w, strict=True)]
    assert grid_w[6] >= 80_000 - 1
    assert grid_w[12] < 15_000
    one, two = a_site(HOUR, windows=WORKING), a_site(HOUR, windows=WORKING, top_days=3)
    first, mean = (charged(c, net_w, foreseen(c, net_w, flat), 100.0) for c in (one, two))
    assert mean.peaks_w["2025-09"] <= first.peaks_w["2025-09"] + 1


def test_below_the_floor_no_peak_is_shaved() -> None:
    net_w = days(20_000)
    shaved, floored = a_site(HOUR, windows=WORKING), a_site(HOUR, windows=WORKING, floor_w=20_000)
    assert max(map(abs, foreseen(shaved, net_w, [100.0] * 24))) > 5_000
    assert max(map(abs, foreseen(floored, net_w, [100.0] * 24))) < 1


demands = st.fixed_dictionaries(
    {
        "per": st.sampled_from(["month", "year"]),
        "top_days": st.integers(1, 4),
        "floor_w": st.sampled_from([0.0, 15_000.0]),
        "windows": st.sampled_from([(), WORKING, ("tue 06:00-13:00", "wed 00:00-24:00")]),
    }
)
loads = st.lists(st.floats(0, 60_000), min_size=8, max_size=8)


@given(demands, loads, st.lists(st.floats(-50, 300), min_size=9, max_size=9), st.floats(0.5, 4))
@settings(max_examples=25, deadline=None)
def test_foresight_is_never_dearer_than_what_else_can_be_done(
    demand: dict[str, Any], load_w: list[float], prices: list[float], factor: float
) -> None:
    """Than nothing, than what another form of the charge would have made it do; and prices scale it."""
    net_w, market = [w for w in load_w for _ in range(9)], [p for p in prices for _ in range(8)]

    def cost(config: DispatchConfig, battery_w: list[float], scale: float = 1.0) -> float:
        flow = Flow(
            start_utc_s=MIDNIGHT,
            step_s=HOUR,
            load_w=net_w,
            pv_w=[0.0] * len(net_w),
            eur_per_mwh=[scale * p for p in market],
            battery_w=battery_w,
        )
        return bill(config, flow, stored_change_kwh(config, HOUR, battery_w)).total_eur

    config = a_site(HOUR, **demand)
    best_w = foreseen(config, net_w, market)
    best = cost(config, best_w)
    assert best <= cost(config, [0.0] * len(net_w)) + 0.01
    assert best <= cost(config, foreseen(a_site(HOUR), net_w, market)) + 0.01
    dearer = a_site(HOUR, **(demand | {"eur_per_kw": 10.0 * factor}))
    dearer = msgspec.structs.replace(
        dearer, batteries=(msgspec.structs.replace(dearer.batteries[0], wear_eur_per_kwh=0.01 * factor),)
    )
    scaled_w = foreseen(dearer, net_w, [factor * p for p in market])
    assert cost(dearer, scaled_w, factor) == pytest.approx(factor * best, abs=0.05, rel=1e-3)


@given(demands, loads, st.floats(1.1, 3))
@settings(max_examples=20, deadline=None)
def test_more_battery_never_costs_more(demand: dict[str, Any], load_w: list[float], more: float) -> None:
    """The same kWh at the low end, a higher ceiling: what the small one does, the large one can."""
    net_w = [w for w in load_w for _ in range(9)]
    prices = [40.0 + 100 * (k % 24 > 15) for k in range(len(net_w))]
    small = a_site(HOUR, **demand)
    battery = msgspec.structs.replace(small.batteries[0], energy_kwh=100 * more, soc_min_pct=10 / more)
    large = msgspec.structs.replace(small, batteries=(battery,))

    def cost(config: DispatchConfig, soc_pct: float) -> float:
        idle = idle_schedule(config, MIDNIGHT, HOUR, len(net_w), soc_pct)
        battery_w = perfect_battery_w(config, HOUR, net_w, prices, idle)
        flow = Flow(
            start_utc_s=MIDNIGHT,
            step_s=HOUR,
            load_w=net_w,
            pv_w=[0.0] * len(net_w),
            eur_per_mwh=prices,
            battery_w=battery_w,
        )
        return bill(config, flow, stored_change_kwh(config, HOUR, battery_w)).total_eur

    assert cost(large, 50 / more) <= cost(small, 50.0) + 0.01


# ── the metering interval at tick rate ──────────────────────────────────────────────────────────────────────────────


def an_interval(**demand: Any) -> MeteringInterval:
    grid = GridConfig(fuse_a=160, contracted_peak_w=60_000)
    return MeteringInterval(grid, "Europe/Berlin", 250, [DemandTerms(**({"eur_per_kw": 10.0} | demand))])


def import_for(interval: MeteringInterval, from_h: float, w: float, quarters: int = 1) -> None:
    """Import held over quarter hours from so many hours after midnight on, to just beyond the last one's end."""
    begin = int(from_h * HOUR)
    for t_s in range(begin, begin + 900 * quarters + 4, 4):
        interval.advance(MIDNIGHT + t_s, t_s, w)


def test_outside_the_window_the_contract_is_the_limit_and_nothing_raises_the_peak() -> None:
    interval = an_interval(windows=WORKING)
    import_for(interval, 7.5, 50_000, 2)
    assert interval.month_peak_w == 0
    interval = an_interval(windows=WORKING)
    import_for(interval, 7.0, 50_000)
    assert interval.budget(a_plan(0, peak_target_w=22_000)).kept.limit_w == 60_000
    import_for(interval, 9.0, 30_000)
    assert interval.month_peak_w == pytest.approx(30_000)
    assert interval.budget(a_plan(0, peak_target_w=22_000)).kept.limit_w == pytest.approx(30_000)
    import_for(interval, 20.0, 50_000)
    assert interval.month_peak_w == pytest.approx(30_000)


def test_days_are_averaged_and_kept_over_a_restart() -> None:
    interval = an_interval(top_days=2)
    for day, w in enumerate((30_000.0, 20_000.0, 26_000.0)):
        import_for(interval, 24 * day + 10, w)
    assert interval.levels[0].billed_w == pytest.approx(28_000)
    assert interval.month_peak_w == pytest.approx(26_000)  # today's own
    assert interval.levels[0].later_w == pytest.approx(26_000)  # the second highest
    restarted = an_interval(top_days=2)
    restarted.restore(msgspec.json.decode(msgspec.json.encode(interval.billing()), type=Billing))
    import_for(restarted, 24 * 3 + 1, 5_000)
    assert (restarted.levels[0].billed_w, restarted.month_peak_w) == (pytest.approx(28_000), pytest.approx(26_000))
    import_for(restarted, 24 * 3 + 2, 40_000)
    assert (restarted.levels[0].billed_w, restarted.month_peak_w) == (pytest.approx(35_000), pytest.approx(40_000))
    assert restarted.levels[0].later_w == pytest.approx(30_000)


def test_a_floor_is_free_and_a_year_does_not_end_with_its_months() -> None:
    assert an_interval(floor_w=25_000).budget(a_plan(0, peak_target_w=10_000)).kept.limit_w == 25_000
    interval = an_interval(per="year")
    import_for(interval, 10, 33_000)
    import_for(interval, 24 * 20, 10_000)  # October
    assert (interval.month, interval.month_peak_w) == ("2025", pytest.approx(33_000))


# ── the plan ────────────────────────────────────────────────────────────────────────────────────────────────────────


def planned(config: DispatchConfig, loads_w: list[float], **changes: Any) -> Plan:
    """A plan from local midnight on, checked."""
    inputs = ask(config, hourly([80.0] * 36, MIDNIGHT), loads_w, now_utc_s=MIDNIGHT, **changes)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    return plan


def quarters(hours_w: dict[int, float], base_w: float = 20_000.0, hours: int = 24) -> list[float]:
    return [hours_w.get(h, base_w) for h in range(hours) for _ in range(4)]


def test_a_plan_holds_the_peak_in_its_window_only_and_says_so() -> None:
    config = a_site(windows=WORKING)
    plan = planned(config, quarters({6: 50_000.0, 12: 50_000.0}), month_peak_w=35_000.0)
    assert plan.steps[24].grid_w == pytest.approx(50_000)  # 06:00
    assert max(s.grid_w for s in plan.steps[32:80]) <= 35_001
    assert plan.peak_target_w == pytest.approx(35_000)
    assert words(plan.steps[48].reason) == "keeps import below the month's peak 35.0 kW"
    # filling up before eight costs nothing, though it is far above the peak
    assert max(s.grid_w for s in plan.steps[:32]) > 40_000
    rises = [w.peak_rise_w for w in step_costs(plan, 900, 35_000.0, "Europe/Berlin", config.tariff.demand)]
    assert (rises[24], rises[48]) == (0.0, pytest.approx(15_000))


def test_a_plan_of_days_that_are_averaged_weighs_their_share() -> None:
    """A kW of today's peak costs 10 / n; tomorrow has its own level, which today's does not lift."""
    loads_w = quarters({12: 50_000.0, 36: 50_000.0}, hours=48)
    config = msgspec.structs.replace(a_site(top_days=2), plan=msgspec.structs.replace(site().plan, horizon_h=48.0))
    plan = planned(config, loads_w, month_peak_w=45_000.0, next_day_peak_w=30_000.0)
    assert max(s.grid_w for s in plan.steps[:96]) == pytest.approx(45_000, abs=1)
    assert max(s.grid_w for s in plan.steps[96:]) == pytest.approx(30_000, abs=1)
    assert words(plan.steps[48].reason) == "keeps import below the day's free peak 45.0 kW"
    assert words(plan.steps[144].reason) == "keeps import below the day's free peak 30.0 kW"


def test_the_floor_is_used_and_the_years_peak_is_called_so() -> None:
    assert planned(a_site(floor_w=40_000), quarters({12: 39_000.0}), month_peak_w=40_000.0).steps[48].battery_w == 0
    plan = planned(a_site(per="year", eur_per_kw=80.0), quarters({12: 50_000.0}), month_peak_w=35_000.0)
    assert words(plan.steps[48].reason) == "keeps import below the year's peak 35.0 kW"


def test_what_a_plan_costs_holds_no_demand_for_hours_that_do_not_count() -> None:
    """Without a battery, at 8 ct: 23 h of 20 kW and an hour of 105, 5 above the contract, at night or by day."""
    bare = msgspec.structs.replace(a_site(windows=WORKING), batteries=(), pcs=())
    energy_eur = (23 * 20 + 105) * 0.08
    assert planned(bare, quarters({2: 105_000.0}), month_peak_w=20_000.0).cost_eur == pytest.approx(energy_eur)
    by_day = planned(bare, quarters({12: 105_000.0}), month_peak_w=20_000.0).cost_eur
    assert by_day == pytest.approx(energy_eur + 85 * 10)


def test_a_horizon_that_never_counts_defends_the_contract() -> None:
    config = a_site(windows=("sat 10:00-11:00",))
    plan = planned(config, quarters({12: 90_000.0}), month_peak_w=30_000.0)
    assert plan.steps[48].battery_w == 0
    assert plan.peak_target_w == 100_000


@given(
    demands,
    st.sampled_from([300, 600, 900, 1800, 3600]),
    st.lists(st.floats(0, 90_000), min_size=24, max_size=24),
    st.lists(st.floats(-100, 400), min_size=24, max_size=24),
    st.integers(0, 95),
    st.floats(0, 100),
    st.sampled_from([0.0, 40_000.0]),
)
@settings(max_examples=40, deadline=None)
def test_every_form_gives_plans_that_pass_the_check(
    demand: dict[str, Any],
    length_s: int,
    loads_w: list[float],
    prices: list[float],
    quarter: int,
    soc_pct: float,
    peak_w: float,
) -> None:
    now = MIDNIGHT + 900 * quarter + 77
    inputs = ask(
        a_site(length_s, **demand),
        hourly(prices * 2, MIDNIGHT),
        [w for w in loads_w for _ in range(4)],
        now_utc_s=now,
        soc_pct=soc_pct,
        month_peak_w=max(peak_w, demand["floor_w"]),
        interval_energy_wh=100.0,
    )
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []


@pytest.mark.parametrize(
    "demand",
    [{"windows": WORKING}, {"top_days": 3}, {"top_days": 2, "windows": WORKING, "floor_w": 15_000.0}],
)
def test_a_model_kept_through_windows_and_days_answers_as_a_fresh_one(demand: dict[str, Any]) -> None:
    """Through a day and a half, every seven quarters: which interval raises whose peak changes each time."""
    config = a_site(**demand)
    planner = Planner(config)
    prices = hourly([60.0 + 50 * (k % 7 > 3) + k % 5 for k in range(80)], MIDNIGHT)
    loads_w = [20_000.0 + 9_000 * (k % 11 > 6) + 20_000 * (k % 29 > 25) for k in range(400)]
    for k in range(0, 144, 7):
        inputs = ask(
            config, prices, loads_w[k:], now_utc_s=MIDNIGHT + 900 * k + 60, soc_pct=50.0, month_peak_w=30_000.0
        )
        kept, fresh = planner.solve(inputs), make_plan(inputs)
        assert kept.cost_eur == pytest.approx(fresh.cost_eur, abs=0.02), k
        assert kept.peak_target_w == pytest.approx(fresh.peak_target_w, abs=5), k
        assert check_plan(kept, inputs) == []


# ── caps ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_caps_are_worth_nothing_where_import_does_not_count() -> None:
    caps = CapsConfig(value_eur_per_kwh=0.3, max_share=0.25, idle_w=20_000)

    def cap_w(hour: float, **demand: Any) -> float:
        need = CapInputs(
            utc_s=MIDNIGHT + hour * HOUR,
            step_s=300,
            load_w=60_000,
            import_w=58_000,
            import_max_w=50_000,
            month_peak_w=50_000,
        )
        terms = DemandTerms(**({"eur_per_kw": 10.0} | demand))
        return decide(caps, [terms], "Europe/Berlin", need, CapsLedger()).cap_w

    assert cap_w(7.0) == cap_w(9.0, windows=WORKING) == pytest.approx(8_000)
    assert cap_w(7.0, windows=WORKING) == 0
