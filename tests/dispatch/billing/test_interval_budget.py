"""The metering interval: energy, limits, roll-over, clocks that step."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import T0, Plant, a_plan, site_config
from soak_sizes import examples

from dispatch.billing.billing_memory import Billing
from dispatch.billing.interval_budget import MeteringInterval
from dispatch.config.schema import GridConfig
from dispatch.control.controller import Controller
from dispatch.model.metering_interval import Interval
from dispatch.model.plan import Plan
from dispatch.model.reasons import RuleId
from dispatch.wording.catalogue import words


def an_interval(replayed: bool = False, **grid: object) -> MeteringInterval:
    base: dict[str, object] = {"fuse_a": 160, "contracted_peak_w": 30_000}
    config = GridConfig(**(base | grid))  # type: ignore[arg-type]
    return MeteringInterval(config, "Europe/Berlin", 250, replayed=replayed)


def feed(interval: MeteringInterval, from_s: float, to_s: float, import_w: float | None, utc_0: float = T0) -> None:
    """Ticks of 1 s, first and last included."""
    for n in range(round(to_s - from_s) + 1):
        interval.advance(utc_0 + from_s + n, from_s + n, import_w)


def seen(interval: MeteringInterval) -> Interval:
    """The interval as a site without a plan shows it."""
    return interval.view(interval.budget(None))


def test_energy_is_counted_and_export_earns_nothing_back() -> None:
    interval = an_interval()
    feed(interval, 0, 360, 20_000)
    assert seen(interval).energy_wh == pytest.approx(2_000)
    feed(interval, 361, 720, -50_000)
    assert seen(interval).energy_wh == pytest.approx(2_000, abs=3)
    assert seen(interval).unknown_s == 0


def test_roll_over_keeps_the_month_peak_and_splits_the_energy_at_the_boundary() -> None:
    interval = an_interval()
    for t_s in (0.0, 300.0, 304.0):  # a pause longer than 5 s is unknown, so keep to short ones near the boundary
        interval.advance(T0 + t_s, t_s, 40_000)
    feed(interval, 305, 898, 40_000)
    assert interval.month_peak_w == 0
    interval.advance(T0 + 902, 902, 40_000)
    assert seen(interval).start_utc_s == T0 + 900
    assert seen(interval).energy_wh == pytest.approx(40_000 * 2 / 3600)
    assert interval.month_peak_w == pytest.approx(40_000 * 600 / 900)  # the pause of 300 s proves nothing


def test_unknown_time_counts_at_the_last_import_and_is_reported() -> None:
    interval = an_interval()
    feed(interval, 0, 100, 18_000)
    feed(interval, 101, 200, None)
    view = seen(interval)
    assert view.unknown_s == 100
    assert view.energy_wh == pytest.approx(18_000 * 200 / 3600)


def test_start_in_the_middle_assumes_the_past_and_gives_no_credit_for_it() -> None:
    interval = an_interval()
    feed(interval, 600, 610, 1_000)
    view = seen(interval)
    assert view.unknown_s == pytest.approx(600)
    assert view.energy_wh == pytest.approx(1_000 * 610 / 3600)
    assert interval.budget(None).guard.import_max_w == pytest.approx(29_700 + 10 * 28_700 / 290, rel=0.01)


def test_without_any_reading_the_past_waits_for_the_first_one() -> None:
    interval = an_interval()
    feed(interval, 600, 610, None)
    assert seen(interval).energy_wh == 0
    assert seen(interval).unknown_s == pytest.approx(610)
    interval.advance(T0 + 611, 611, 9_000)
    assert seen(interval).energy_wh == pytest.approx(9_000 * 611 / 3600)


def test_the_surge_is_modest_fades_and_ends_before_the_guard() -> None:
    interval = an_interval()
    feed(interval, 0, 700, 1_000)
    aim_w = interval.budget(None).guard.aim_w
    assert interval.budget(None).guard.import_max_w == pytest.approx(1.25 * aim_w)
    feed(interval, 701, 884, 1_000)
    assert aim_w < interval.budget(None).guard.import_max_w < 1.25 * aim_w
    feed(interval, 885, 899, 1_000)
    assert interval.budget(None).guard.import_max_w == aim_w


def test_debt_is_paid_back_and_never_by_export() -> None:
    interval = an_interval()
    feed(interval, 0, 300, 45_000)
    owed = 300 * (45_000 - 29_700)
    assert interval.budget(None).guard.import_max_w == pytest.approx(29_700 - owed / 598)
    feed(interval, 301, 880, 90_000)
    assert interval.budget(None).guard.import_max_w == 0
    assert seen(interval).energy_left_wh < 0


def test_limit_is_contract_or_month_peak_and_a_plan_only_lowers_it() -> None:
    interval = an_interval()
    assert interval.budget(None).kept.limit_w == 30_000
    assert interval.budget(a_plan(0, peak_target_w=22_000)).kept.limit_w == 22_000
    assert interval.budget(a_plan(0, peak_target_w=50_000)).kept.limit_w == 30_000
    interval.restore(Billing(month="2025-09", month_peak_w=26_000))
    assert interval.budget(a_plan(0, peak_target_w=22_000)).kept.limit_w == 26_000
    interval.restore(Billing(month="2025-09", month_peak_w=34_000))
    assert interval.budget(None).kept.limit_w == 34_000


def test_month_rolls_over_in_the_site_s_time_zone() -> None:
    interval = an_interval()
    utc_0 = datetime(2025, 9, 30, 21, 45, tzinfo=UTC).timestamp()  # 23:45 in Berlin, the month's last interval
    feed(interval, 0, 899, 25_000, utc_0)
    assert interval.month == "2025-09"
    feed(interval, 900, 905, 25_000, utc_0)
    assert (interval.month, interval.month_peak_w) == ("2025-10", 0.0)


def test_interval_follows_the_utility_s_clock() -> None:
    interval = an_interval(interval_offset_s=20.0)  # theirs is 20 s ahead: their 08:15 is our 08:14:40
    assert interval.start_of(T0 + 879) == T0 - 20
    assert interval.start_of(T0 + 880) == T0 + 880


@given(
    step_s=st.one_of(st.floats(-7_200, 7_200), st.floats(-8, 8)), at_s=st.integers(10, 899), import_w=st.floats(0, 6e4)
)
@settings(max_examples=60)
def test_a_step_of_the_wall_clock_makes_neither_energy_nor_debt(step_s: float, at_s: int, import_w: float) -> None:
    """Constant import: whatever the clock does, what is counted is that import over the time it says has passed."""
    interval = an_interval()
    for n in range(at_s + 1):
        interval.advance(T0 + n, n, import_w)
        interval.budget(None)
    for n in range(1, 31):
        utc_s = T0 + at_s + step_s + n
        interval.advance(utc_s, at_s + n, import_w)
        allowance, view = interval.budget(None).guard, seen(interval)
        passed_s = max(utc_s - view.start_utc_s, 0.0)
        assert view.energy_wh <= import_w * (passed_s + 0.5) / 3600 + 1e-6
        if import_w <= allowance.aim_w:
            assert view.energy_wh >= import_w * (passed_s - 0.5) / 3600 - 1e-6
            assert allowance.left_wh > 0
            assert allowance.import_max_w >= allowance.aim_w - 100
        assert 0 <= allowance.left_s <= 900
    assert interval.month_peak_w <= import_w + 1e-6


@pytest.mark.parametrize("step_s", [-600.0, -7_200.0, 100.0, 600.0, 7_200.0])
def test_a_clock_that_is_set_discharges_nothing_and_alarms_nobody(step_s: float) -> None:
    """Found with -600 s at 700 s: 50 kW under a limit of 60 counted as if all of it had come in 100 s."""
    interval = an_interval(contracted_peak_w=60_000)
    for n in range(1_600):
        interval.advance(T0 + n + (step_s if n >= 700 else 0), n, 50_000)
        allowance = interval.budget(None).guard
        assert allowance.import_max_w >= 59_300, n
        assert seen(interval).energy_left_wh > 0


def test_a_clock_set_by_seconds_keeps_what_was_measured() -> None:
    for step_s in (-3.0, 3.0):
        interval = an_interval()
        feed(interval, 0, 400, 50_000)
        interval.advance(T0 + 401 + step_s, 401, 50_000)
        view = seen(interval)
        assert view.unknown_s == pytest.approx(max(step_s, 0))
        assert view.energy_wh == pytest.approx(50_000 * (401 + step_s) / 3600)


def test_a_clock_set_back_in_many_small_steps_ends_where_it_says() -> None:
    interval = an_interval(contracted_peak_w=60_000)
    for n in range(1_300):
        utc_s = T0 + n - 4.0 * min(max(n - 920, 0), 100)  # 400 s in all, from just behind a boundary
        interval.advance(utc_s, n, 50_000)
        assert interval.budget(None).guard.import_max_w >= 59_300, n
        assert seen(interval).start_utc_s <= utc_s + 5


def test_a_clock_that_glitches_does_not_forget_the_month_s_peak() -> None:
    interval = an_interval()
    feed(interval, 0, 900, 80_000)
    for n, elsewhere in enumerate((0.0, -86_400.0 * 40, 86_400.0 * 50, 86_400.0 * 20_000)):
        interval.advance(T0 + elsewhere if elsewhere else 5.0, 901 + 2 * n, 80_000)
        assert interval.month != "2025-09"
        interval.advance(T0 + 902 + 2 * n, 902 + 2 * n, 80_000)
        assert (interval.month, interval.month_peak_w) == ("2025-09", pytest.approx(80_000))
    restarted = an_interval()
    restarted.restore(interval.billing())
    restarted.advance(5.0, 0, 80_000)
    assert restarted.month_peak_w == 0
    restarted.advance(T0 + 2_000, 1, 80_000)
    assert restarted.month_peak_w == pytest.approx(80_000)


def test_left_is_what_the_rule_allows() -> None:
    """Two answers to "how much may I import?" were given: up to the fuse on the screen, 37.4 kW by rule 6."""
    interval = an_interval()
    for from_s, to_s, import_w in ((0, 400, 1_000), (401, 700, 70_000), (701, 890, 500)):
        feed(interval, from_s, to_s, import_w)
        allowance = interval.budget(None).guard
        assert seen(interval).left_w == allowance.import_max_w <= 160 * 230 * 3
    controller = Controller(site_config())
    decision = Plant(controller, lambda t: 50_000).run(5).decisions[-1]
    budget = next(t for t in decision.chain if t.rule is RuleId.INTERVAL_BUDGET)
    assert f"import at most {controller.interval.left_w / 1000:.1f} kW" in words(budget.reason)


def test_an_interval_hardly_measured_is_no_peak_to_be_sure_of() -> None:
    interval = an_interval()
    feed(interval, 815, 905, 32_000)  # began 85 s before the end: 32 kW over 85 of 900 s prove 3.0 kW
    assert interval.month_peak_w == pytest.approx(3_022, abs=5)
    of_the_month_s = T0 + 900 - datetime(2025, 8, 31, 22, tzinfo=UTC).timestamp()
    assert interval.month_unmeasured_s == pytest.approx(of_the_month_s - 85)
    sure = an_interval()
    utc_0 = datetime(2025, 8, 31, 22, tzinfo=UTC).timestamp()
    feed(sure, 0, 1_805, 32_000, utc_0)
    assert (sure.month, sure.month_unmeasured_s) == ("2025-09", 0.0)
    restarted = an_interval()
    restarted.restore(sure.billing())
    feed(restarted, 1_806, 3_605, 32_000, utc_0)
    assert restarted.month_unmeasured_s == pytest.approx(1)


def test_a_restart_does_not_turn_what_was_assumed_into_measured() -> None:
    """Found: 5 s measured and 884 s assumed gave 49.4 kW as the month's peak after a restart, 0.2 kW without."""
    first = an_interval()
    feed(first, 0, 5, 50_000)
    feed(first, 6, 889, None)
    restarted = an_interval()
    restarted.restore(first.billing())
    feed(restarted, 890, 905, None)
    feed(first, 890, 905, None)
    assert first.month_peak_w == restarted.month_peak_w == pytest.approx(50_000 * 5 / 900)
    late = an_interval()
    late.restore(first.billing())
    assert late.billing() == first.billing()


