"""The month's peak: what the past says of it, what a plan makes of that, and that nothing later is looked at."""

import functools
import math
import random

import pytest
from plan_site import NOON, ask, hourly, site

from dispatch.billing.billed_peaks import BilledPeak
from dispatch.config.schema import CapsConfig
from dispatch.planning.peak.exceedance import Period
from dispatch.planning.peak.outlook import LAYERS, PeakForecaster, PeakOutlook, Rise
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan

DAY = 96
T0 = NOON - 12 * 86_400
DEMAND = {"demand_eur_per_kw_month": 10.0}


def pulses(days: int, hours: float = 3.0, seed: int = 1) -> list[float]:
    """20 kW, and once a day at some hour 50 kW for a while."""
    chance = random.Random(seed)
    loads = [20_000.0] * (days * DAY)
    for day in range(days):
        start = day * DAY + chance.randrange(0, DAY - int(4 * hours))
        for k in range(start, start + int(4 * hours)):
            loads[k] = 50_000.0
    return loads


def watched(loads: list[float], **changes: object) -> PeakForecaster:
    watch = PeakForecaster(site(tariff=DEMAND, **changes))
    for k, w in enumerate(loads):
        watch.observe(T0 + 900 * k, w, 0.0)
    return watch


@functools.cache
def busy(last_w: float = 20_000.0) -> PeakForecaster:
    """Twelve days with a pulse each, then one quarter. Asking it changes nothing, so that the tests share it."""
    return watched([*pulses(12), last_w])


def look(
    watch: PeakForecaster, soc_pct: float = 50.0, peak_w: float = 20_000.0, days: float = 15.0, **changes: object
) -> PeakOutlook:
    outlook = watch.outlook(96, soc_pct, peak_w, days, **changes)  # type: ignore[arg-type]
    assert outlook is not None
    return outlook


def test_two_days_with_their_following_day_are_needed() -> None:
    assert watched(pulses(2)).outlook(96, 50.0, 0.0, 15.0) is None
    assert watched(pulses(4)).outlook(96, 50.0, 0.0, 15.0) is not None
    assert watched(pulses(4), battery={"energy_kwh": 0.0}).outlook(96, 0.0, 0.0, 15.0) is None


def test_the_usual_peak_is_the_one_the_battery_could_have_held() -> None:
    # 80 kWh usable, 0.9 out: 72 kWh over 3 h leave 26 kW of 50; the peaks tried are 110 / 160 kW apart
    daily = ([20_000.0] * 84 + [50_000.0] * 12) * 12
    assert 26_000 <= look(watched(daily)).usual_w <= 26_700


def test_the_target_is_never_below_the_peak_so_far() -> None:
    for soc_pct in (10.0, 40.0, 90.0):
        for load_w in (20_000.0, 50_000.0):
            assert look(busy(load_w), soc_pct, peak_w=45_000.0).target_w >= 45_000 - 1e-6


def test_an_emptier_battery_gives_way_earlier() -> None:
    empty_w, half_w, full_w = (
        look(busy(50_000.0), soc_pct, peak_w=25_000.0).target_w for soc_pct in (15.0, 50.0, 90.0)
    )
    assert empty_w > half_w
    assert half_w >= full_w


def test_rises_cost_more_the_higher_and_more_the_later_in_the_month() -> None:
    watch = busy()
    early, late = look(watch, days=28.0).rises, look(watch, days=1.0).rises
    for rises in (early, late):
        shares = [rise.share for rise in rises]
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)

    def price(rises: tuple[Rise, ...], w: float) -> float:
        below = [sum(rise.width_w for rise in rises[:k]) for k in range(len(rises))]
        return sum(min(max(w - b, 0.0), rise.width_w) * rise.share for b, rise in zip(below, rises, strict=True))

    assert all(price(early, w) <= price(late, w) + 100 for w in range(1_000, 60_000, 1_000))


def test_stored_energy_is_worth_something_before_pulses_and_the_first_layer_most() -> None:
    ready = look(busy(), peak_w=25_000.0).ready
    assert len(ready) == 96
    assert all(len(row) == LAYERS for row in ready)
    assert all(row[k] >= row[k + 1] >= 0 for row in ready for k in range(LAYERS - 1))
    assert sum(row[0] for row in ready) > 0
    calm = look(watched([20_000.0 + 10 * math.sin(k) for k in range(12 * DAY)]), peak_w=25_000.0).ready
    assert sum(map(sum, calm)) == 0


def test_being_ready_is_worth_no_more_than_the_highest_load_that_may_come() -> None:
    """Found on a site that is often at its highest: a pulse of then on top of the load of now would be beyond it."""
    ready = look(busy(), peak_w=47_000.0, path_w=[48_000.0] * DAY).ready
    usable_kwh = 80.0
    assert 0 < sum(map(sum, ready)) * usable_kwh / LAYERS <= 3.0, "kW: the load was never above 50"