def test_a_restart_goes_on_where_it_was() -> None:
    first = an_interval()
    feed(first, 0, 400, 24_000)
    restarted = an_interval()
    restarted.restore(first.billing())
    feed(restarted, 430, 500, 24_000)
    view = seen(restarted)
    assert view.unknown_s == pytest.approx(30)
    assert view.energy_wh == pytest.approx(24_000 * 500 / 3600)
    later = an_interval()
    later.restore(first.billing())
    feed(later, 1_000, 1_010, 24_000)
    assert later.month_peak_w == pytest.approx(24_000 * 400 / 900)


loads = st.lists(st.tuples(st.integers(5, 240), st.floats(0, 75_000)), min_size=4, max_size=20)


@pytest.mark.soak
@given(loads, st.booleans())
@settings(max_examples=examples(3, times=15))
def test_no_interval_mean_exceeds_the_limit_while_the_battery_suffices(
    blocks: list[tuple[int, float]], planned: bool
) -> None:
    """Random load blocks of up to 75 kW against a limit of 30 kW and a battery that never runs out."""
    ends = [sum(length for length, _ in blocks[: n + 1]) for n in range(len(blocks))]

    def load_w(t_s: float) -> float:
        at = t_s % ends[-1]
        return next(w for end, (_, w) in zip(ends, blocks, strict=True) if at < end)

    plan: Plan | None = a_plan(-20_000, peak_target_w=28_000) if planned else None
    controller = Controller(site_config(rated_w=100_000, fuse_a=250, interval_s=900))
    plant = Plant(controller, load_w, rate_hz=1.0, delay_s=0.5, lag_s=0.5, plan=plan)
    plant.energy_wh = 10e6
    plant.run(1_805)
    limit_w = 28_000 if planned else 30_000
    for start in (0, 900):
        mean_w = sum(max(w, 0.0) for w in plant.imports[start : start + 900]) / 900
        assert mean_w <= limit_w * 1.005
    assert controller.month_peak_w <= limit_w * 1.005


def test_over_long_steps_the_import_register_counts() -> None:
    """Steps of 5 min: 1 kWh, 2 kWh and 3 kWh by the register, whatever the readings at the edges say."""
    interval = an_interval(replayed=True)
    for n, register_wh in enumerate((0.0, 1_000.0, 3_000.0, 6_000.0)):
        interval.advance(T0 + 300 * n, 300.0 * n, 99_000.0 - n, register_wh)
        if n == 2:
            assert seen(interval).energy_wh == pytest.approx(3_000)
            assert seen(interval).unknown_s == 0
    assert interval.month_peak_w == pytest.approx(24_000)
    assert seen(interval).energy_wh == 0


def test_a_register_that_was_reset_is_not_believed() -> None:
    for before_wh, after_wh in ((5_000.0, 0.0), (0.0, 9e6)):
        interval = an_interval(replayed=True)
        interval.advance(T0, 0.0, 12_000.0, before_wh)
        interval.advance(T0 + 300, 300.0, 12_000.0, after_wh)
        assert seen(interval).unknown_s == 300
        assert seen(interval).energy_wh == pytest.approx(1_000)