def test_what_was_forecast_then_and_what_is_now() -> None:
    """A pulse that is forecast counts before it comes; errors like the past ones stand around it."""
    calm = [20_000.0] * (12 * DAY)
    ahead = [20_000.0] * 40 + [60_000.0] * 16 + [20_000.0] * 40
    told, held = look(watched(calm), path_w=ahead), look(watched(calm))
    assert told.target_w > held.target_w + 3_000
    assert sum(map(sum, told.ready)) > sum(map(sum, held.ready))
    sunny = look(watched(calm), path_w=ahead, pv_w=[0.0] * 40 + [45_000.0] * 16 + [0.0] * 40)
    assert sunny.target_w == pytest.approx(held.target_w, abs=500)


def test_a_gap_is_held_and_a_clock_set_back_is_ignored() -> None:
    watch = watched(pulses(6))
    watch.observe(T0, 1e6, 0.0)
    watch.observe(T0 + 900 * (6 * DAY + 4), 20_000.0, 0.0)
    assert len(watch._net_kw) == 6 * DAY + 5
    assert max(watch._net_kw) == 50.0
    watch.observe(T0 + 90_000_000, 20_000.0, 0.0)
    assert len(watch._net_kw) == 1


def test_caps_hold_a_lower_peak_the_cheaper_they_are() -> None:
    def target(eur: float) -> float:
        config = site(tariff=DEMAND)
        watch = PeakForecaster(
            type(config)(
                **{f: getattr(config, f) for f in config.__struct_fields__}
                | {"caps": CapsConfig(value_eur_per_kwh=eur, max_share=0.25)}
            )
        )
        for k, w in enumerate([*pulses(12), 50_000.0]):
            watch.observe(T0 + 900 * k, w, 0.0)
        return look(watch, 30.0).target_w

    assert target(0.01) <= target(0.3) <= target(10.0)
    assert target(0.01) < target(10.0)


def outlook(target_w: float, rises: tuple[Rise, ...] = (), ready: float = 0.0, at: int = 40) -> PeakOutlook:
    rows = tuple((ready,) * LAYERS if k == at else (0.0,) * LAYERS for k in range(96))
    return PeakOutlook(target_w, rises, 30_000.0, rows)


def test_a_plan_fills_the_battery_before_it_may_be_needed() -> None:
    config = site(tariff=DEMAND)
    ask_for = {"month_peak_w": 40_000.0, "soc_pct": 10.0}
    prices = hourly([80.0] * 24)
    idle = make_plan(ask(config, prices, [20_000], peak=outlook(40_000), **ask_for))
    assert idle.steps[40].soc_pct == pytest.approx(10)
    inputs = ask(config, prices, [20_000], peak=outlook(40_000, ready=0.1), **ask_for)
    ready = make_plan(inputs)
    assert check_plan(ready, inputs) == []
    assert ready.steps[40].soc_pct == pytest.approx(90, abs=0.1)
    assert max(s.grid_w for s in ready.steps) <= 40_001


def test_the_running_interval_is_held_to_the_target_and_a_cheap_rise_is_taken() -> None:
    config = site(tariff=DEMAND)
    prices = hourly([80.0] * 24)
    inputs = ask(config, prices, [60_000], peak=outlook(45_000), month_peak_w=40_000.0, soc_pct=90.0)
    held = make_plan(inputs)
    assert check_plan(held, inputs) == []
    assert held.peak_target_w == pytest.approx(45_000, abs=1)
    assert held.steps[0].grid_w <= 45_001
    free = outlook(60_000, rises=(Rise(30_000.0, 0.0), Rise(1e6, 1.0)))
    let = make_plan(ask(config, prices, [60_000], peak=free, month_peak_w=40_000.0, soc_pct=90.0))
    assert let.steps[0].grid_w == pytest.approx(60_000, abs=1)


def test_a_peak_beside_a_steady_load_gives_way_for_what_the_battery_then_earns() -> None:
    """Found on a site that is close to its peak for days: a battery that is kept empty for want of room to charge."""
    near = [48_000.0 + 1_000 * (k % 2) for k in range(12 * DAY)]
    start = T0 - T0 % 86_400
    prices = hourly(([20.0] * 12 + [200.0] * 12) * 13, start)
    watch = PeakForecaster(site(tariff=DEMAND))
    for k, w in enumerate(near):
        watch.observe(start + 900 * k, w, 0.0)
    kept, let = look(watch, peak_w=50_000.0), look(watch, peak_w=50_000.0, prices=prices)
    assert let.rises[0].share < kept.rises[-2].share / 2
    assert sum(rise.share < 0.1 for rise in let.rises) > sum(rise.share < 0.1 for rise in kept.rises)


def test_earlier_months_make_a_rise_cheaper_after_quiet_days() -> None:
    quiet = watched([20_000.0] * (12 * DAY))
    months = tuple(BilledPeak(f"2024-{n:02d}", 45_000.0, 1.0) for n in range(1, 13))
    alone, told = (look(quiet, peak_w=22_000.0, days=25.0, billed=billed) for billed in ((), months))
    assert told.ends_w[0] > alone.ends_w[0] + 5_000
    assert told.rises[0].share < 0.3 < alone.rises[-2].share
    late = look(quiet, peak_w=22_000.0, days=2.0, billed=months, period=Period(2 / 31, 31.0))
    assert late.ends_w[0] < 25_000, "so late a quiet month stays quiet"
